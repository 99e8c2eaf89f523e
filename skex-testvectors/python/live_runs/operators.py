"""What operators do while hubs and clients run: tables, initial keys, revocation and enrolment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from .network import Network
from .process import SECONDS, Process


class Operators(Network):
    def test_several_tables_are_used_one_after_the_other(self) -> None:
        """The first ones have room for one key; the second key needs those that came in files."""
        for alice in (True, False):
            self.provision(table_size="4KiB")
            for number in (1, 2, 3):
                for client in ("alice", "bob"):
                    self.more_tables(number, client, "--out", f"net/{client}/hub-{number}.1.provision")
            hubs = [self.hub(number, ours=number == 2) for number in (1, 2, 3)]
            for round_number in range(8):
                out = f"-{alice}-{round_number}"
                self.make_key(alice, not alice, "--threshold", "2", "--key-len", "256", out=out)
            self.stop(hubs)

    def refilled(self, alice: bool, hubs_ours: Callable[[int], bool]) -> None:
        """Alice's tables come over the network; then one key too long for her first tables."""
        self.provision(table_size="4KiB")
        for number in (1, 2, 3):
            self.more_tables(number, "alice", "--over-network")
            self.more_tables(number, "bob", "--out", f"net/bob/hub-{number}.1.provision")
        hubs = [self.hub(number, ours=hubs_ours(number)) for number in (1, 2, 3)]
        if alice:
            came = self.command("alice", True, "tables", "--count", "6")
            self.assertEqual(came.ended(), 0, came.output)
        else:
            # The program has no command that only waits: it takes tables while it waits for keys.
            waits = self.client("alice", False, "none", "wait", "--count", "1", seconds=6)
            waits.ended()
        tables = sorted(path.name for path in (self.folder / "net" / "alice").glob("*.1.table"))
        self.assertEqual(len(tables), 6, tables)
        self.make_key(alice, not alice, "--threshold", "2", "--key-len", "6000")
        self.stop(hubs)

    def test_tables_of_the_program_come_to_the_reference_over_the_network(self) -> None:
        self.refilled(True, lambda _: False)

    def test_tables_of_the_reference_come_to_the_program_over_the_network(self) -> None:
        self.refilled(False, lambda _: True)

    def portion(self, client: str, ours: bool, number: int, chunks: int = 1) -> bool:
        """The next portion of each hub's tables, by a distributor of either program. Whether there was one."""
        made = []
        for hub in (1, 2, 3):
            file, out = f"held-for-{client}/hub-{hub}.provision", f"net/{client}/hub-{hub}.{number}.provision"
            if ours:
                made.append(self.reference("portion", file, out, "--chunks", str(chunks)))
            else:
                made.append(self.skex("provision", "portion", "--from", file, "--size", f"{64 * chunks}KiB", "--out", out))
        return [one.ended() for one in made] == [0, 0, 0]

    def in_portions(self, ours: bool) -> None:
        """Alice and bob are of one program, hubs and distributors of the other. Each table comes in two portions, the first
        with room for one key: the second key waits for alice's portion before it is asked for, and then for bob's before it is delivered.
        (What the hub asks of bob's table meanwhile is lost.)"""
        self.provision(3, "256KiB", "--files")
        for client in ("alice", "bob"):
            (self.folder / f"held-for-{client}").mkdir()
            for path in (self.folder / "net" / client).glob("*.provision"):
                path.rename(self.folder / f"held-for-{client}" / path.name)
            self.assertTrue(self.portion(client, not ours, 0))
        for number in (1, 2, 3):
            self.hub(number, not ours)
        get = ("--threshold", "3", "--key-len", "32768")
        self.make_key(ours, ours, *get, out="-1")
        early = self.client("alice", ours, "none", "get", "bob", *get)
        self.assertNotEqual(early.ended(), 0, early.output)
        self.assertRegex(early.output, "too little is left|is used up at so many hubs")
        self.assertTrue(self.portion("alice", not ours, 1, chunks=3))
        waits = self.client("bob", ours, "bob-2", "wait", "--count", "1")
        gets = self.client("alice", ours, "alice-2", "get", "bob", *get)
        time.sleep(2)
        self.assertEqual(self.keys("bob-2"), {}, "of elements that bob does not hold")
        waits.stop()
        self.assertTrue(self.portion("bob", not ours, 1, chunks=3))
        waits = self.client("bob", ours, "bob-2", "wait", "--count", "1")
        self.assertEqual(gets.ended(), 0, gets.output)
        self.assertEqual(waits.ended(), 0, waits.output)
        self.same_fingerprints(gets, waits, 1)
        self.assertFalse(self.portion("alice", not ours, 2), "nothing is handed out twice")
        for file in (self.folder / "held-for-alice").glob("*.provision"):
            # Behind the header with K0 and two parts: chunks of 4096 elements, each with its tag.
            octets = file.read_bytes()
            chunks = [octets[at : at + 65536] for at in range(47 + 32 + 2 + 2 * 16 + 16, len(octets), 65536 + 16)]
            self.assertEqual([any(chunk) for chunk in chunks], [False] * 8)

    def test_tables_come_to_the_reference_in_portions(self) -> None:
        self.in_portions(True)

    def test_tables_come_to_the_program_in_portions(self) -> None:
        self.in_portions(False)

    def next_key(self, hub: Process, client: Process, number: int, ours: dict[str, bool]) -> None:
        """Gives bob's link with a hub another initial key, at the ends in the order of `ours`. Both say that it is proven."""
        key, file = os.urandom(32), self.folder / "next-key"
        for end, link in (("bob", f"hub-{number}"), (f"hub-{number}", "bob"))[:: 1 if list(ours)[0] == "bob" else -1]:
            file.write_bytes(key)
            if ours[end]:
                self.order(end, "key", link, file.name)
            else:
                self.operate("provision", "key", "--dir", f"net/{end}", "--link", link, "--from", file.name)
            self.assertFalse(file.exists())
        for process, other, is_ours in ((hub, "bob", not ours["bob"]), (client, f"hub-{number}", ours["bob"])):
            said = f"initial key of {other} is replaced" if is_ours else f"{other} has proven its other initial key"
            process.wait_for(said)

    def initial_keys(self, ours: bool) -> None:
        """Alice and bob are of one program, the hubs of the other. Bob runs all the time; then all start again, with what is stored."""
        self.provision()
        hubs = {number: self.hub(number, not ours) for number in (1, 2, 3)}
        waits = self.client("bob", ours, "bob", "wait", "--count", "2")
        self.get_key(ours, "alice-1")
        self.next_key(hubs[1], waits, 1, {"hub-1": not ours, "bob": ours})
        self.next_key(hubs[2], waits, 2, {"bob": ours, "hub-2": not ours})
        self.get_key(ours, "alice-2")
        self.assertEqual(waits.ended(), 0, waits.output)
        self.stop(list(hubs.values()))
        for number in (1, 2, 3):
            self.hub(number, not ours)
        self.make_key(ours, ours, "--threshold", "3", out="-3")

    def test_initial_keys_of_the_reference_are_replaced_at_hubs_of_the_program(self) -> None:
        self.initial_keys(True)

    def test_initial_keys_of_the_program_are_replaced_at_hubs_of_the_reference(self) -> None:
        self.initial_keys(False)

    def retired(self, ours: bool) -> None:
        """Bob's downlink from hub 1 is taken out of service while both run, by either end first, and a key is made while only one has done
        it; alice's uplink to hub 1, by one end, while she does not run. Further tables serve, and the old ones are zeros."""
        for hub_first in (True, False):
            self.provision()
            for client in ("alice", "bob"):
                self.more_tables(1, client, "--out", f"net/{client}/hub-1.1.provision")
            hubs = {number: self.hub(number, not ours) for number in (1, 2, 3)}
            waits = self.client("bob", ours, f"bob-{hub_first}", "wait", "--count", "3")
            self.get_key(ours, f"alice-{hub_first}-1")
            for at_hub in (hub_first, not hub_first):
                end, link, process = ("hub-1", "bob", hubs[1]) if at_hub else ("bob", "hub-1", waits)
                self.retire(end, link, "downlink", ours != at_hub)
                if ours != at_hub:
                    process.wait_for(f"table 0 downlink of {link} is retired")
                if at_hub == hub_first:
                    # A client that says nothing does not know yet that the hub has ended the session.
                    self.get_key(ours, f"alice-{hub_first}-2", threshold=2 if at_hub else 3)
            waits.stop()
            self.assertTrue(self.erased("bob/hub-1.downlink.0.table"))
            self.assertTrue(self.erased("hub-1/bob.downlink.0.table"))
            self.assertFalse(self.erased("bob/hub-1.uplink.0.table"))
            self.retire(*(("hub-1", "alice") if hub_first else ("alice", "hub-1")), "uplink", ours != hub_first)
            self.make_key(ours, ours, "--threshold", "3", out=f"-{hub_first}-3")
            self.assertTrue(self.erased("hub-1/alice.uplink.0.table" if hub_first else "alice/hub-1.uplink.0.table"))
            self.stop(list(hubs.values()))

    def retire(self, end: str, link: str, way: str, ours: bool) -> None:
        """Table 0 of this way."""
        kind = "hub" if end.startswith("hub-") else "client"
        if ours:
            self.order(end, "retire", link, way, "0")
        else:
            self.operate(kind, "--dir", f"net/{end}", "retire", link, f"--{way}", "0")

    def test_tables_of_the_reference_are_retired_at_hubs_of_the_program(self) -> None:
        self.retired(True)

    def test_tables_of_the_program_are_retired_at_hubs_of_the_reference(self) -> None:
        self.retired(False)

    def revoked(self, ours: bool) -> None:
        """Hub 1 revokes alice and is silent to her; a key needs the others. Enrolled anew she has all three again, also after a start."""
        self.provision()
        hubs = {number: self.hub(number, not ours) for number in (1, 2, 3)}
        self.make_key(ours, ours, "--threshold", "3", out="-1")
        if ours:
            self.operate("hub", "--dir", "net/hub-1", "revoke", "alice")
        else:
            self.order("hub-1", "revoke", "alice")
            hubs[1].wait_for("alice is revoked")
        for way in ("uplink", "downlink"):
            self.assertTrue(self.erased(f"hub-1/alice.{way}.0.table"))
        self.make_key(ours, ours, "--threshold", "2", out="-2")
        asked = self.command("bob", ours, "lookup", "alice")
        self.assertEqual(asked.ended(), 0, asked.output)
        self.assertRegex(asked.output, r"found [0-9a-f]{32}, no offer, 1 say otherwise" if ours else r"contradict +hub-1")
        silent = self.client("alice", ours, "none", "get", "bob", "--threshold", "3", seconds=3)
        self.assertNotEqual(silent.ended(), 0, silent.output)
        if ours:
            how = ("--table-size", "64KiB", "--out", "net/alice/anew.provision")
            self.operate("hub", "--dir", "net/hub-1", "enrol", "alice", *how)
        else:
            self.order("hub-1", "enrol", "alice", "net/alice/anew.provision")
            hubs[1].wait_for("alice is enrolled under the number 2")
        self.make_key(ours, ours, "--threshold", "3", out="-3")
        hubs[1].stop()
        self.hub(1, not ours)
        self.make_key(ours, ours, "--threshold", "3", out="-4")

    def test_the_reference_is_revoked_by_a_hub_of_the_program_and_enrolled_anew(self) -> None:
        self.revoked(True)

    def test_the_program_is_revoked_by_a_hub_of_the_reference_and_enrolled_anew(self) -> None:
        self.revoked(False)

    def newcomer(self, ours: bool) -> None:
        """Carol is enrolled at hubs that run and never heard of her, while bob waits for keys. She and bob, who is of the hubs'
        program, find each other by name; he has to allow her; then there are keys in both directions, also after a start of the hubs."""
        self.provision()
        hubs = {number: self.hub(number, not ours) for number in (1, 2, 3)}
        waits = self.client("bob", not ours, "bob", "wait", "--count", "2")
        self.get_key(ours, "alice-1")
        tag = self.stranger("carol")
        for number, hub in hubs.items():
            file = f"net/carol/hub-{number}.provision"
            if ours:
                how = ("--tag", tag, "--table-size", "64KiB", "--out", file)
                self.operate("hub", "--dir", f"net/hub-{number}", "enrol", "carol", *how)
            else:
                self.order(f"hub-{number}", "enrol", "carol", file, "--tag", tag)
                hub.wait_for("carol is enrolled under the number 2")
        if not ours:
            self.order("hub-1", "enrol", "carol", "net/again.provision", "--tag", tag)
            hubs[1].wait_for("refused: enrol carol")
        self.get_key(ours, "alice-2")
        self.assertEqual(waits.ended(), 0, waits.output)
        self.assertIn(self.tag_of("bob"), self.does("carol", ours, "lookup", "bob", "--remember").output)
        self.assertIn(tag, self.does("bob", not ours, "lookup", "carol", "--remember").output)
        refused = self.client("carol", ours, "none", "get", "bob", "--threshold", "2", seconds=SECONDS)
        self.assertNotEqual(refused.ended(), 0, refused.output)
        self.assertRegex(refused.output, r"refused \S+ \[2, 2" if ours else r"(?i)not.?authori[sz]ed")
        self.does("bob", not ours, "authorise", "carol")
        self.make_key(ours, not ours, "--threshold", "3", out="-3", between=("carol", "bob"))
        self.make_key(not ours, ours, "--threshold", "3", out="-4", between=("bob", "carol"))
        self.stop(list(hubs.values()))
        for number in hubs:
            self.hub(number, not ours)
        self.make_key(ours, not ours, "--threshold", "3", out="-5", between=("carol", "bob"))

    def test_a_client_of_the_reference_is_new_at_hubs_of_the_program(self) -> None:
        self.newcomer(True)

    def test_a_client_of_the_program_is_new_at_hubs_of_the_reference(self) -> None:
        self.newcomer(False)
