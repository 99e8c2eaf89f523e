#!/usr/bin/env python3
"""What goes over a TCP connection in the tests: `echo ADDRESS PORT` answers what it hears, `talk ADDRESS PORT SECONDS` sends numbered
lines over one connection, and says how many came back, in order."""

import select
import signal
import socket
import sys
import threading
import time

PAUSE = 0.02  # seconds between lines
AFTER = 30  # seconds, after which an answer will not come


def echo(address, port):
    with socket.create_server((address, port)) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    with connection:
        while heard := connection.recv(65536):
            connection.sendall(heard)


def talk(address, port, seconds):
    sent = heard = 0
    rest = b""
    end = [time.monotonic() + seconds]
    signal.signal(signal.SIGINT, lambda *_: end.append(time.monotonic()))
    with socket.create_connection((address, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (more := time.monotonic() < min(end)) or heard < sent and time.monotonic() < min(end) + AFTER:
            if more:
                connection.sendall(b"%d\n" % sent)
                sent += 1
            if not select.select([connection], [], [], PAUSE)[0]:
                continue
            piece = connection.recv(65536)
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if int(line) != heard:
                    sys.exit(f"line {heard} came back as {line!r}")
                heard += 1
            time.sleep(PAUSE)
    print(f"sent {sent} heard {heard}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2], int(sys.argv[3]))
    else:
        talk(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
