"""
Asks servers who asks, a connection for each question: `who-load.py HOST PORT PER_SECOND SECONDS WORKERS [FIRST LAST]`.
An answer must hold the question's own token (nginx.ts: /who). The server closes, so the client's port is free at once;
FIRST and LAST bound the client's ports. Prints JSON: tried, answered, wrong (another's answer), slow (none within 5 s),
by errno, how many ports were used, and how many of the tries used one that had been used before.
"""
import errno
import json
import socket
import sys
import threading
import time

host, port = sys.argv[1], int(sys.argv[2])
per_second, seconds, workers = float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
if len(sys.argv) > 7:
    with open('/proc/sys/net/ipv4/ip_local_port_range', 'w') as handle:
        handle.write(f'{sys.argv[6]} {sys.argv[7]}')
family = socket.AF_INET6 if ':' in host else socket.AF_INET
lock = threading.Lock()
counts = {'tried': 0, 'answered': 0, 'wrong': 0, 'slow': 0}
errors = {}
ports = {}
wrong = []


def ask(token):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(5)
    try:
        sock.connect((host, port))
        own = sock.getsockname()[1]
        sock.sendall(b'GET /who?token=%s HTTP/1.0\r\n\r\n' % token)
        answer = b''
        while True:
            more = sock.recv(4096)
            if not more:
                break
            answer += more
        return own, answer
    finally:
        sock.close()


def work(number):
    begin = time.monotonic()
    mine = per_second / workers
    made = 0
    while True:
        now = time.monotonic() - begin
        if now >= seconds:
            return
        if made > now * mine:
            time.sleep(min(0.02, made / mine - now))
            continue
        made += 1
        token = b'%d-%d' % (number, made)
        key = own = answer = None
        try:
            own, answer = ask(token)
            lines = answer.split(b'\r\n\r\n', 1)[-1].split()
            key = 'answered' if len(lines) == 4 and lines[3] == token else 'wrong'
        except TimeoutError:
            key = 'slow'
        except OSError as error:
            with lock:
                name = errno.errorcode.get(error.errno, str(error))
                errors[name] = errors.get(name, 0) + 1
        with lock:
            counts['tried'] += 1
            if key:
                counts[key] += 1
            if key == 'wrong' and len(wrong) < 5:
                wrong.append(repr(answer[-200:]) + ' for ' + repr(token))
            if own:
                ports[own] = ports.get(own, 0) + 1


threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
again = sum(ports.values()) - len(ports)
print(json.dumps({**counts, 'errors': errors, 'ports': len(ports), 'again': again, 'examples': wrong}))
