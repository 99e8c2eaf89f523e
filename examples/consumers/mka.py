#!/usr/bin/env python3
"""MACsec with MKA, fed by `skex peer feed` at both ends: wpa_supplicant twice. A change of the CAK takes the link down for a while."""

import os
import re
import time

from harness import Missing, World, check, eventually, main, no_secrets_in_sight, words

# configuration: mka
CONFIGURATION = """
ctrl_interface=CONTROL
eapol_version=3
ap_scan=0
network={
    key_mgmt=NONE
    eapol_flags=0
    macsec_policy=1
    mka_priority=PRIORITY
    disabled=1
}
"""
# end of configuration
# configuration: mka-feed
FEED = """
skex peer --dir DIR feed ... mka \\
    --control CONTROL/ETHERNET --address ADDRESS
"""
# end of configuration


class Supplicant:
    """A wpa_supplicant."""

    def __init__(self, world, side):
        self.world, self.side = world, side
        self.control = world.path(f"{side}-control")
        self.inside = {"a": "10.93.0.1", "b": "10.93.0.2"}

    def up(self):
        path = self.world.path(f"{self.side}.conf")
        with open(path, "w") as file:
            file.write(CONFIGURATION.replace("CONTROL", self.control).replace("PRIORITY", "16" if self.side == "a" else "32"))
        self.process = self.world.start(self.side, "wpa_supplicant", "-Dmacsec_linux", "-iwire", "-c" + path, "-t", log=f"wpa-{self.side}.log")
        eventually(f"{self.side}: wpa_supplicant is up", lambda: os.path.exists(self.control + "/wire"))

    def feed(self, options=()):
        return self.world.feed(self.side, *words(FEED, control=self.control, ethernet="wire", address=self.inside[self.side] + "/24"), options=["--grace", "1", *options])

    def cli(self, *command):
        return self.world.run(self.side, "wpa_cli", "-p" + self.control, "-iwire", *command, capture_output=True, text=True, check=False).stdout

    def ckn(self):
        """Under which name it is secured; None where it is not."""
        status = self.cli("status")
        found = re.search(r"^ckn=(\w+)$", status, re.M)
        return found[1] if found and "Secured=Yes" in status else None

    def log(self):
        with open(self.world.path(f"wpa-{self.side}.log"), errors="replace") as file:
            return file.read()


def test(skex):
    with World(skex) as world:
        world.wire()
        made = world.run("a", "ip", "link", "add", "link", "wire", "macsec0", "type", "macsec", check=False, capture_output=True)
        if made.returncode:
            raise Missing("this kernel has no MACsec")
        world.run("a", "ip", "link", "del", "macsec0")
        world.enrol()
        one, other = Supplicant(world, "a"), Supplicant(world, "b")
        one.up()
        other.up()
        run(world, one, other)


def secured(one, other):
    return one.ckn() is not None and one.ckn() == other.ckn()


def run(world, one, other):
    to = one.inside["b"]
    check("without a key nothing is secured", not one.ckn() and not other.ckn())
    b = other.feed()
    a = one.feed(options=["--every", "3600"])
    for feed in (a, b):
        feed.wait("rotated", 1)
    eventually("MKA is secured under the first key", lambda: secured(one, other))
    for feed in (a, b):
        feed.wait("in use", 1)
    eventually("and traffic passes", lambda: world.pings("a", to, 1))

    names, began = {one.ckn()}, time.monotonic()
    flood = world.flood("a", to, 240, 20)
    for _ in range(5):
        generation = a.generation() + 1
        a.rotate()
        for feed in (a, b):
            feed.wait("rotated", generation)
        for feed in (a, b):
            feed.wait("in use", generation)
        names.add(one.ckn())
        time.sleep(2)
    flood.stop()
    took = time.monotonic() - began
    sent, lost = flood.count()
    check(f"MKA, wpa_supplicant: five rotations: {lost} of {sent} packets lost, {took * lost / sent / 5:.1f} s for each change of the CAK", sent > lost)
    check("each under a CKN of its own", len(names) == 6 and secured(one, other))

    print("  -- a wrong key, and a missing one")
    b.process.send_signal(19)
    other.cli("set_network", "0", "mka_cak", "00" * 32)
    other.cli("reassociate")
    eventually("with a wrong CAK nothing is secured", lambda: not one.ckn() and not other.ckn())
    check("and no packet passes", world.run("a", "ping", "-q", "-c", "3", "-W", "1", to, check=False, capture_output=True).returncode != 0)
    b.process.send_signal(18)
    # The CKN is that of the right one, and wpa_supplicant shows no CAK: the next key mends it.
    generation = a.generation() + 1
    a.rotate()
    for feed in (a, b):
        feed.wait("rotated", generation)
    eventually("the next key secures it again", lambda: secured(one, other))
    mark = b.mark()
    other.process.kill()
    other.process.wait()
    b.wait("away", after=mark)
    eventually("without its key, after a restart, nothing is secured", lambda: not one.ckn())
    other.up()
    b.wait("back", after=mark)
    eventually("it gets its key again, and is secured", lambda: secured(one, other), 60)
    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "ip", "ping", "wpa_supplicant", "wpa_cli")
