"""
Sends packets that scapy makes: `send.py DEVICE MAC`. Standard input: a packet a line, from the IP header on, as a Python
expression in scapy's words. MAC: the next hop's.
"""
import logging
import sys

logging.getLogger('scapy').setLevel(logging.ERROR)
from scapy.all import *  # noqa: the expressions may use any of it

device, mac = sys.argv[1:3]
frames = [Ether(src=get_if_hwaddr(device), dst=mac) / eval(line) for line in sys.stdin if line.strip()]
sendp(frames, iface=device, verbose=False)
