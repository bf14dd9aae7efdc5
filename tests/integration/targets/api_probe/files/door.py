# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers one path to whoever has the key, as long as the file is there that it wrote its port to."""

from __future__ import annotations

import http.server
import sys
from pathlib import Path

SAID = b'{"choices": [{"message": {"content": "the secret"}}]}'
REFUSED = b'{"error": {"code": "no_key"}}'


class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/v1/models"
        right = self.headers.get("Authorization") == "Bearer opens-it"
        self.send_response(404 if not known else 200 if right else 401)
        self.end_headers()
        self.wfile.write(SAID if known and right else REFUSED)


class House(http.server.HTTPServer):
    def service_actions(self) -> None:
        if not PORT.exists():  # the test is over
            sys.exit()


PORT = Path(sys.argv[1])
with House(("127.0.0.1", 0), Door) as house:
    PORT.write_text(str(house.server_address[1]))
    house.serve_forever()
