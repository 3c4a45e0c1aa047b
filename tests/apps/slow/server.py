"""Responds to /slow?ms=N after N ms. It does not handle signals, so TERM kills it at once."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = "Hello\n"
        if self.path.startswith("/slow?ms="):
            ms = self.path.removeprefix("/slow?ms=")
            time.sleep(int(ms) / 1000)
            body = f"{ms} ms later: {body}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
