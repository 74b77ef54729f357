"""Runs in the guest of make.sh: sends frames through IPVS, and prints what goes in and what comes out.

l0 is the balancer's interface to the clients, l1 the one to the backends; their peers c0 and r0 have no addresses and
stand for everybody else: frames are written to and read from them whole.
"""
import logging
import os
import select
import socket
import subprocess
import sys

logging.getLogger('scapy').setLevel(logging.ERROR)
from scapy.all import (  # noqa: E402
    ICMP, IP, TCP, UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6,
    Raw)

IPVSADM = os.environ['IPVSADM']
L0, L1 = '02:00:00:00:00:fe', '02:00:00:00:01:fe'
CLIENT_MAC, BACKEND_MAC = '02:00:00:00:00:01', '02:00:00:00:0b:01'
CLIENT, CLIENT6 = '198.51.100.7', '2001:db8:1::7'
VIP, VIP6 = '192.0.2.10', '2001:db8:ffff::10'
NODE, NODE6 = '10.9.0.1', '2001:db8:9::1'
BACKEND, BACKEND6 = '10.9.0.21', '2001:db8:9::21'
ROUTER, ROUTER6 = '10.8.0.1', '2001:db8:8::1'
# As ipvsadm takes them. Each serves one port per pair of families, in this order, from 8001 on.
TUNNELS = {
    'ipip': [],
    'gre': ['--tun-type', 'gre', '--tun-nocsum'],
    'gre-csum': ['--tun-type', 'gre', '--tun-csum'],
    'gue': ['--tun-type', 'gue', '--tun-port', '6080', '--tun-nocsum'],
    'gue-csum': ['--tun-type', 'gue', '--tun-port', '6080', '--tun-csum'],
}


def run(*words):
    subprocess.run(words, check=True, stdout=sys.stderr)


def write(path, value):
    with open(path, 'w') as file:
        file.write(value)


def set_up():
    for path in ['ipv4/conf/all/rp_filter', 'ipv4/conf/default/rp_filter', 'ipv4/icmp_ratelimit', 'ipv6/icmp/ratelimit']:
        write(f'/proc/sys/net/{path}', '0')
    write('/proc/sys/net/ipv4/icmp_ratemask', '0')
    run('ip', 'link', 'set', 'lo', 'up')
    for inner, peer, mac, other in [('l0', 'c0', L0, '02:00:00:00:aa:01'), ('l1', 'r0', L1, '02:00:00:00:aa:02')]:
        run('ip', 'link', 'add', inner, 'address', mac, 'type', 'veth', 'peer', 'name', peer, 'address', other)
        write(f'/proc/sys/net/ipv6/conf/{peer}/disable_ipv6', '1')
        write(f'/proc/sys/net/ipv6/conf/{inner}/accept_dad', '0')
        run('ethtool', '-K', inner, 'tx', 'off')
        run('ip', 'link', 'set', inner, 'up')
        run('ip', 'link', 'set', peer, 'up')
    for address, device in [
        ('198.51.100.1/24', 'l0'), ('2001:db8:1::1/64', 'l0'), (f'{NODE}/24', 'l1'), (f'{NODE6}/64', 'l1'),
        (f'{VIP}/32', 'lo'), (f'{VIP6}/128', 'lo'),
    ]:
        run('ip', 'addr', 'add', address, 'dev', device, *(['nodad'] if ':' in address else []))
    for address, mac, device in [
        (CLIENT, CLIENT_MAC, 'l0'), (CLIENT6, CLIENT_MAC, 'l0'), (BACKEND, BACKEND_MAC, 'l1'),
        (BACKEND6, BACKEND_MAC, 'l1'),
    ]:
        run('ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', device, 'nud', 'permanent')
    write('/proc/sys/net/ipv4/vs/sloppy_tcp', '1')


def serve(vip, port, protocol, backend, options):
    flag = {'tcp': '-t', 'udp': '-u'}[protocol]
    host, other = [f'[{address}]' if ':' in address else address for address in (vip, backend)]
    run(IPVSADM, '-A', flag, f'{host}:{port}', '-s', 'rr')
    run(IPVSADM, '-a', flag, f'{host}:{port}', '-r', f'{other}:{port}', '-i', *options)


def open_socket(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((interface, 0))
    return sock


def received(sockets):
    """The frames that arrive within a tenth of a second of silence, by socket; without what the kernel says itself."""
    frames = []
    while True:
        ready, _, _ = select.select(list(sockets), [], [], 0.1)
        if not ready:
            return frames
        for sock in ready:
            data, (_, _, kind, _, _) = sock.recvfrom(65536)
            if kind == socket.PACKET_OUTGOING or data[:6] not in known:
                continue
            frames.append((sockets[sock], data))


known = {bytes.fromhex(mac.replace(':', '')) for mac in (CLIENT_MAC, BACKEND_MAC)}


def open_cases():
    """case(name, way, data): sends a frame, prints it and what comes of it, and returns that."""
    sockets = {open_socket('c0'): 'client', open_socket('r0'): 'backend'}
    by_name = {name: sock for sock, name in sockets.items()}
    received(sockets)

    def case(name, way, data):
        print(f'case {name}')
        print(f'{way} {data.hex()}')
        by_name[way].send(data)
        frames = received(sockets)
        for to, frame in frames:
            print(f'to-{to} {frame.hex()}')
        sys.stdout.flush()
        return frames

    return case


def ip(family, tos, df):
    if family == 4:
        return IP(src=CLIENT, dst=VIP, ttl=61, tos=tos, id=0x1234, flags='DF' if df else 0)
    return IPv6(src=CLIENT6, dst=VIP6, hlim=61, tc=tos, fl=0xabcde)


def from_client(packet):
    return bytes(Ether(src=CLIENT_MAC, dst=L0) / packet)


def from_router(packet):
    return bytes(Ether(src=BACKEND_MAC, dst=L1) / packet)


def main():
    set_up()
    case = open_cases()
    port = 8000
    for name, options in TUNNELS.items():
        for outer, backend in [(4, BACKEND), (6, BACKEND6)]:
            for inner, vip in [(4, VIP), (6, VIP6)]:
                port += 1
                title = f'{name} {inner}in{outer}'
                serve(vip, port, 'tcp', backend, options)
                serve(vip, port, 'udp', backend, options)
                tcp = TCP(sport=40000, dport=port, seq=1000, ack=0, window=64240)
                syn = tcp.copy()
                syn.flags, syn.options = 'S', [('MSS', 1460), ('WScale', 7)]
                encapsulated = case(f'{title} syn', 'client', from_client(ip(inner, 0, True) / syn))
                data = tcp.copy()
                data.flags, data.ack, data.seq = 'PA', 77, 1001
                case(f'{title} data', 'client', from_client(ip(inner, 0xb9, False) / data / b'GET /'))
                case(f'{title} udp', 'client',
                     from_client(ip(inner, 0x2a, True) / UDP(sport=40001, dport=port) / b'odd'))
                case(f'{title} ce', 'client', from_client(ip(inner, 0x03, True) / data / b'even'))
                if name.endswith('csum'):
                    continue
                data.flags = 'A'
                long = 1500 - (40 if inner == 4 else 60)
                case(f'{title} too-long', 'client', from_client(ip(inner, 0, True) / data / (b'x' * long)))
                path_errors(case, title, outer, bytes(Ether(encapsulated[0][1]).payload))
                flow_errors(case, title, inner, port)
                for family in ('-4', '-6'):
                    run('ip', family, 'route', 'flush', 'cache')
    case('echo 4', 'client', from_client(ip(4, 0x10, True) / ICMP(id=7, seq=9) / b'linimo!'))
    case('echo 6', 'client', from_client(ip(6, 0x10, True) / ICMPv6EchoRequest(id=7, seq=9, data=b'linimo!')))


def path_errors(case, title, outer, quoted):
    """A router on the tunnel's path complains about the outer packet."""
    if outer == 4:
        head = IP(src=ROUTER, dst=NODE, ttl=60, id=5)
        case(f'{title} router too-big', 'backend', from_router(head / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quoted)))
        case(f'{title} router port-unreachable', 'backend', from_router(head / ICMP(type=3, code=3) / Raw(quoted)))
        case(f'{title} router time-exceeded', 'backend', from_router(head / ICMP(type=11, code=0) / Raw(quoted)))
        return
    head = IPv6(src=ROUTER6, dst=NODE6, hlim=60)
    case(f'{title} router too-big', 'backend', from_router(head / ICMPv6PacketTooBig(mtu=1400) / Raw(quoted)))
    case(f'{title} router unreachable', 'backend', from_router(head / ICMPv6DestUnreach(code=3) / Raw(quoted)))


def flow_errors(case, title, inner, port):
    """A router on the way to the client complains about what the backend has sent."""
    reply = TCP(sport=port, dport=40000, seq=77, ack=1006, flags='A', window=64240)
    if inner == 4:
        quoted = bytes(IP(src=VIP, dst=CLIENT, ttl=63, id=3, flags='DF') / reply / (b'y' * 20))
        head = IP(src=ROUTER, dst=VIP, ttl=59, id=6, tos=0xc0)
        case(f'{title} flow too-big', 'client', from_client(head / ICMP(type=3, code=4, nexthopmtu=1300) / Raw(quoted)))
        case(f'{title} flow minimal', 'client',
             from_client(head / ICMP(type=3, code=4, nexthopmtu=1300) / Raw(quoted[:28])))
        return
    quoted = bytes(IPv6(src=VIP6, dst=CLIENT6, hlim=63) / reply / (b'y' * 20))
    head = IPv6(src=ROUTER6, dst=VIP6, hlim=59)
    case(f'{title} flow too-big', 'client', from_client(head / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted)))
    case(f'{title} flow minimal', 'client', from_client(head / ICMPv6TimeExceeded() / Raw(quoted[:48])))


if __name__ == '__main__':
    main()
