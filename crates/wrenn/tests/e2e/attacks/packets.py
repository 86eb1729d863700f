# Sends as many packets to the internet as it can: datagrams, and connections that begin and never go on. Arguments: an
# address and two ports.
import os, socket, sys, time

address, datagrams, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("begun", flush=True)
if os.fork() == 0:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        try:
            udp.sendto(b"x" * 32, (address, datagrams))
        except OSError:
            time.sleep(0.001)
held = []
while True:
    knock = socket.socket()
    knock.setblocking(False)
    knock.connect_ex((address, connections))
    held.append(knock)
    if len(held) > 500:
        # Reset rather than closed: the next one begins at once.
        old = held.pop(0)
        old.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        old.close()
