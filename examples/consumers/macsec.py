#!/usr/bin/env python3
"""MACsec without MKA, fed by `skex peer feed` at both ends: secure associations of the kernel, moved from one association number to the
next under traffic."""

import json

from harness import Missing, World, check, eventually, main, no_secrets_in_sight, rotate_under_traffic, settle, words

# configuration: macsec
LINK = """
ip link add link ETHERNET macsec0 type macsec port 1 \\
    cipher gcm-aes-256 encrypt on
"""
# end of configuration
# configuration: macsec-feed
FEED = """
skex peer --dir DIR feed ... macsec \\
    --interface macsec0 --peer-sci PEER-SCI
"""
# end of configuration


class Interface:
    """The MACsec interface of one host."""

    def __init__(self, world, side):
        self.world, self.side = world, side
        self.inside = {"a": "10.92.0.1", "b": "10.92.0.2"}
        link = json.loads(world.run(side, "ip", "-json", "link", "show", "wire", capture_output=True, text=True).stdout)[0]
        self.sci = link["address"].replace(":", "") + "0001"

    def up(self):
        made = self.world.run(self.side, *words(LINK, ethernet="wire"), check=False, capture_output=True, text=True)
        if made.returncode:
            raise Missing("this kernel has no MACsec")
        self.world.run(self.side, "ip", "address", "add", self.inside[self.side] + "/24", "dev", "macsec0")
        self.world.run(self.side, "ip", "link", "set", "macsec0", "up")

    def feed(self, other, options=()):
        return self.world.feed(self.side, *words(FEED, peer_sci=other.sci), options=["--grace", "1", *options])

    def shown(self):
        return json.loads(self.world.run(self.side, "ip", "-json", "-statistics", "macsec", "show", "macsec0", capture_output=True, text=True).stdout)[0]

    def transmitting(self):
        return self.shown()["encoding_sa"]

    def associations(self):
        """Key identifiers, by association number, of what receives."""
        return {sa["an"]: sa["key"] for channel in self.shown().get("rx_sc", []) for sa in channel["sa_list"]}

    def ip(self, *arguments):
        self.world.run(self.side, "ip", *arguments)

    def take_away(self, sci, an):
        """By hand, past skex."""
        self.ip("macsec", "set", "macsec0", "rx", "sci", sci, "sa", str(an), "off")
        self.ip("macsec", "del", "macsec0", "rx", "sci", sci, "sa", str(an))


def test(skex):
    with World(skex) as world:
        world.wire()
        world.enrol()
        one, other = Interface(world, "a"), Interface(world, "b")
        one.up()
        other.up()
        run(world, one, other)


def run(world, one, other):
    to = one.inside["b"]
    check("without a key nothing comes through", world.flood("a", to, 1, 5).lost() > 0)
    b = other.feed(one)
    a = one.feed(other, options=["--every", "3600"])
    for feed in (a, b):
        feed.wait("rotated", 1)
    eventually("a link comes up under the first key", lambda: world.pings("a", to))
    for feed in (a, b):
        feed.wait("in use", 1)
    check("each direction has a key of its own", set(one.associations().values()).isdisjoint(other.associations().values()))

    ever = set()
    before = one.transmitting()
    sent, lost = rotate_under_traffic(world, a, b, world.flood("a", to, 120), 5, pause=1.5)
    check(f"MACsec without MKA: five rotations: {lost} of {sent} packets lost", lost == 0 and sent > 100)
    ahead = (one.transmitting() - before) % 4
    check("both ends moved five association numbers on", ahead == 5 % 4 and one.transmitting() == other.transmitting())
    eventually("the old keys are gone", lambda: len(one.associations()) == len(other.associations()) == 1)

    print("  -- a wrong key, and a missing one")
    for what in ("wrong", "missing"):
        an, generation = one.transmitting(), a.generation()
        key = other.associations()[an]
        ever.add(key)
        b.process.send_signal(19)
        other.take_away(one.sci, an)
        if what == "wrong":
            other.ip("macsec", "add", "macsec0", "rx", "sci", one.sci, "sa", str(an), "pn", "1", "on", "key", key, "00" * 32)
        sent, lost = world.flood("a", to, 1, 10).count()
        check(f"with a {what} key nothing comes through", lost == sent, f"{lost} of {sent}")
        if what == "wrong":
            # It bears the name of the right one, so only its octets tell, and the kernel shows none: the next key mends it.
            other.take_away(one.sci, an)
        b.process.send_signal(18)
        b.wait("lost", generation)
        settle(a, b, generation + 1)
        eventually("the link is back under another key", lambda: world.pings("a", to))
        check("no key came a second time", ever.isdisjoint(other.associations().values()))

    print("  -- an interface that is made anew, with all keys lost")
    generation, mark = b.generation(), b.mark()
    ever |= set(other.associations().values())
    other.ip("link", "del", "macsec0")
    b.wait("away", after=mark)
    other.up()
    b.wait("back", after=mark)
    b.wait("lost", generation)
    settle(a, b, generation + 1)
    eventually("the link is back under another key", lambda: world.pings("a", to))
    check("no key came a second time", ever.isdisjoint(other.associations().values()))

    print("  -- skex that dies, and comes back")
    settle(a, b, 1)
    a.kill()
    check("the link stays up without it", world.pings("a", to))
    a = one.feed(other, options=["--every", "3600"])
    a.wait("seen", text="holds")
    generation = b.generation() + 1
    a.rotate()
    for feed in (a, b):
        feed.wait("rotated", generation)
    check("the link goes on", world.pings("a", to))
    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "ip", "ping")
