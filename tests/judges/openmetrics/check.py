"""Whether standard input is OpenMetrics, by Prometheus' client library, whose parser is the strictest there is."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
print(f"{len(families)} families")
