#!/usr/bin/env python3
"""WireGuard fed by `skex peer feed` at both ends: wireguard-go twice, each in a network namespace of its own."""

import os
import shutil
import subprocess
import time

from harness import World, check, eventually, main, no_secrets_in_sight, rotate_under_traffic, settle, words

# configuration: wireguard
TUNNEL = """
[Interface]
PrivateKey = PRIVATE-KEY
ListenPort = 51820

[Peer]
PublicKey = PUBLIC-KEY
Endpoint = PEER:51820
AllowedIPs = INSIDE/32
"""
# end of configuration
# configuration: wireguard-feed
FEED = """
skex peer --dir DIR feed ... wireguard \\
    --interface INTERFACE --public-key PUBLIC-KEY
"""
# end of configuration


class Tunnel:
    """wireguard-go on one host. It can die, and come back as it was configured."""

    def __init__(self, world, side):
        self.world, self.side, self.interface = world, side, f"skexwg{world.tag[:4]}{side}"
        self.key, self.psk = world.path(f"{side}.wg"), ""
        self.inside = {"a": "10.91.0.1", "b": "10.91.0.2"}
        with open(self.key, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            subprocess.run(["wg", "genkey"], stdout=file, check=True)
        with open(self.key) as file:
            self.public = subprocess.run(["wg", "pubkey"], stdin=file, capture_output=True, text=True, check=True).stdout.strip()

    def up(self, other):
        self.other = other
        self.process = self.world.start(self.side, "wireguard-go", "-f", self.interface, log=f"wireguard-{self.side}.log")
        socket = f"/var/run/wireguard/{self.interface}.sock"
        eventually(f"{self.side}: wireguard-go is up", lambda: os.path.exists(socket) and not self.wg("show", check=False).returncode)
        peer = "b" if self.side == "a" else "a"
        with open(self.key) as key:
            text = TUNNEL.replace("PRIVATE-KEY", key.read().strip()).replace("PUBLIC-KEY", other.public)
        text = text.replace("PEER", self.world.address[peer]).replace("INSIDE", self.inside[peer])
        self.wg("setconf", self.interface, "/dev/stdin", input=text)
        self.world.run(self.side, "ip", "addr", "add", self.inside[self.side] + "/24", "dev", self.interface)
        self.world.run(self.side, "ip", "link", "set", self.interface, "up")

    def wg(self, *arguments, **options):
        options.setdefault("check", True)
        return self.world.run(self.side, "timeout", "5", "wg", *arguments, capture_output=True, text=True, **options)

    def die(self):
        self.process.kill()
        self.process.wait()
        socket = f"/var/run/wireguard/{self.interface}.sock"
        if os.path.exists(socket):
            os.unlink(socket)

    def preshared(self):
        return self.wg("show", self.interface, "preshared-keys").stdout.split("\t")[1].strip()

    def set(self, psk):
        """By hand, past skex."""
        self.wg("set", self.interface, "peer", self.other.public, "preshared-key", "/dev/stdin", input=psk)

    def handshake_anew(self):
        """Forgets the session, and so needs a handshake: the peer is removed and comes again with the key that it has."""
        psk = self.preshared().replace("(none)", "A" * 43 + "=")
        peer = "b" if self.side == "a" else "a"
        self.wg("set", self.interface, "peer", self.other.public, "remove")
        self.wg("set", self.interface, "peer", self.other.public, "preshared-key", "/dev/stdin",
                "endpoint", f"{self.world.address[peer]}:51820", "allowed-ips", f"{self.inside[peer]}/32", input=psk)

    def feed(self, options=()):
        return self.world.feed(self.side, *words(FEED, interface=self.interface, public_key=self.other.public), options=options)


def test(skex):
    with World(skex) as world:
        world.wire()
        world.enrol()
        tunnels = {side: Tunnel(world, side) for side in "ab"}
        for side, other in ("ab", "ba"):
            tunnels[side].up(tunnels[other])
        run(world, tunnels["a"], tunnels["b"])


def run(world, one, other):
    to = one.inside["b"]
    b = other.feed()
    a = one.feed(options=["--every", "3600"])
    for feed in (a, b):
        feed.wait("rotated", 1)
    check("a tunnel comes up under the first key", world.pings("a", to))
    check("both hold one key, and it is not none", one.preshared() == other.preshared() != "(none)")
    a.wait("in use", 1)

    sent, lost = rotate_under_traffic(world, a, b, world.flood("a", to, 60), 5)
    check(f"WireGuard: five rotations: {lost} of {sent} packets lost", lost == 0 and sent > 100)
    check("after each handshake the tunnel goes on", (one.handshake_anew(), world.pings("a", to))[1])
    a.wait("in use", a.generation())

    print("  -- a wrong key, and a missing one")
    good = one.preshared()
    for what, wrong in (("wrong", subprocess.run(["wg", "genpsk"], capture_output=True, text=True, check=True).stdout), ("missing", "A" * 43 + "=")):
        # Faster than skex, which puts it right: its processes are stopped meanwhile.
        a.process.send_signal(19)
        one.set(wrong)
        one.handshake_anew()
        flood = world.flood("a", to, 1, 10)
        sent, lost = flood.count()
        check(f"with a {what} key nothing comes through", lost == sent, f"{lost} of {sent}")
        a.process.send_signal(18)
        eventually(f"skex sees the {what} key and sets the right one", lambda: one.preshared() == good)
        one.handshake_anew()
        eventually("the tunnel is back", lambda: world.pings("a", to, 1))

    settle(a, b)
    print("  -- a consumer that dies in the middle of a rotation, and comes back")
    mark = b.mark()
    other.die()
    generation = a.generation() + 1
    a.rotate()
    b.wait("away", after=mark)
    b.wait("key", generation)
    check("no end transmits with what the other lacks", not a.seen("switched", generation) and not b.seen("switched", generation))
    other.up(one)
    b.wait("back", after=mark)
    settle(a, b, generation)
    eventually("the tunnel is back under the new key", lambda: world.pings("a", to, 1))
    check("both hold it", one.preshared() == other.preshared())

    print("  -- a consumer that refuses")
    b.kill()
    stub = world.path("refusing-wg")
    with open(stub, "w") as file:
        file.write('#!/bin/sh\n[ "$1" != set ] || [ -e "$0.willing" ] || { cat; cat >&2; exit 1; }\nexec wg "$@"\n')
    os.chmod(stub, 0o700)
    b = world.feed("b", "wireguard", "--interface", other.interface, "--public-key", one.public, "--wg", stub)
    generation = a.generation() + 1
    a.rotate()
    b.wait("refused", generation)
    flood = world.flood("a", to, 1)
    check("the link goes on meanwhile", flood.lost() == 0)
    with open(stub + ".willing", "w"):
        pass
    for feed in (a, b):
        feed.wait("rotated", generation)
    check("both hold it in the end", one.preshared() == other.preshared())

    print("  -- a consumer that answers garbage")
    b.kill()
    with open(stub, "w") as file:
        file.write('#!/bin/sh\n[ -e "$0.sane" ] || { head -c 300000 /dev/urandom; exit 0; }\nexec wg "$@"\n')
    b = world.feed("b", "wireguard", "--interface", other.interface, "--public-key", one.public, "--wg", stub)
    b.wait("away")
    generation = a.generation() + 1
    a.rotate()
    b.wait("key", generation)
    check("nobody switches on its word", not a.seen("switched", generation))
    with open(stub + ".sane", "w"):
        pass
    for feed in (a, b):
        feed.wait("rotated", generation)

    print("  -- skex is killed in the middle of a rotation, at either end, again and again")
    flood = world.flood("a", to, 60)
    for round in range(4):
        generation = max(a.generation(), b.generation()) + 1
        a.rotate()
        victim = a if round % 2 else b
        time.sleep(0.03 * (round + 1))
        victim.kill()
        if victim is a:
            a = one.feed()
        else:
            b = other.feed()
        mark = a.mark()
        time.sleep(0.3)
        a.rotate()
        eventually(f"round {round}: both come to one key", lambda: a.generation() == b.generation() >= generation and one.preshared() == other.preshared(), 60)
    flood.stop()
    sent, lost = flood.count()
    check(f"WireGuard: skex killed four times: {lost} of {sent} packets lost", lost == 0)

    print("  -- one end loses its keys in the middle of a rotation")
    b.kill()
    with open(stub, "w") as file:
        file.write('#!/bin/sh\n[ "$1" != set ] || exit 1\nexec wg "$@"\n')
    b = world.feed("b", "wireguard", "--interface", other.interface, "--public-key", one.public, "--wg", stub)
    generation = max(a.generation(), b.generation()) + 1
    a.rotate()
    a.wait("switched", generation)
    b.kill()
    lost_keys = 0
    for name in os.listdir(world.path("b/link")):
        if name.endswith(".key"):
            os.unlink(world.path("b/link/" + name))
            lost_keys += 1
    check("b has lost keys that it used", lost_keys > 0)
    b = other.feed()
    b.wait("given up", generation)
    eventually("another key is made, and both transmit with it", lambda: a.generation() == b.generation() > generation and one.preshared() == other.preshared(), 60)
    one.handshake_anew()
    eventually("the tunnel runs under it", lambda: world.pings("a", to, 1))

    print("  -- one end loses all that it knew of the link: it says so, and both begin anew")
    settle(a, b)
    flood = world.flood("a", to, 60)
    b.kill()
    shutil.rmtree(world.path("b/link"))
    b = other.feed()
    a.rotate()
    b.wait("rolled back")
    for feed in (a, b):
        feed.kill()
    for side in "ab":
        shutil.rmtree(world.path(side + "/link"), ignore_errors=True)
    b = other.feed()
    a = one.feed(options=["--every", "3600"])
    settle(a, b)
    check("both hold one key, generation 1", one.preshared() == other.preshared() and a.generation() == 1)
    flood.stop()
    sent, lost = flood.count()
    check(f"WireGuard: begun anew: {lost} of {sent} packets lost", lost == 0)

    print("  -- two processes on one directory")
    second = world.run("a", world.skex, "peer", "--dir", world.path("a"), "feed", "--bind", "127.0.0.1:0", "--link-bind", "127.0.0.1:0",
                       "wireguard", "--interface", one.interface, "--public-key", other.public, capture_output=True, text=True, check=False)
    check("the second is refused", second.returncode == 1 and "another skex process is running" in second.stderr)

    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "wg", "wireguard-go", "ip", "ping", tun=True)
