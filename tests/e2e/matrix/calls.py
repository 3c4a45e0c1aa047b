"""Calls tonic's greeter at ADDRESS from several threads over one channel until standard input is closed.

The client uses gRPC's own library. If a server refuses a call because it is shutting down (GOAWAY), the library retries
the call on another connection, as gRPC specifies ("transparent retry")."""

import sys
import threading
import time

import grpc

channel = grpc.insecure_channel(sys.argv[1])
# The request and the response are messages with one string as their first field.
say_hello = channel.unary_unary(
    "/helloworld.Greeter/SayHello",
    request_serializer=lambda name: bytes([10, len(name)]) + name.encode(),
    response_deserializer=lambda reply: reply[2:].decode(),
)
stop = threading.Event()
took, failures = [], []


def call(name):
    while not stop.is_set():
        began = time.monotonic()
        try:
            reply = say_hello(name, timeout=10)
            if not reply.endswith(f" {name}!"):
                failures.append(f"wrong reply: {reply!r}")
        except grpc.RpcError as error:
            failures.append(f"{error.code()}: {error.details()}")
            time.sleep(0.01)
        else:
            took.append(time.monotonic() - began)


callers = [threading.Thread(target=call, args=[f"caller {n}"]) for n in range(10)]
for caller in callers:
    caller.start()
sys.stdin.read()
stop.set()
for caller in callers:
    caller.join()
took.sort()
print(f"answered {len(took)}")
print(f"failed {len(failures)}")
p50, p999, worst = (f"{took[int((len(took) - 1) * share)] * 1000:.1f}ms" for share in (0.5, 0.999, 1))
print(f"latency p50 {p50}, p99.9 {p999}, worst {worst}")
print("\n".join(failures))
