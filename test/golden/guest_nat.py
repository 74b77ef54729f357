"""As guest.py, of IPVS masquerading (`ipvsadm -m`): requests, replies, and ICMP errors in both directions."""
from guest import (
    BACKEND, BACKEND6, BACKEND_MAC, CLIENT, CLIENT6, CLIENT_MAC, ICMP, IP, IPVSADM, L0, L1, ROUTER, ROUTER6, TCP, UDP,
    VIP, VIP6, Ether, ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, Raw, open_cases, run, set_up,
    write)

# The service's port, and the backend's.
PORTS = [(8001, 8001), (8002, 3128)]
FAMILIES = {
    4: (CLIENT, VIP, BACKEND, ROUTER),
    6: (CLIENT6, VIP6, BACKEND6, ROUTER6),
}


def serve(vip, port, backend, backend_port):
    host, other = [f'[{address}]' if ':' in address else address for address in (vip, backend)]
    for flag in ('-t', '-u'):
        run(IPVSADM, '-A', flag, f'{host}:{port}', '-s', 'rr')
        run(IPVSADM, '-a', flag, f'{host}:{port}', '-r', f'{other}:{backend_port}', '-m')


def ip(family, source, destination, ttl=61, tos=0, df=True):
    if family == 4:
        return IP(src=source, dst=destination, ttl=ttl, tos=tos, id=0x1234, flags='DF' if df else 0)
    return IPv6(src=source, dst=destination, hlim=ttl, tc=tos, fl=0xabcde)


def from_client(packet):
    return bytes(Ether(src=CLIENT_MAC, dst=L0) / packet)


def from_backend(packet):
    return bytes(Ether(src=BACKEND_MAC, dst=L1) / packet)


def errors(family):
    """Kinds of errors, by name."""
    if family == 4:
        return {
            'too-big': ICMP(type=3, code=4, nexthopmtu=1300),
            'unreachable': ICMP(type=3, code=3),
            'time-exceeded': ICMP(type=11, code=0),
        }
    return {
        'too-big': ICMPv6PacketTooBig(mtu=1300),
        'unreachable': ICMPv6DestUnreach(code=4),
        'time-exceeded': ICMPv6TimeExceeded(),
    }


def quotes(family, packet):
    """All of a packet as a router would quote it, and as little as it must: its first eight bytes behind the IP header."""
    whole = bytes(packet)
    return {'full': whole, 'minimal': whole[:28 if family == 4 else 48]}


def flow(case, title, family, port, backend_port):
    client, vip, backend, router = FAMILIES[family]

    def request(transport, **fields):
        return from_client(ip(family, client, vip, **fields) / transport)

    def reply(transport, **fields):
        return from_backend(ip(family, backend, client, **fields) / transport)

    syn = TCP(sport=40000, dport=port, seq=1000, flags='S', window=64240, options=[('MSS', 1460), ('WScale', 7)])
    case(f'{title} syn', 'client', request(syn))
    back = TCP(sport=backend_port, dport=40000, seq=76, ack=1001, flags='SA', window=65160, options=[('MSS', 1460)])
    case(f'{title} syn-ack', 'backend', reply(back))
    data = TCP(sport=40000, dport=port, seq=1001, ack=77, flags='PA', window=64240)
    case(f'{title} data', 'client', request(data / b'GET /', tos=0xb9, df=False))
    answer = TCP(sport=backend_port, dport=40000, seq=77, ack=1006, flags='PA', window=65160)
    case(f'{title} answer', 'backend', reply(answer / b'HTTP/1.1 200', tos=0x2a, df=False))
    query = UDP(sport=40001, dport=port)
    case(f'{title} query', 'client', request(query / b'odd'))
    case(f'{title} response', 'backend', reply(UDP(sport=backend_port, dport=40001) / b'four'))
    if family == 4:
        unsummed = UDP(sport=40001, dport=port, chksum=0)
        case(f'{title} query without checksum', 'client', request(unsummed / b'odd'))
        unsummed = UDP(sport=backend_port, dport=40001, chksum=0)
        case(f'{title} response without checksum', 'backend', reply(unsummed / b'four'))
    case(f'{title} request, ttl 2', 'client', request(data / b'GET /', ttl=2))
    case(f'{title} request, ttl 1', 'client', request(data / b'GET /', ttl=1))
    case(f'{title} reply, ttl 2', 'backend', reply(answer / b'HTTP', ttl=2))
    case(f'{title} reply, ttl 1', 'backend', reply(answer / b'HTTP', ttl=1))
    data.flags = 'A'
    long = 1500 - (40 if family == 4 else 60)
    case(f'{title} too-long', 'client', request(data / (b'x' * long)))
    for kind, error in errors(family).items():
        for name, transport in [('tcp', answer / (b'y' * 21)), ('udp', UDP(sport=backend_port, dport=40001) / b'four')]:
            # As a router beyond the balancer has it: what IPVS has made of the reply, its TTL some hops on.
            transport = transport.copy()
            transport.sport = port
            sent = ip(family, vip, client, ttl=58) / transport
            for length, quote in quotes(family, sent).items():
                head = ip(family, router, vip, ttl=59, tos=0xc0)
                case(f'{title} error to backend, {kind} {name} {length}', 'client', from_client(head / error / Raw(quote)))
        for name, transport in [('tcp', data / (b'x' * 21)), ('udp', query / b'odd')]:
            transport = transport.copy()
            transport.dport = backend_port
            sent = ip(family, client, backend, ttl=58) / transport
            for length, quote in quotes(family, sent).items():
                head = ip(family, router, client, ttl=59, tos=0xc0)
                case(f'{title} error to client, {kind} {name} {length}', 'backend', from_backend(head / error / Raw(quote)))


def main():
    set_up()
    write('/proc/sys/net/ipv4/ip_forward', '1')
    write('/proc/sys/net/ipv6/conf/all/forwarding', '1')
    # Shorter than the clients' side, so that a packet can be too long.
    run('ip', 'link', 'set', 'l1', 'mtu', '1400')
    case = open_cases()
    for family, (client, vip, backend, _) in FAMILIES.items():
        for port, backend_port in PORTS:
            title = f'nat {family} {port}:{backend_port}'
            serve(vip, port, backend, backend_port)
            flow(case, title, family, port, backend_port)
        own = TCP(sport=5555, dport=443, seq=1, flags='S', window=64240)
        case(f'nat {family} own connection', 'backend', from_backend(ip(family, backend, client) / own))


if __name__ == '__main__':
    main()
