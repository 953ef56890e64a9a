"""gRPC's C core as a proxyless client of the mesh: calls a service by xDS, on a schedule, and says what came of it.

    GRPC_XDS_BOOTSTRAP=bootstrap.json client.py xds:///quotes 25

calls GetQuote of the sample service 25 times a second, whatever happens to the calls before. Five times a second, and
at the end (SIGTERM), a line of JSON on stdout has the sums so far: sent, ok, failed by reason, answers by instance.
Nothing is tried again here; what the library itself tries again is its business.
"""

import collections
import json
import signal
import sys
import threading
import time

import grpc

METHOD = "/quotes.v1.Quotes/GetQuote"
# GetQuoteRequest{symbol: "ACME"}
REQUEST = b"\x0a\x04ACME"
DEADLINE_S = 15
LINES_A_SECOND = 5


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def instance_of(quote):
    """Field 3 of a Quote, whose other fields are a string and an integer."""
    at = 0
    while at < len(quote):
        tag, at = varint(quote, at)
        value, at = varint(quote, at)
        if tag & 7 == 2:
            value, at = quote[at : at + value], at + value
        if tag >> 3 == 3:
            return value.decode()
    return "nobody"


class Sums:
    """What came of the calls; answers arrive on the library's threads."""

    def __init__(self):
        self.changed = threading.Condition()
        self.sent = self.ok = 0
        self.failed = collections.Counter()
        self.by_instance = collections.Counter()

    def done(self, call):
        error = call.exception()
        with self.changed:
            if error is None:
                self.ok += 1
                self.by_instance[instance_of(call.result())] += 1
            else:
                self.failed[f"{error.code().name}: {error.details()}"] += 1
            self.changed.notify_all()

    def print(self):
        with self.changed:
            sums = {
                "sent": self.sent,
                "ok": self.ok,
                "failed": self.failed,
                "by_instance": self.by_instance,
            }
            print(json.dumps(sums), flush=True)

    def wait_for_answers(self):
        with self.changed:
            self.changed.wait_for(lambda: self.ok + self.failed.total() == self.sent)


def main():
    target, rate = sys.argv[1], int(sys.argv[2])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sums = Sums()
    with grpc.insecure_channel(target) as channel:
        get_quote = channel.unary_unary(METHOD)
        began = time.monotonic()
        while not stop.wait(max(0.0, began + sums.sent / rate - time.monotonic())):
            with sums.changed:
                sums.sent += 1
            get_quote.future(REQUEST, timeout=DEADLINE_S).add_done_callback(sums.done)
            if sums.sent % max(1, rate // LINES_A_SECOND) == 0:
                sums.print()
        sums.wait_for_answers()
    sums.print()


main()
