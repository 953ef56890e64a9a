"""An application for tests: NAME LOG HOST:PORT (or - for no port).

It writes into LOG when it starts, which signal it gets and when it ends, each line with the time, its name and its
allocation; it answers /health (500 while the file $SICK exists), /env, and /ask?URL with what it was answered itself;
it takes $LINGER seconds to end.
"""
import http.server
import json
import os
import signal
import sys
import time
import urllib.request

name, log, listen = sys.argv[1:4]


def say(what):
    allocation = os.environ.get("NOMAD_ALLOC_ID", "-")
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{time.time():.3f} {name} {allocation} {what}\n")


def told(number, _):
    say(signal.Signals(number).name)
    time.sleep(float(os.environ.get("LINGER", "0")))
    say("end")
    os._exit(0)


def asked(url):
    try:
        return str(urllib.request.urlopen(url, timeout=3).status)
    except OSError as error:
        return f"no: {error}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = os.path.exists(os.environ.get("SICK", "/none"))
        body = "sick" if sick else "well"
        if self.path == "/env":
            body = json.dumps(dict(os.environ))
        elif self.path.startswith("/ask?"):
            body = asked(self.path[5:])
        self.send_response(500 if sick and self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, told)
signal.signal(signal.SIGINT, told)
say("start")
if listen == "-":
    while True:
        signal.pause()
host, port = listen.rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
