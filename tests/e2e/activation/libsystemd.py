import ctypes
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

lib = ctypes.CDLL("libsystemd.so.0")
names = ctypes.POINTER(ctypes.c_char_p)()
assert lib.sd_listen_fds_with_names(0, ctypes.byref(names)) == 1
assert names[0] == b"api", names[0]
assert lib.sd_is_socket_inet(3, socket.AF_INET, socket.SOCK_STREAM, 1, 0) == 1


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"WORD\n")


server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
assert lib.sd_notify(0, b"READY=1\nSTATUS=serving") == 1
server.serve_forever()
