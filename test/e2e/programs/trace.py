"""
Follows the way to a port as traceroute does, on sockets that the kernel matches errors to: `trace.py HOST PORT
udp|tcp MAX_TTL`. Prints JSON, for each TTL [who answered, what]: `answer`, an errno's name, or `silence`. TCP's
errors name nobody.
"""
import errno
import json
import os
import select
import socket
import struct
import sys

host, port, protocol, max_ttl = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
LEVEL, TTL, RECVERR = (
    (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 25) if family == socket.AF_INET6 else (socket.IPPROTO_IP, socket.IP_TTL, 11)
)
WAIT_MS = 1500


def offender(ancillary):
    for _, _, data in ancillary:
        number, _, _, _, _, _, _ = struct.unpack('=IBBBBII', data[:16])
        kind = struct.unpack('=H', data[16:18])[0]
        address = data[24:40] if kind == socket.AF_INET6 else data[20:24]
        return [socket.inet_ntop(kind, address), errno.errorcode[number]]
    return [None, 'no error']


def wait(sock, events):
    poll = select.poll()
    poll.register(sock, events)
    return poll.poll(WAIT_MS)


def by_udp(sock):
    sock.connect((host, port))
    sock.send(b'trace')
    if not wait(sock, select.POLLIN):
        return [None, 'silence']
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        return offender(ancillary)
    except BlockingIOError:
        sock.recv(512)
        return [host, 'answer']


def by_tcp(sock):
    try:
        sock.connect((host, port))
    except BlockingIOError:
        pass
    if not wait(sock, select.POLLOUT):
        return [None, 'silence']
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return [None, errno.errorcode[code]] if code else [host, 'answer']


result = []
for ttl in range(1, max_ttl + 1):
    sock = socket.socket(family, socket.SOCK_DGRAM if protocol == 'udp' else socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(LEVEL, TTL, ttl)
    sock.setsockopt(LEVEL, RECVERR, 1)
    result.append(by_udp(sock) if protocol == 'udp' else by_tcp(sock))
    sock.close()
    if result[-1][1] in ('answer', 'ECONNREFUSED'):
        break
print(json.dumps(result))
