# Puts frames on the wire that no stack of this guest would send, and one that it would. Arguments: the port that marks
# those, the port of the good one, an address of the internet, and addresses of others to speak as or to.
import socket, struct, subprocess, sys

mark, good, internet, others = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
subprocess.run("ip link set eth0 mtu 9000".split(), check=True)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
ME = bytes.fromhex("02fc00000005")
STRANGER = bytes.fromhex("02fc00000066")
ALL = b"\xff" * 6
OWN, GATEWAY = "169.254.0.21", "169.254.0.22"
neighbours = open("/proc/net/arp").read().split()
ROUTER = bytes.fromhex(neighbours[neighbours.index(GATEWAY) + 3].replace(":", ""))


def address(text):
    return socket.inet_aton(text)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, to, payload=b"", offset=0, more=False, protocol=17, whole=True, port=mark):
    body = struct.pack(">HHHH", 4000, port, 8 + len(payload), 0) + payload if whole else payload
    flags = offset // 8 | (0x2000 if more else 0)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 7, flags, 64, protocol, 0, address(source), address(to))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def send(payload, kind=0x0800, source=ME, to=ROUTER):
    try:
        wire.send(to + source + struct.pack(">H", kind) + payload)
    except OSError as error:
        print("not sent:", error)


def arp(operation, sender_mac, sender, target_mac, target, frame_from=ME, to=ALL):
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
    body += sender_mac + address(sender) + target_mac + address(target)
    send(body, 0x0806, frame_from, to)


def icmp6(kind, body=b"\0" * 20):
    head = struct.pack(">IHBB", 6 << 28, 4 + len(body), 58, 255)
    head += socket.inet_pton(socket.AF_INET6, "fe80::1") + socket.inet_pton(socket.AF_INET6, "ff02::1")
    send(head + struct.pack(">BBH", kind, 0, 0) + body, 0x86DD, to=b"\x33\x33\0\0\0\1")


# As somebody else: by hardware address, by source.
send(packet(OWN, internet), source=STRANGER)
send(packet(OWN, internet), source=ROUTER)
for other in [*others, GATEWAY, "0.0.0.0", "127.0.0.1", "255.255.255.255", "9.9.9.9"]:
    send(packet(other, internet))
# To those who are none of its business, at once and in pieces; a first piece too small for its port, a last alone.
for other in others:
    send(packet(OWN, other))
    send(packet(OWN, other, b"x" * 1400, more=True))
    send(packet(OWN, other, b"x" * 1400, offset=1408, whole=False))
    send(packet(OWN, other, b"\x0f\xa0", more=True, whole=False))
    send(packet(OWN, other, b"x" * 8000))
    send(packet(OWN, other, protocol=1))
# In other clothes: tagged, twice, by other protocols, within another packet.
send(struct.pack(">HH", 7, 0x0800) + packet(OWN, internet), 0x8100)
send(struct.pack(">HHHH", 7, 0x8100, 8, 0x0800) + packet(OWN, internet), 0x88A8)
for kind in (0x86DD, 0x8847, 0x8863, 0x8864, 0x888E, 0x88CC, 0x9000, 0x0000, 0x05DC):
    send(packet(OWN, internet), kind)
for kind in (128, 133, 134, 135, 136, 137):
    icmp6(kind)
# As the gateway, as everybody, to the gateway.
for sender in (GATEWAY, *others):
    arp(1, ME, sender, b"\0" * 6, sender)
    arp(2, ME, sender, ROUTER, GATEWAY, to=ROUTER)
    arp(2, STRANGER, OWN, ROUTER, GATEWAY, to=ROUTER)
    arp(2, STRANGER, sender, ROUTER, GATEWAY, frame_from=STRANGER, to=ROUTER)
send(packet(OWN, internet, port=good))
print("sent", flush=True)
