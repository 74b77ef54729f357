"""TCP connections made by hand, from addresses that no kernel has: each packet with the options that are told.

toa-client.py INTERFACE OWN_MAC PEER_MAC    then a line of JSON each on stdin, answered by one on stdout:

{"open": ID, "source": A, "port": P, "destination": B, "to": P, "syn": HEX, "ack": HEX}
                                           {"open": true, "options": HEX}: those of the SYN-ACK
{"send": ID, "text": T, "options": HEX}    {"answer": T}: what came within PATIENCE_S, to a line's end
{"close": ID}                              {"closed": true}

Options stand behind the fixed header as they are, filled up with zeros to a multiple of four.
"""
import json
import socket
import struct
import sys
import time

PATIENCE_S = 5
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

interface, own_mac, peer_mac = sys.argv[1:]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((interface, 3))
connections = {}


def mac(text):
    return bytes(int(part, 16) for part in text.split(":"))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


class Connection:
    def __init__(self, source, port, destination, to):
        self.family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.source = socket.inet_pton(self.family, source)
        self.destination = socket.inet_pton(self.family, destination)
        self.port, self.to = port, to
        self.sequence, self.acknowledged = 1000, 0
        self.options = self.answer = b""
        self.has_ended = False

    def transmit(self, flags, options="", payload=b""):
        options = bytes.fromhex(options)
        options += b"\0" * (-len(options) % 4)
        if len(options) > 40:
            raise ValueError("more options than a header has room for")
        words = (20 + len(options)) // 4
        head = struct.pack("!HHIIBBH", self.port, self.to, self.sequence, self.acknowledged, words << 4, flags, 65000)
        segment = head + struct.pack("!HH", 0, 0) + options + payload
        pseudo = self.source + self.destination + struct.pack("!II", len(segment), 6)
        segment = head + struct.pack("!HH", checksum(pseudo + segment), 0) + options + payload
        if self.family == socket.AF_INET6:
            kind = 0x86DD
            header = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + self.source + self.destination
        else:
            kind = 0x0800
            parts = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(segment), 0, 0, 64, 6), self.source + self.destination
            header = parts[0] + struct.pack("!H", checksum(parts[0] + b"\0\0" + parts[1])) + parts[1]
        wire.send(mac(peer_mac) + mac(own_mac) + struct.pack("!H", kind) + header + segment)
        self.sequence += len(payload) + (1 if flags & (SYN | FIN) else 0)

    def receive(self, frame):
        """The segment's flags and payload; None: it is not of this connection."""
        if self.family == socket.AF_INET6:
            if len(frame) < 74 or frame[12:14] != b"\x86\xdd" or frame[20] != 6 or frame[22:38] != self.destination:
                return None
            if frame[38:54] != self.source:
                return None
            segment = frame[54 : 54 + struct.unpack("!H", frame[18:20])[0]]
        else:
            if len(frame) < 54 or frame[12:14] != b"\x08\0" or frame[23] != 6 or frame[26:30] != self.destination:
                return None
            if frame[30:34] != self.source:
                return None
            segment = frame[34 : 14 + struct.unpack("!H", frame[16:18])[0]]
        peer, port, sequence, _, offset, flags = struct.unpack("!HHIIBB", segment[:14])
        if (peer, port) != (self.to, self.port):
            return None
        if flags & SYN:
            self.options = segment[20 : (offset >> 4) * 4]
        return sequence, flags, segment[(offset >> 4) * 4 :]

    def until(self, is_done):
        """Takes in what comes, in order."""
        end = time.monotonic() + PATIENCE_S
        while not is_done(self):
            wire.settimeout(max(0.001, end - time.monotonic()))
            try:
                frame, (_, _, packet_type, *_) = wire.recvfrom(65535)
            except TimeoutError:
                return
            found = self.receive(frame) if packet_type != socket.PACKET_OUTGOING else None
            if found is None:
                if time.monotonic() > end:
                    return
                continue
            sequence, flags, payload = found
            if flags & RST:
                raise ConnectionError("reset")
            if flags & SYN:
                self.acknowledged = (sequence + 1) & 0xFFFFFFFF
            elif sequence == self.acknowledged:
                self.answer += payload
                self.has_ended = self.has_ended or bool(flags & FIN)
                self.acknowledged = (sequence + len(payload) + (flags & FIN)) & 0xFFFFFFFF
                if payload or flags & FIN:
                    self.transmit(ACK)


def obey(command):
    if "open" in command:
        parts = (command[name] for name in ("source", "port", "destination", "to"))
        one = connections[command["open"]] = Connection(*parts)
        one.transmit(SYN, command.get("syn", ""))
        one.until(lambda it: it.acknowledged)
        if not one.acknowledged:
            return {"open": False}
        one.transmit(ACK, command.get("ack", ""))
        return {"open": True, "options": one.options.hex()}
    if "send" in command:
        one = connections[command["send"]]
        one.answer = b""
        one.transmit(PSH | ACK, command.get("options", ""), command["text"].encode())
        one.until(lambda it: it.answer.endswith(b"\n") or it.has_ended)
        return {"answer": one.answer.decode()}
    connections.pop(command["close"]).transmit(RST | ACK)
    return {"closed": True}


print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = obey(json.loads(line))
    except (OSError, ValueError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
