"""Job files for tests: plain processes that answer over HTTP with a word, and are registered in Consul with a check."""

from __future__ import annotations

from pathlib import Path

SERVER = """
import http.server, os, sys
if sys.argv[3] == 'broken':
    sys.exit('no database')
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if sys.argv[3] == 'sleeping' else 200)
        self.end_headers()
        self.wfile.write(sys.argv[3].encode())
    def log_message(self, *words):
        pass
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def job_file(folder: Path, job: str, canary: int = 0, count: int = 2) -> Path:
    """A job whose instances answer with the variable `says`; `broken` ends at once with an error, `sleeping` is never healthy.

    Seconds of `patience` pass before a version that is not healthy has failed."""
    program = folder / "server.py"
    program.write_text(SERVER)
    file = folder / f"{job}.nomad.hcl"
    file.write_text(f"""
variable "says" {{
  type    = string
  default = "one"
}}

variable "tag" {{
  type    = string
  default = "a"
}}

variable "patience" {{
  type    = number
  default = 60
}}

job "{job}" {{
  datacenters = ["dc1"]

  update {{
    max_parallel      = {count}
    min_healthy_time  = "200ms"
    healthy_deadline  = "${{var.patience - 1}}s"
    progress_deadline = "${{var.patience}}s"
    auto_revert       = true
    canary            = {canary}
  }}

  group "app" {{
    count = {count}

    restart {{
      attempts = 0
      mode     = "fail"
    }}

    reschedule {{
      attempts  = 0
      unlimited = false
    }}

    network {{
      port "http" {{}}
    }}

    service {{
      name = "{job}"
      port = "http"
      tags = [var.tag]

      check {{
        type     = "http"
        path     = "/"
        interval = "1s"
        timeout  = "1s"
      }}
    }}

    task "main" {{
      driver = "raw_exec"

      config {{
        command = "python3"
        args    = ["{program}", "${{NOMAD_IP_http}}", "${{NOMAD_PORT_http}}", var.says]
      }}

      kill_signal  = "SIGTERM"
      kill_timeout = "2s"
    }}
  }}
}}
""")
    return file
