"""A hash chain in memory and on disk. Both are looked at on every step, and the first difference ends it.

hash_chain.py run    works until it is killed; /run/chain says how far it is, /root/failed what was wrong
hash_chain.py check  computes the chain anew and compares it with all that the log on the disk says
"""

import hashlib
import os
import sys
import time
import traceback

SEED = b"wrenn"
BLOCK = 4096
MEMORY_BLOCKS = 1024
DISK_BLOCKS = 256
# Every so many steps the disk is written to, and what the guest remembers of it is dropped.
FLUSH = 16
PAUSE_S = 0.001
LOG, DISK, STATUS, FAILED = "/root/chain.log", "/root/chain.disk", "/run/chain", "/root/failed"


def first():
    return hashlib.sha256(SEED).digest()


def following(link):
    return hashlib.sha256(link).digest()


def block(link):
    return link * (BLOCK // len(link))


def place(link, blocks):
    return int.from_bytes(link[:4], "little") % blocks


def same(what, found, expected):
    if found != expected:
        raise ValueError(f"{what}: {found[:8].hex()} where {expected[:8].hex()} was written")


def flush(log, disk):
    for file in (log, disk):
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def log_of(link):
    return link.hex().encode() + b"\n"


def run():
    link = first()
    memory = bytearray(block(link) * MEMORY_BLOCKS)
    in_memory = [link] * MEMORY_BLOCKS
    disk = os.open(DISK, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.pwrite(disk, block(link) * DISK_BLOCKS, 0)
    on_disk = [link] * DISK_BLOCKS
    log = os.open(LOG, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    line = len(log_of(link))
    step = 0
    while True:
        at = place(link, MEMORY_BLOCKS)
        page = slice(at * BLOCK, (at + 1) * BLOCK)
        same(f"memory, block {at}", bytes(memory[page]), block(in_memory[at]))
        where = place(link[4:], DISK_BLOCKS)
        same(f"disk, block {where}", os.pread(disk, BLOCK, where * BLOCK), block(on_disk[where]))
        if step:
            same("the log's end", os.pread(log, line, (step - 1) * line), log_of(link))

        link = following(link)
        step += 1
        memory[page] = block(link)
        in_memory[at] = link
        os.pwrite(disk, block(link), where * BLOCK)
        on_disk[where] = link
        os.write(log, log_of(link))
        if step % FLUSH == 0:
            flush(log, disk)
        with open(STATUS + ".new", "w") as status:
            status.write(f"{os.getpid()} {step}\n")
        os.replace(STATUS + ".new", STATUS)
        time.sleep(PAUSE_S)


def check():
    link = first()
    with open(LOG, "rb") as log:
        lines = log.readlines()
    for number, line in enumerate(lines):
        link = following(link)
        same(f"line {number} of the log", line, log_of(link))
    print(len(lines))


if __name__ == "__main__":
    try:
        run() if sys.argv[1] == "run" else check()
    except Exception:
        with open(FAILED, "w") as failed:
            traceback.print_exc(file=failed)
        raise
