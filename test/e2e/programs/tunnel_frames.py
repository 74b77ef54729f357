"""
Holds captured tunnel packets against those that scapy builds. Standard input, JSON:

  legs   [{name, file, to, from, ttl}]: the tunnel's links in order, with the MAC addresses and the outer TTL there
  homes  [{file, to, from, ttl}]: its last link, of each backend
  plain  {before, after: [files], direct}: the client's packets as they reach the balancer, as the backends' stacks see
         them, and a link that the answers take
  cases  [{name, vip, forward, key, bare, port, source, destinations}]; source: an address or a prefix

Prints JSON, by case: packets and flows that came, the answers that were seen beside the balancer (direct) and at it
(byBalancer), how many values each field has that may differ from flow to flow, and every difference, by leg and field.
"""
import ipaddress
import json
import logging
import struct
import sys

logging.getLogger('scapy').setLevel(logging.ERROR)
from scapy.all import GRE, IP, UDP, BitField, ByteField, Ether, IPv6, Packet, RawPcapReader, Raw, ShortField, raw

GUE_PORT = 6080


class GUE(Packet):
    fields_desc = [
        BitField('version', 0, 2),
        BitField('control', 0, 1),
        BitField('length', 0, 5),
        ByteField('protocol', 0),
        ShortField('flags', 0),
    ]


def ip_bytes(data):
    """The IP packet at the start of data, without the padding behind it; None: there is none."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return data[: struct.unpack('>H', data[2:4])[0]]
    if len(data) >= 40 and data[0] >> 4 == 6:
        return data[: 40 + struct.unpack('>H', data[4:6])[0]]
    return None


def inside(packet):
    """What a tunnel's packet carries; None: it is no tunnel's."""
    if packet[0] >> 4 == 4:
        protocol, rest = packet[9], packet[(packet[0] & 15) * 4 :]
    else:
        protocol, rest = packet[6], packet[40:]
    if protocol in (4, 41):
        return rest
    if protocol == 47:
        return rest[8 if rest[0] & 0x20 else 4 :]
    if protocol == 17 and struct.unpack('>H', rest[2:4])[0] == GUE_PORT:
        return rest[8:] if rest[8] >> 6 else rest[12:]
    return None


def addresses(packet):
    at, size = (12, 4) if packet[0] >> 4 == 4 else (8, 16)
    parts = packet[at : at + size], packet[at + size : at + 2 * size]
    return [str(ipaddress.ip_address(part)) for part in parts]


def flow_of(packet):
    """Addresses, protocol, ports; an ICMP packet's has none. Not behind extension headers."""
    head, protocol = (((packet[0] & 15) * 4), packet[9]) if packet[0] >> 4 == 4 else (40, packet[6])
    ports = packet[head : head + 4] if protocol in (6, 17) else b''
    return (*addresses(packet), protocol, ports)


def read(file):
    """The frames with an IP packet: (frame, packet)."""
    pairs = ((frame, ip_bytes(frame[14:])) for frame, _ in RawPcapReader(file) if frame[12:14] in (b'\x08\x00', b'\x86\xdd'))
    return [(frame, packet) for frame, packet in pairs if packet]


def layers_for(case, inner, leg, seen):
    """The headers ahead of the inner packet: (name, class, layer), free fields as they were seen."""
    is_ipv6 = inner[0] >> 4 == 6
    first = struct.unpack('>I', inner[:4])[0]
    tos = first >> 20 & 255 if is_ipv6 else inner[1]
    is_df = is_ipv6 or bool(inner[6] & 0x40)
    number = 41 if is_ipv6 else 4
    kind = case['forward']
    protocol = {'gre': 47, 'gue': 17}.get(kind, number)
    macs = {'dst': leg['to'], 'src': leg['from']}
    if isinstance(seen, IPv6):
        ip = IPv6(src=seen.src, dst=seen.dst, tc=tos, fl=seen.fl, nh=protocol, hlim=leg['ttl'])
        layers = [('Ethernet', Ether(type=0x86DD, **macs)), ('IPv6', ip)]
    else:
        ip = IP(src=seen.src, dst=seen.dst, tos=tos, ttl=leg['ttl'], proto=protocol)
        ip.flags, ip.id = ('DF', 0) if is_df else (0, seen.id)
        layers = [('Ethernet', Ether(type=0x0800, **macs)), ('IPv4', ip)]
    if kind == 'gre':
        ethertype = 0x86DD if is_ipv6 else 0x0800
        key = case.get('key')
        layers.append(('GRE', GRE(proto=ethertype) if key is None else GRE(proto=ethertype, key_present=1, key=key)))
    if kind == 'gue':
        udp = UDP(sport=seen[UDP].sport, dport=case.get('port', GUE_PORT))
        if not isinstance(seen, IPv6):
            udp.chksum = 0
        layers.append(('UDP', udp))
        if not case.get('bare'):
            layers.append(('GUE', GUE(protocol=number)))
    return layers


def compare(case, inner, leg, frame):
    """What of a frame is not as it should be: ['field expected seen', ...]."""
    parsed = Ether(frame)
    seen = parsed.payload
    wanted_ipv6 = ':' in case['destinations'][0]
    if isinstance(seen, IPv6) != wanted_ipv6:
        return ['outer family']
    wrong = []
    if seen.dst not in case['destinations']:
        wrong.append(f'outer destination {seen.dst}')
    if ipaddress.ip_address(seen.src) not in ipaddress.ip_network(case['source']):
        wrong.append(f'outer source {seen.src} is not of {case["source"]}')
    if case['forward'] == 'gue' and not (UDP in seen and seen[UDP].sport >= 0xC000):
        return [*wrong, 'no UDP from a port above 49151']
    if wanted_ipv6 and seen.fl == 0:
        wrong.append('no flow label')
    layers = layers_for(case, inner, leg, seen)
    chain = layers[0][1]
    for _, layer in layers[1:]:
        chain = chain / layer
    expected = raw(chain / Raw(inner))
    at = 0
    for name, layer in layers:
        size = len(raw(type(layer)(raw(layer))))
        want, got = type(layer)(expected[at : at + size]), type(layer)(frame[at : at + size])
        for field in (one.name for one in layer.fields_desc):
            if want.getfieldval(field) != got.getfieldval(field):
                wrong.append(f'{name}.{field}: {got.getfieldval(field)}, not {want.getfieldval(field)}')
        at += size
    if not wrong and frame[: len(expected)] != expected:
        wrong.append('the inner packet')
    if any(frame[len(expected) :]):
        wrong.append('padding that is not zero')
    return wrong


def free_fields(frame):
    ip = Ether(frame).payload
    values = {'source': ip.src, 'destination': ip.dst}
    if isinstance(ip, IPv6):
        values['label'] = ip.fl
    if UDP in ip:
        values['port'] = ip[UDP].sport
    return values


def judge(case, before, legs, after, answers):
    packets = [packet for _, packet in before if addresses(packet)[1] == case['vip']]
    differences = []
    values = {}
    per_flow = {}
    for leg, frames in legs:
        by_inner = {}
        for link, frame, packet in frames:
            inner = inside(packet)
            if inner and ip_bytes(inner) and addresses(inner)[1] == case['vip']:
                by_inner.setdefault(ip_bytes(inner), []).append((link, frame))
        for packet in packets:
            found = by_inner.get(packet)
            if not found:
                differences.append(f'{leg}: lost or changed {packet[:48].hex()}')
                continue
            link, frame = found.pop(0)
            differences += [f'{leg}: {text}' for text in compare(case, packet, link, frame)]
            for field, value in free_fields(frame).items():
                values.setdefault(field, set()).add(value)
                flow = (flow_of(packet), field)
                if packet[9 if packet[0] >> 4 == 4 else 6] in (6, 17) and per_flow.setdefault(flow, value) != value:
                    differences.append(f'{leg}: {field} differs within a flow')
        differences += [f'{leg}: nobody sent {frame.hex()}' for rest in by_inner.values() for _, frame in rest]
    arrived = [packet for _, packet in after if addresses(packet)[1] == case['vip']]
    if sorted(arrived) != sorted(packets):
        differences.append(f'{len(arrived)} packets reached the backends, or others than the {len(packets)} sent')
    return {
        'packets': len(packets),
        'flows': len({flow_of(packet) for packet in packets}),
        'values': {field: len(some) for field, some in values.items()},
        **{where: sum(addresses(packet)[0] == case['vip'] for _, packet in some) for where, some in answers.items()},
        'differences': differences[:20],
    }


task = json.load(sys.stdin)
on = lambda link: [(link, *pair) for pair in read(link['file'])]
legs = [(leg['name'], on(leg)) for leg in task['legs']]
legs.append(('home', [each for link in task['homes'] for each in on(link)]))
everything = read(task['plain']['before'])
mac = bytes.fromhex(task['plain']['balancer'].replace(':', ''))
before = [(frame, packet) for frame, packet in everything if frame[:6] == mac]
after = [pair for file in task['plain']['after'] for pair in read(file)]
answers = {
    'direct': read(task['plain']['direct']),
    'byBalancer': everything + [(frame, inside(packet) or packet) for _, frame, packet in legs[0][1]],
}
print(json.dumps({case['name']: judge(case, before, legs, after, answers) for case in task['cases']}))
