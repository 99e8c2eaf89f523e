#!/usr/bin/env python3
"""TCP-AO of the kernel, fed by `skex peer feed` at both ends: a relay carries a service's connection, which stays up while keys change."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys

from harness import Missing, World, check, main, no_secrets_in_sight, rotate_under_traffic, words

TALK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "talk.py")

# configuration: tcp-ao
CONNECTING = """
skex peer --dir DIR feed ... tcp-ao --peer-address 10.90.0.2 \\
    --listen 127.0.0.1:7001 --carry 10.90.0.2:7100
"""
ACCEPTING = """
skex peer --dir DIR feed ... tcp-ao --peer-address 10.90.0.1 \\
    --accept 10.90.0.2:7100 --deliver 127.0.0.1:7002
"""
# end of configuration

# linux/tcp.h
TCP_AO_ADD_KEY = 38
ALGORITHMS = {"hmac-sha1": b"hmac(sha1)", "aes-128-cmac": b"cmac(aes128)"}


def add_key(connection, peer, algorithm, send_id, recv_id, key):
    """What skex does too, without skex."""
    address = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(peer))
    add = struct.pack("=128s64siIHBBBBBB80s", address, algorithm, 0, 0, 0, 32, send_id, recv_id, 12, 0, len(key), key)
    connection.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, add)


def attempt(peer, port, algorithm, send_id, recv_id, key):
    """Connects with a key of its own choice, or without one."""
    with socket.socket() as connection:
        connection.settimeout(3)
        if key:
            add_key(connection, peer, algorithm.encode(), send_id, recv_id, bytes.fromhex(key))
        try:
            connection.connect((peer, port))
        except (TimeoutError, ConnectionRefusedError):
            print("refused")
            return
        print("connected")


class Talk:
    """Numbered lines over one connection through the relay, counted."""

    def __init__(self, world, seconds):
        self.process = world.start("a", sys.executable, TALK, "talk", "127.0.0.1", "7001", str(seconds), stdout=subprocess.PIPE, text=True)

    def stop(self):
        os.kill(self.process.pid, signal.SIGINT)

    def count(self):
        """Sent, lost."""
        said = self.process.communicate(timeout=180)[0]
        found = re.fullmatch(r"sent (\d+) heard (\d+)\n", said)
        if not found:
            raise AssertionError("the talk ended: " + said)
        sent, heard = map(int, found.groups())
        return sent, sent - heard


def counters(world, side):
    """What the kernel counted of segments with the option, on one host."""
    shown = world.run(side, "cat", "/proc/net/netstat", capture_output=True, text=True).stdout.splitlines()
    names, values = (line.split() for line in shown if line.startswith("TcpExt:"))
    return {name: int(value) for name, value in zip(names[1:], values[1:]) if name.startswith("TCPAO")}


def test(skex):
    with socket.socket() as probe:
        try:
            add_key(probe, "127.0.0.1", ALGORITHMS["hmac-sha1"], 2, 3, bytes(32))
        except OSError as error:
            raise Missing(f"this kernel has no TCP-AO ({error.strerror})") from error
    for algorithm in ALGORITHMS:
        with World(skex) as world:
            world.wire()
            world.enrol()
            run(world, algorithm)


def run(world, algorithm):
    world.start("b", sys.executable, TALK, "echo", "127.0.0.1", "7002", log="echo.log")
    b = world.feed("b", *words(ACCEPTING), "--algorithm", algorithm, options=["--grace", "1"])
    a = world.feed("a", *words(CONNECTING), "--algorithm", algorithm, options=["--grace", "1", "--every", "3600"])
    for feed in (a, b):
        feed.wait("rotated", 1)
    talk = Talk(world, 300)
    sent, lost = rotate_under_traffic(world, a, b, talk, 5, pause=1.5)
    check(f"TCP-AO, {algorithm}: five rotations: {lost} of {sent} lines lost, over one connection that stayed up", lost == 0 and sent > 100)
    for feed in (a, b):
        feed.wait("in use", feed.generation())
    seen = counters(world, "b")
    check("the kernel saw good segments, and no bad ones", seen["TCPAOGood"] > 100 and seen["TCPAOBad"] == 0, str(seen))

    print("  -- a wrong key, a missing one, none at all")
    generation = a.generation()
    send_id, recv_id = 2 * (generation % 128), 2 * (generation % 128) + 1
    for what, ids, key, counter in (
            ("a wrong", (send_id, recv_id), "00" * 32, "TCPAOBad"),
            ("a retired", (send_id - 4, recv_id - 4), "00" * 32, "TCPAOKeyNotFound"),
            ("no", (0, 0), "", "TCPAORequired")):
        before = counters(world, "b")[counter]
        said = world.run("a", sys.executable, os.path.abspath(__file__), "attempt", "10.90.0.2", "7100",
                         ALGORITHMS[algorithm].decode(), *map(str, ids), key, capture_output=True, text=True).stdout.strip()
        check(f"with {what} key nobody comes in", said == "refused", said)
        check(f"and the kernel counts it as {counter}", counters(world, "b")[counter] > before)
    no_secrets_in_sight(world)


if __name__ == "__main__":
    if sys.argv[1:2] == ["attempt"]:
        peer, port, algorithm, send_id, recv_id, key = sys.argv[2:]
        attempt(peer, int(port), algorithm, int(send_id), int(recv_id), key)
    else:
        main(test, "ip", "ping")
