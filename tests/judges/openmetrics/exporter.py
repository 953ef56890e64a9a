"""An exporter of every kind of metric, by Prometheus' client library.

Usage: python exporter.py HOST:PORT
"""

import sys
import threading

from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server

host, port = sys.argv[1].split(":")

orders = Counter("orders", "Orders.", ["side"])
orders.labels("buy").inc(3, {"trace_id": "4bf92f3577b34da6"})
orders.labels("sell \"short\"\\\n").inc()
Gauge("queue", "What waits.").set(float("inf"))
latency = Histogram("latency_seconds", "Time.", ["path"], buckets=(0.1, 1, 10))
for value in (0.05, 0.5, 5, 50):
    latency.labels("/orders").observe(value, {"trace_id": "1"})
Summary("size_bytes", "Size.").observe(12)
Info("build", "What runs.").info({"version": "1.2.3"})
Enum("state", "How it is.", states=["up", "down"]).state("up")

start_http_server(int(port), addr=host)
threading.Event().wait()
