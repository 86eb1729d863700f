# Takes every process id that there is, and holds them.
import threading, time

threading.stack_size(32768)
hold = threading.Event()
while True:
    try:
        threading.Thread(target=hold.wait, daemon=True).start()
    except RuntimeError:
        print("full", flush=True)
        time.sleep(600)
