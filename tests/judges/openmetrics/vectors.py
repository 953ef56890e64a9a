"""The bodies that the tests of Prometheus' client library read, each with what its parser makes of it, as JSON.

Usage: python vectors.py FOLDER    FOLDER: the library's source archive, unpacked

The tests are run as they are, with parsers that take notes. One JSON object for each body:
{"format": "text"|"openmetrics", "body": "…", "error": null|"…", "samples": [[name, {label: value}, value, exemplar], …]}
"""

import io
import json
import math
import sys
import unittest

sys.path.insert(0, sys.argv[1])

import prometheus_client.openmetrics.parser as openmetrics  # noqa: E402
import prometheus_client.parser as text  # noqa: E402

seen = {}


def number(value):
    value = float(value)
    return repr(value) if math.isfinite(value) else str(value)


def described(family):
    for sample in family.samples:
        exemplar = sample.exemplar and [sample.exemplar.labels, number(sample.exemplar.value)]
        yield [sample.name, sample.labels, number(sample.value), exemplar]


def noting(form, original):
    def parse(body):
        note = {"format": form, "body": body, "error": None, "samples": []}
        seen[(form, body)] = note
        try:
            families = list(original(body))
        except Exception as error:
            note["error"] = f"{type(error).__name__}: {error}"
            raise
        note["samples"] = [sample for family in families for sample in described(family)]
        return families

    return parse


openmetrics.text_string_to_metric_families = noting("openmetrics", openmetrics.text_string_to_metric_families)
text.text_string_to_metric_families = noting("text", text.text_string_to_metric_families)

names = ["tests.openmetrics.test_parser", "tests.test_parser"]
result = unittest.TextTestRunner(stream=io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromNames(names))
if not result.wasSuccessful():
    sys.exit(f"the library's own tests fail: {result}")
for note in seen.values():
    print(json.dumps(note))
