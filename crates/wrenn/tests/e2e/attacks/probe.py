# Knocks at every address and port that it is given, and prints those that let it in.
import errno, select, socket, sys, time

ports = [int(port) for port in sys.argv[1].split(",")]
knocks = {}
for address in sys.argv[2:]:
    for port in ports:
        knock = socket.socket()
        knock.setblocking(False)
        try:
            knock.connect((address, port))
        except BlockingIOError:
            pass
        except OSError:
            knock.close()
            continue
        knocks[knock] = f"{address}:{port}"
until = time.monotonic() + 3
while knocks and (left := until - time.monotonic()) > 0:
    for knock in select.select([], list(knocks), [], left)[1]:
        name = knocks.pop(knock)
        if knock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            print(name)
        knock.close()
