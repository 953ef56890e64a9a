"""Sends spans with OpenTelemetry's SDK: send.py HOW PORT COUNT; half of them are children of the other half.

HOW is grpc, grpc-gzip, http, http-gzip, json, json-gzip or zipkin. Attributes that JSON has no plain form for are among them.
"""
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

how, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
base = f"http://127.0.0.1:{port}"
headers = {"x-mesh-instance": "alloc-orders"}

if how.startswith("grpc"):
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    compression = grpc.Compression.Gzip if how.endswith("gzip") else None
    exporter = OTLPSpanExporter(
        endpoint=base, insecure=True, headers=tuple(headers.items()), compression=compression
    )
elif how.startswith("http"):
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    compression = Compression.Gzip if how.endswith("gzip") else Compression.NoCompression
    exporter = OTLPSpanExporter(endpoint=f"{base}/v1/traces", headers=headers, compression=compression)
elif how.startswith("json"):
    from opentelemetry.exporter.otlp.json.http.trace_exporter import Compression, OTLPSpanExporter

    compression = Compression.GZIP if how.endswith("gzip") else Compression.NONE
    exporter = OTLPSpanExporter(endpoint=f"{base}/v1/traces", headers=headers, compression=compression)
else:
    import requests
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    session = requests.Session()
    session.headers.update(headers)
    exporter = ZipkinExporter(endpoint=f"{base}/api/v2/spans", session=session)

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter))
tracer = provider.get_tracer("judge")
for n in range(count // 2):
    with tracer.start_as_current_span("outer") as outer:
        outer.set_attribute("n", n)
        with tracer.start_as_current_span("inner") as inner:
            inner.set_attribute("n", n)
            inner.set_attribute("none", [])
            inner.set_attribute("no_number", float("nan"))
if not provider.force_flush():
    sys.exit("not all spans were taken")
provider.shutdown()
