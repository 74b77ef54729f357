"""A balancer's tunnel made by hand: what is routed to a TUN device goes to one backend, encapsulated.

encapsulate.py DEVICE MODE SOURCE DESTINATION VIP...    MODE: ipip, gre, gre:KEY, gre:csum, gue:PORT, gue1:PORT

What does not fit into the way out's MTU is dropped without a word, as a black hole does.
"""
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys

device, mode, source, destination, *vips = sys.argv[1:]
kind, _, detail = mode.partition(":")
family = socket.AF_INET6 if ":" in destination else socket.AF_INET


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def gre(packet, protocol):
    if detail == "csum":
        bare = struct.pack("!HHHH", 0x8000, protocol, 0, 0)
        return struct.pack("!HHHH", 0x8000, protocol, checksum(bare + packet), 0)
    if detail:
        return struct.pack("!HHI", 0x2000, protocol, int(detail))
    return struct.pack("!HH", 0, protocol)


def tunnel(packet):
    """IP protocol and payload."""
    is_ipv6 = packet[0] >> 4 == 6
    if kind == "ipip":
        return 41 if is_ipv6 else 4, packet
    if kind == "gre":
        return 47, gre(packet, 0x86DD if is_ipv6 else 0x0800) + packet
    if kind == "gue":
        return 17, struct.pack("!BBH", 0, 41 if is_ipv6 else 4, 0) + packet
    return 17, packet  # gue1


def udp():
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    return sender


def forbid_fragments(sender):
    if family == socket.AF_INET6:
        sender.setsockopt(socket.IPPROTO_IPV6, 62, 1)  # IPV6_DONTFRAG
    else:
        sender.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE
    return sender


def raw(protocol):
    sender = socket.socket(family, socket.SOCK_RAW, protocol)
    sender.bind((source, 0))
    return sender


tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", device.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
subprocess.run(["ip", "link", "set", device, "up"], check=True)
for vip in vips:
    subprocess.run(["ip", "route", "add", vip, "dev", device], check=True)

senders = {}
print("ready", flush=True)
while True:
    packet = os.read(tun, 65536)
    protocol, payload = tunnel(packet)
    if protocol not in senders:
        senders[protocol] = forbid_fragments(udp() if protocol == 17 else raw(protocol))
    try:
        senders[protocol].sendto(payload, (destination, int(detail) if protocol == 17 else 0))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
