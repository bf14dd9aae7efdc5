# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on a free port of the loopback like Ollama does, until its own file is gone."""

from __future__ import annotations

import http.server
import json
import sys
from pathlib import Path

ANSWERS = {
    "/api/version": {"version": "0.12.1"},
    "/api/tags": {"models": [{"name": "demo:1b"}]},
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path, {})).encode()
        self.send_response(200 if self.path in ANSWERS else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.timeout = 0.5
Path(sys.argv[1]).write_text(str(server.server_port))
while Path(sys.argv[1]).exists():
    server.handle_request()
