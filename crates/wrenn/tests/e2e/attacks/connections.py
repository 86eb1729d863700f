# Knocks ten thousand times at the guest agent's port, from inside, and counts how often it is let in.
import select, socket, time

ADDRESSES = ("169.254.0.21", "127.0.0.1", "127.1.2.3")
poll, knocks, taken = select.epoll(), {}, 0
for number in range(10_000):
    knock = socket.socket()
    knock.setblocking(False)
    knocks[knock.fileno()] = knock
    poll.register(knock, select.EPOLLOUT)
    knock.connect_ex((ADDRESSES[number % len(ADDRESSES)], 49983))
for descriptor, _ in poll.poll(2, len(knocks)):
    taken += knocks[descriptor].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
print(len(knocks), taken, flush=True)
time.sleep(600)
