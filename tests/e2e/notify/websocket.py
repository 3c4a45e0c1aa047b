"""A websocket server (RFC 6455, messages of up to 125 bytes) whose clients stay connected when it is restarted.

It keeps its state in a memory file, and stores the state and its clients with FDSTORE=1: the clients on SIGTERM, and the
state on SIGTERM and, if the first argument is `early`, also at the start.
"""

import base64
import hashlib
import json
import os
import selectors
import signal
import socket
import sys

WORD = "one"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GENERATION = os.environ["HOTRUN_GENERATION"]

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


def notify(text, *fds):
    if fds:
        socket.send_fds(manager, [text.encode()], list(fds))
    else:
        manager.send(text.encode())


def passed():
    """Returns the passed descriptors by name."""
    names = os.environ.get("LISTEN_FDNAMES", "")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    assert not count or int(os.environ["LISTEN_PID"]) == os.getpid()
    found = {}
    for fd, name in enumerate(names.split(":") if names else [], 3):
        found.setdefault(name, []).append(fd)
    assert sum(map(len, found.values())) == count
    return found


class Client:
    def __init__(self, connection, pending=b"", greeted=False):
        connection.setblocking(False)
        self.connection = connection
        self.pending = pending
        self.greeted = greeted

    def readable(self):
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return True
        self.pending += data
        self.work()
        return bool(data)

    def work(self):
        if not self.greeted and b"\r\n\r\n" in self.pending:
            head, self.pending = self.pending.split(b"\r\n\r\n", 1)
            lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
            key = {name.lower(): value for name, value in lines}[b"sec-websocket-key"]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            self.connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.greeted = True
        while self.greeted and len(self.pending) >= 6 and len(self.pending) >= 6 + (self.pending[1] & 127):
            size = self.pending[1] & 127
            mask, body = self.pending[2:6], self.pending[6 : 6 + size]
            opcode, self.pending = self.pending[0] & 15, self.pending[6 + size :]
            if opcode == 1:
                self.answer(bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))

    def answer(self, text):
        state["count"] += 1
        text = f"{GENERATION} {state['count']} ".encode() + text
        self.connection.sendall(bytes([0x81, len(text)]) + text)


def load(fd):
    text = os.pread(fd, 1 << 20, 0)
    return json.loads(text) if text else {"count": 0, "clients": {}}


def save(fd):
    state["clients"] = {str(client.connection.getpeername()[1]): client.pending.hex() for client in clients}
    text = json.dumps(state).encode()
    os.ftruncate(fd, 0)
    os.pwrite(fd, text, 0)


found = passed()
early = sys.argv[1] == "early"
memory = found["state"][0] if "state" in found else os.memfd_create("state")
state = load(memory)
clients = []
for fd in found.get("ws", []):
    connection = socket.socket(fileno=fd)
    pending = state["clients"].get(str(connection.getpeername()[1]))
    clients.append(Client(connection, bytes.fromhex(pending or ""), True))
if "http" in found:
    listener = socket.socket(fileno=found["http"][0])
else:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
listener.setblocking(False)
if early:
    notify("FDSTORE=1\nFDNAME=state", memory)

wakeup, waker = socket.socketpair()
wakeup.setblocking(False)
waker.setblocking(False)
signal.set_wakeup_fd(waker.fileno())
signal.signal(signal.SIGTERM, lambda *_: None)

selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
selector.register(wakeup, selectors.EVENT_READ)
for client in clients:
    selector.register(client.connection, selectors.EVENT_READ, client)
    client.work()
print(f"took over {len(clients)}", flush=True)
notify(f"READY=1\nSTATUS={len(clients)} clients, {WORD}")

while True:
    for key, _ in selector.select():
        if key.fileobj is wakeup:
            save(memory)
            for client in clients:
                notify("FDSTORE=1\nFDNAME=ws", client.connection.fileno())
            notify("FDSTORE=1\nFDNAME=state", memory)
            os._exit(0)
        elif key.fileobj is listener:
            try:
                client = Client(listener.accept()[0])
            except BlockingIOError:
                continue
            clients.append(client)
            selector.register(client.connection, selectors.EVENT_READ, client)
        elif not key.data.readable():
            selector.unregister(key.data.connection)
            clients.remove(key.data)
            # Closing the connection is not enough, because hotrun may hold a duplicate.
            try:
                key.data.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            key.data.connection.close()
