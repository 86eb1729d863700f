# In the guest agent's place: takes its port and answers each call in another wrong way.
import ctypes, os, socket, struct, subprocess, threading

NAMESPACE = "evil"
for command in (
    f"ip netns add {NAMESPACE}",
    f"ip link set eth0 netns {NAMESPACE}",
    f"ip -n {NAMESPACE} link set lo up",
    f"ip -n {NAMESPACE} address add 169.254.0.21/30 dev eth0",
    f"ip -n {NAMESPACE} link set eth0 up",
    f"ip -n {NAMESPACE} route add default via 169.254.0.22",
):
    subprocess.run(command.split(), check=True)
if ctypes.CDLL(None).setns(os.open(f"/run/netns/{NAMESPACE}", os.O_RDONLY), 0) != 0:
    raise SystemExit("no way in")


def frame(flags, message):
    return struct.pack(">BI", flags, len(message)) + message


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: application/connect+proto\r\n\r\n"
STARTED = frame(0, b"\x0a\x04\x0a\x02\x08\x07")
PINGS = frame(0, b"\x0a\x02\x22\x00") * 5000
OUTPUT = frame(0, b"\x0a\x86\x80\x04\x12\x82\x80\x04\x0a\xfe\xff\x03" + b"x" * 65534)
GARBAGE = (os.urandom(4096), b"")
# A call that streams is followed by one that is to end it.
ANSWERS = [
    (STREAM + STARTED, OUTPUT),
    GARBAGE,
    (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65536),
    (STREAM + STARTED + b"\x00\xff\xff\xff\xff", b"z" * 65536),
    (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", b"\x1f\x8b" * 4096),
    (b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b""),
    (STREAM + STARTED, PINGS),
    GARBAGE,
]


def answer(caller, number):
    first, then = ANSWERS[number % len(ANSWERS)]
    try:
        caller.recv(65536)
        caller.sendall(first)
        while then:
            caller.sendall(then)
    except OSError:
        pass
    caller.close()


server = socket.create_server(("0.0.0.0", 49983))
number = 0
while True:
    caller, _ = server.accept()
    threading.Thread(target=answer, args=(caller, number), daemon=True).start()
    number += 1
