"""
Captures what passes interfaces of other network namespaces: `capture.py DIRECTORY NAME=NAMESPACE:DEVICE ...`, a file
DIRECTORY/NAME.pcap each. Prints `ready`; after its standard input has ended it goes on until nothing has passed for a
while, and prints as JSON how many frames of each it has taken and missed.
"""
import ctypes
import json
import os
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
QUIET_MS = 200
MAX_TAIL_S = 3

libc = ctypes.CDLL(None, use_errno=True)


class Leg:
    def __init__(self, directory, text):
        self.name, place = text.split('=')
        namespace, device = place.split(':')
        with open('/run/netns/' + namespace) as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), 'setns ' + namespace)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.setblocking(False)
        self.file = open(os.path.join(directory, self.name + '.pcap'), 'wb')
        self.file.write(struct.pack('<IHHiIII', 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        self.taken = 0

    def take(self):
        while True:
            try:
                frame = self.socket.recv(262144)
            except BlockingIOError:
                return
            now = time.time()
            head = struct.pack('<IIII', int(now), int(now % 1 * 1000000), len(frame), len(frame))
            self.file.write(head + frame)
            self.taken += 1

    def end(self):
        self.take()
        self.file.close()
        _, missed = struct.unpack('II', self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return {'taken': self.taken, 'missed': missed}


legs = [Leg(sys.argv[1], text) for text in sys.argv[2:]]
poll = select.poll()
by_fd = {leg.socket.fileno(): leg for leg in legs}
for fd in by_fd:
    poll.register(fd, select.POLLIN)
poll.register(0, select.POLLIN)
print('ready', flush=True)
while True:
    ready = [fd for fd, _ in poll.poll()]
    for fd in ready:
        if fd in by_fd:
            by_fd[fd].take()
    if 0 in ready and not os.read(0, 4096):
        poll.unregister(0)
        break
end = time.monotonic() + MAX_TAIL_S
while time.monotonic() < end:
    ready = poll.poll(QUIET_MS)
    if not ready:
        break
    for fd, _ in ready:
        by_fd[fd].take()
print(json.dumps({leg.name: leg.end() for leg in legs}))
