"""
Opens connections one after the other and keeps them: `tcp-open.py HOST PORT COUNT`. Prints `ready` and JSON: how many
were connected, how many failed by errno, and the longest that a failure took, in milliseconds. Ends with its input.
"""
import errno
import json
import socket
import sys
import time

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
kept = []
failed = {}
longest = 0.0
for _ in range(count):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(3)
    began = time.monotonic()
    try:
        sock.connect((host, port))
        kept.append(sock)
    except OSError as error:
        longest = max(longest, time.monotonic() - began)
        name = errno.errorcode.get(error.errno, 'silence')
        failed[name] = failed.get(name, 0) + 1
        sock.close()
print('ready', json.dumps({'connected': len(kept), 'failed': failed, 'longestMs': round(longest * 1000)}), flush=True)
sys.stdin.read()
