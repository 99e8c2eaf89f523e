"""The reference is killed at every point between storing something and sending, or erasing, what follows from it; each next start goes on
from what the one before left. No element of a table is in two messages, both ends have the same keys, and nothing is left of what was used."""

from __future__ import annotations

import re
import shutil
import socket
import time

from skex_reference.dske import provision

from .network import Network
from .process import PATIENCE, SECONDS, Process
from .tap import Tap

HEADER = 64


class Crashes(Network):
    def killed_client(self, name: str, *action: str) -> Process:
        how = ("--linger", "0.3", "--out-dir", name, "--timeout", str(SECONDS))
        return self.killed("client", "--dir", f"net/{name}", *self.reach(name), *how, *action)

    def nothing_is_left(self, tap: Tap, tables: str) -> None:
        """Of shares, in the tables of one end."""
        self.assertEqual(tap.faults, [])
        for direction, table, place in tap.shares:
            path = self.folder / "net" / f"{tables}.{('uplink', 'downlink')[direction]}.{table}.table"
            with path.open("rb") as file:
                file.seek(HEADER + 16 * place)
                self.assertEqual(file.read(16), bytes(16), f"element {place} of {path.name}")

    def test_the_initiator_is_killed_at_every_point(self) -> None:
        """Between two hubs of the program and one of the reference. Bob may have keys that alice has forgotten."""
        self.provision(3, "128KiB")
        for number in (1, 2, 3):
            self.hub(number, ours=number == 1)
        taps = [self.tap("alice", number) for number in (1, 2, 3)]
        waits = self.client("bob", False, "bob", "wait")
        asks = self.killed_client("alice", "get", "bob", "--threshold", "3")
        self.assertEqual(asks.ended(), 0, asks.output)
        self.assertGreater(self.kills(asks), 20)
        waits.wait_for("fingerprint")
        keys, theirs = self.keys("alice"), self.keys("bob")
        # One that was stored before alice was killed is hers, too.
        self.assertGreater(len(keys), 0)
        self.assertLessEqual(set(keys.values()), set(theirs.values()))
        self.is_nowhere(set(theirs.values()), "net/alice")
        for number, tap in enumerate(taps, 1):
            self.nothing_is_left(tap, f"alice/hub-{number}")

    def test_the_responder_is_killed_at_every_point(self) -> None:
        """Alice, of the program, asks for keys until one comes without a crash: she gets each of them, and so does bob."""
        self.provision(2, "128KiB")
        for number in (1, 2):
            self.hub(number, ours=number == 1)
        taps = [self.tap("bob", number) for number in (1, 2)]
        theirs: set[bytes] = set()
        waits, before = self.killed_client("bob", "wait", "--count", "1000"), -1
        while self.kills(waits) > before:
            before = self.kills(waits)
            out = f"alice-{len(theirs)}"
            got = self.client("alice", False, out, "get", "bob", "--threshold", "2")
            self.assertEqual(got.ended(), 0, got.output + waits.output)
            theirs.add((self.folder / f"{out}.key").read_bytes())
        self.assertGreater(before, 20)
        waits.stop()
        self.assertEqual(set(self.keys("bob").values()), theirs)
        # A start erases what is left of the last session.
        self.does("bob", True, "lookup", "alice")
        self.is_nowhere(theirs, "net/bob")
        for number, tap in enumerate(taps, 1):
            self.nothing_is_left(tap, f"bob/hub-{number}")

    def test_tables_come_over_the_network_to_who_is_killed_at_every_point(self) -> None:
        """Each start begins with the table that had not come whole. Then a key that needs all of them."""
        self.provision(2, "4KiB")
        for number in (1, 2):
            self.hub(number, ours=False)
            self.more_tables(number, "bob", "--out", f"net/bob/hub-{number}.1.provision")
        for _ in range(2):
            for number in (1, 2):
                self.more_tables(number, "alice", "--over-network")
            over = time.monotonic() + PATIENCE
            while list((self.folder / "net").glob("hub-*/alice.*.provision")) and time.monotonic() < over:
                time.sleep(0.02)
        comes = self.killed_client("alice", "tables", "--count", "8")
        self.assertEqual(comes.ended(), 0, comes.output)
        self.assertGreater(self.kills(comes), 6)
        for path in (self.folder / "net" / "alice").glob("hub-*.*.[12].table"):
            hub, rest = path.name.split(".", 1)
            other = self.folder / "net" / hub / f"alice.{rest}"
            self.assertTrue(path.read_bytes()[HEADER:] == other.read_bytes()[HEADER:], path.name)
        self.make_key(True, False, "--threshold", "2", "--key-len", "6000")

    def killed_hub(self, number: int) -> Process:
        port = self.addresses.setdefault(number, self.free_port())
        return self.killed("hub", "--dir", f"net/hub-{number}", "--listen", f"127.0.0.1:{port}")

    def test_a_hub_is_killed_at_every_point(self) -> None:
        """Its share is needed for every key. Bob starts anew after each crash: who only waits would learn of it by its next question."""
        self.provision(2, "128KiB")
        self.hub(2, ours=False)
        hub = self.killed_hub(1)
        taps = {client: self.tap(client, 1) for client in ("alice", "bob")}
        before, run = -1, 0
        while self.kills(hub) > before:
            before = self.kills(hub)
            gets = self.client("alice", False, f"alice-{run}", "get", "bob", "--threshold", "2")
            seen = -1
            waits: list[Process] = []
            while gets.running():
                if self.kills(hub) != seen:
                    seen = self.kills(hub)
                    self.stop(waits[-1:])
                    waits.append(self.client("bob", False, f"bob-{run}-{len(waits)}", "wait"))
                time.sleep(0.02)
            self.assertEqual(gets.ended(), 0, gets.output + hub.output)
            key, over = (self.folder / f"alice-{run}.key").read_bytes(), time.monotonic() + PATIENCE
            # He who wrote it down may have been stopped meanwhile.
            while not any(key in self.keys(f"bob-{run}-{number}").values() for number in range(len(waits))):
                self.assertLess(time.monotonic(), over, hub.output)
                time.sleep(0.02)
            for process in (gets, *waits):
                self.assertNotIn("lying", process.output)
            self.stop(waits)
            run += 1
        self.assertGreater(before, 20)
        hub.stop()
        # A start, and a session of each client, erase what is left of the last ones.
        self.hub(1, ours=True)
        for client, tap in taps.items():
            self.does(client, False, "publish")
            self.nothing_is_left(tap, f"hub-1/{client}")

    def carried_out(self, end: str, *order: str, enough: int) -> None:
        """An order that waits for a hub or client, which is killed at each point while it carries it out, and goes on after a start. Whatever the
        point, all is then as without a crash."""
        self.order(end, *order)
        if end.startswith("hub-"):
            hub = self.killed("--orders", f"net/{end}", "hub", "--dir", f"net/{end}", "--listen", "127.0.0.1:0")
        else:
            hub = self.killed("--orders", f"net/{end}", "client", "--dir", f"net/{end}", *self.reach(end), "wait")
        # Some sixty starts.
        self.assertEqual(hub.ended(3 * PATIENCE), 0, hub.output)
        left = re.findall(r"point [0-9]+ leaves (.*)", hub.output)
        self.assertGreater(len(left), enough, hub.output)
        for number, state in enumerate(left, 1):
            self.assertEqual(state, left[-1], f"point {number}")

    def test_a_hub_is_killed_at_every_point_of_its_operators_orders(self) -> None:
        """It enrols carol, who is new, takes a table of bob's out of service, and revokes alice; carol and bob get a key then, and alice
        none."""
        self.provision(2)
        self.hub(2, ours=False)
        tag, file = self.stranger("carol"), "net/carol/hub-1.provision"
        self.operate("hub", "--dir", "net/hub-2", "enrol", "carol", "--tag", tag, "--out", "net/carol/hub-2.provision")
        self.carried_out("hub-1", "enrol", "carol", file, "--tag", tag, enough=30)
        made = provision.decode((self.folder / file).read_bytes())
        linked = provision.decode((self.folder / "net" / "hub-1" / "carol.link").read_bytes())
        self.assertEqual((made.link, made.k0), (linked.link, linked.k0))
        self.more_tables(1, "bob", "--out", "net/bob/hub-1.1.provision")
        pads = self.pads("hub-1", "bob.downlink.0") | self.pads("hub-1", "alice.downlink.0") | self.pads("hub-1", "alice.uplink.0")
        self.carried_out("hub-1", "retire", "bob", "downlink", "0", enough=10)
        self.carried_out("hub-1", "revoke", "alice", enough=20)
        for path in (self.folder / "net").glob("*-saved"):
            shutil.rmtree(path)
        hub = self.hub(1, ours=True)
        for client in ("bob", "carol"):
            self.does(client, False, "lookup", {"bob": "carol", "carol": "bob"}[client], "--remember")
        self.does("bob", False, "authorise", "carol")
        self.make_key(False, False, "--threshold", "2", between=("carol", "bob"))
        silent = self.client("alice", False, "none", "get", "bob", "--threshold", "2", seconds=2)
        self.assertNotEqual(silent.ended(), 0, silent.output)
        hub.stop()
        left = [path.name for path in (self.folder / "net" / "hub-1").iterdir()]
        self.assertFalse([name for name in left if name.startswith("alice") or name.endswith((".enrolling", ".erasing", ".new"))], left)
        self.is_nowhere(pads, "net/hub-1")

    def test_a_client_is_killed_at_every_point_of_its_operators_orders(self) -> None:
        """Another initial key, given at both ends; and a table that is taken out of service at both. A key follows. While alice is
        killed, no hub is there: what they prove is not what is looked at."""
        self.provision(2)
        for number in (1, 2):
            self.more_tables(number, "alice", "--out", f"net/alice/hub-{number}.1.provision")
        hubs = [self.hub(number, ours=False) for number in (1, 2)]
        self.does("alice", True, "lookup", "bob")
        self.stop(hubs)
        self.operate("provision", "key", "--dir", "net/hub-1", "--link", "alice", "--out", "next-key")
        key = (self.folder / "next-key").read_bytes()
        self.order("alice", "key", "hub-1", "next-key")
        self.carried_out("alice", "retire", "hub-1", "uplink", "0", enough=10)
        self.assertTrue(self.erased("alice/hub-1.uplink.0.table"))
        for number in (1, 2):
            self.hub(number, ours=False)
        self.operate("hub", "--dir", "net/hub-1", "retire", "alice", "--uplink", "0")
        shutil.rmtree(self.folder / "net" / "alice-saved")
        self.make_key(True, False, "--threshold", "2")
        self.assertIn(key.hex(), (self.folder / "net" / "alice" / "reference.json").read_text())

    def pads(self, end: str, table: str) -> set[bytes]:
        """Some elements of it."""
        octets = (self.folder / "net" / end / f"{table}.table").read_bytes()
        return {octets[at : at + 16] for at in range(HEADER, len(octets), 16 * 256)}
