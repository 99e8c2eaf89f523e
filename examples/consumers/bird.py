#!/usr/bin/env python3
"""BGP of BIRD 3 under TCP-AO, fed by `skex peer feed` at both ends: the session stays up while keys change."""

import os
import re
import time

from harness import World, check, eventually, main, no_secrets_in_sight, words

# configuration: bird
BGP = """
protocol bgp skex {
    local ADDRESS as NUMBER;
    neighbor PEER-ADDRESS as PEER-NUMBER;
    ipv4 { import all; export all; };
    include "KEYS";
}
"""
# end of configuration
# configuration: bird-feed
FEED = """
skex peer --dir DIR feed ... bird --protocol skex \\
    --keys KEYS --control CONTROL
"""
# end of configuration
# What the test has beside: routes to announce, and less patience.
BESIDE = """
log "{log}" all;
router id {address};
protocol device {{}}
protocol static announced {{
    ipv4;
    include "{routes}";
}}
"""
IMPATIENT = "    keepalive time 1; connect delay time 1; connect retry time 1; error wait time 1, 2;\n    ipv4 {"


class Speaker:
    """A BIRD."""

    def __init__(self, world, side):
        self.world, self.side = world, side
        self.keys, self.control = world.path(f"{side}.keys"), world.path(f"{side}.ctl")

    def feed(self, options=()):
        return self.world.feed(self.side, *words(FEED, keys=self.keys, control=self.control), options=["--grace", "1", *options])

    def up(self):
        other = "b" if self.side == "a" else "a"
        numbers = {"a": 65001, "b": 65002}
        self.announce(1)
        with open(self.world.path(f"{self.side}.conf"), "w") as file:
            file.write(BESIDE.format(log=self.world.path(f"bird-{self.side}.log"), address=self.world.address[self.side], routes=self.world.path(f"{self.side}.routes")))
            text = BGP.replace("    ipv4 {", IMPATIENT)
            for name, value in (
                    ("PEER-ADDRESS", self.world.address[other]), ("PEER-NUMBER", str(numbers[other])), ("ADDRESS", self.world.address[self.side]),
                    ("NUMBER", str(numbers[self.side])), ("KEYS", self.keys)):
                text = text.replace(name, value)
            file.write(text)
        self.process = self.world.start(self.side, "bird", "-f", "-c", self.world.path(f"{self.side}.conf"), "-s", self.control, log=f"bird-{self.side}-out.log")

    def announce(self, count):
        """So many routes. They are not read before the next order to."""
        with open(self.world.path(f"{self.side}.routes"), "w") as file:
            file.writelines(f"route 192.0.2.{number}/32 blackhole;\n" for number in range(count))

    def birdc(self, *command):
        return self.world.run(self.side, "birdc", "-s", self.control, *command, capture_output=True, text=True, check=False).stdout

    def shown(self):
        return self.birdc("show", "protocols", "all", "skex")

    def since(self):
        """When the session came up; None while it is not."""
        found = re.search(r"^skex +BGP +\S+ +up +(\S+) +Established", self.shown(), re.M)
        return found and found[1]

    def keys_in_use(self):
        shown = self.shown()
        return tuple(int(re.search(name + r": +(\d+)", shown)[1]) for name in ("Current key", "RNext key"))

    def bad(self):
        found = re.search(r"Bad packets: +(\d+)", self.shown())
        return int(found[1]) if found else 0

    def routes(self):
        """How many routes the other end announces."""
        return int(re.search(r"Routes: +(\d+) imported", self.shown())[1])

    def edit(self, change):
        """The file of keys, by hand, past skex."""
        with open(self.keys) as file:
            text = file.read()
        with open(self.keys, "w") as file:
            file.write(change(text))
        self.birdc("configure")


def test(skex):
    with World(skex) as world:
        world.wire()
        world.enrol()
        run(world, Speaker(world, "a"), Speaker(world, "b"))


def run(world, one, other):
    b = other.feed()
    a = one.feed(options=["--every", "3600"])
    eventually("skex makes the files of keys, which disable the protocol", lambda: os.path.exists(one.keys) and os.path.exists(other.keys))
    one.up()
    other.up()
    for feed in (a, b):
        feed.wait("rotated", 1)
    eventually("the session comes up under the first key", lambda: one.since() and other.since())
    for feed in (a, b):
        feed.wait("in use", 1)

    since, heard = (one.since(), other.since()), 0
    for turn in range(5):
        generation = a.generation() + 1
        one.announce(turn + 2)
        one.birdc("configure")
        a.rotate()
        for feed in (a, b):
            feed.wait("rotated", generation)
        for feed in (a, b):
            feed.wait("in use", generation)
        eventually("the new route is heard", lambda: other.routes() == turn + 2)
        heard += 1
        eventually("the old key is gone", lambda: all(open(speaker.keys).read().count("key {") == 1 for speaker in (one, other)))
    stayed = (one.since(), other.since()) == since
    check(f"BGP under TCP-AO, BIRD: five rotations: {5 - heard} of 5 routes lost, the session of {since[0]} stays up", stayed)
    check("no segment was bad", one.bad() == other.bad() == 0)
    ids = 2 * (a.generation() % 128)
    check("both use the ids of the generation", one.keys_in_use() == (ids, ids + 1) and other.keys_in_use() == (ids + 1, ids))

    print("  -- a wrong key, and a missing one")
    for what in ("wrong", "missing"):
        generation = a.generation()
        b.process.send_signal(19)
        other.edit(lambda text: re.sub(r"secret \w+;", "secret " + "00" * 32 + ";", text) if what == "wrong" else "disabled yes;\n")
        other.birdc("restart", "skex")
        time.sleep(5)
        check(f"with a {what} key no session comes up", not other.since())
        b.process.send_signal(18)
        if what == "wrong":
            # It bears the name of the right one, and skex reads names: the next key mends it.
            a.rotate()
            for feed in (a, b):
                feed.wait("rotated", generation + 1)
        eventually("the session comes up again", lambda: one.since() and other.since(), 60)

    print("  -- a BIRD that dies in the middle of a rotation, and comes back")
    other.process.kill()
    other.process.wait()
    mark, generation = b.mark(), a.generation() + 1
    a.rotate()
    b.wait("away", after=mark)
    other.up()
    b.wait("back", after=mark)
    for feed in (a, b):
        feed.wait("rotated", generation)
    eventually("the session comes up under the new key", lambda: one.since() and other.since(), 60)
    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "ip", "bird", "birdc")
