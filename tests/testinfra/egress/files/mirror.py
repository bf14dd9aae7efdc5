# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirror with one package, and a download that takes its time: mirror.py FOLDER PORT.

``/slow`` is endless, 4 KiB each tenth of a second; everything else is a file below FOLDER.
"""

from __future__ import annotations

import socket
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/slow":
            return super().do_GET()
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"\0" * 4096)
                time.sleep(0.1)
        except OSError:  # the other side is gone
            self.close_connection = True


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


if __name__ == "__main__":
    Server(("::", int(sys.argv[2])), partial(Handler, directory=sys.argv[1])).serve_forever()
