"""A server that knows nothing of TOA: to each line it answers whom accept() and getpeername() have told it of.

peer-server.py ADDRESS PORT [dual|fastopen]    dual: IPv4 too
"""
import json
import socket
import sys
import threading

address, port, *words = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(connection, accepted):
    with connection, connection.makefile("rwb") as stream:
        try:
            for _ in stream:
                told = {"accept": accepted[:2], "getpeername": connection.getpeername()[:2]}
                stream.write(json.dumps(told).encode() + b"\n")
                stream.flush()
        except OSError:
            pass


with socket.socket(family, socket.SOCK_STREAM) as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if "dual" in words else 1)
    if "fastopen" in words:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    server.bind((address, int(port)))
    server.listen(64)
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=server.accept(), daemon=True).start()
