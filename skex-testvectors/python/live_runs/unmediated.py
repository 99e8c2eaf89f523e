"""The unmediated protocol: the reference at one end, the program at the other."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from skex_reference.unmediated import state
from skex_reference.unmediated.schedule import Enrolment

from .process import PATIENCE, Live, Process, first_of_types


class Unmediated(Live):
    """The reference is alice (side a), the program is bob (side b), unless a test says otherwise."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "secret").write_bytes(os.urandom(32))
        self.enrol("b", "bob", "alice")

    def enrol(self, role: str, name: str, peer: str) -> None:
        enrolled = self.skex(
            *("peer", "--dir", "their-end", "enrol", "--role", role, "--id", name),
            *("--peer-id", peer, "--secret-file", "secret"),
        )
        self.assertEqual(enrolled.ended(), 0, enrolled.output)

    def ours(self, *arguments: str, **how: Any) -> Process:
        return self.reference(*self.our_end(*arguments, **how))

    def our_end(self, *arguments: str, role: str = "a", count: int = 1, state: str = "our-end.json") -> tuple[str, ...]:
        names = ("alice", "bob") if role == "a" else ("bob", "alice")
        return (
            *("peer", "--state", state, "--role", role, "--id", names[0], "--peer-id", names[1]),
            *("--secret-file", "secret", "--count", str(count), "--out-dir", "ours", *arguments),
        )

    def their_listener(self, *arguments: str, count: int = 1) -> Process:
        return self.skex(
            *("peer", "--dir", "their-end", "listen", "--bind", "127.0.0.1:0"),
            *("--count", str(count), "--out-dir", "theirs", *arguments),
        )

    def their_connect(self, port: int, *arguments: str, count: int = 1) -> Process:
        return self.skex(
            *("peer", "--dir", "their-end", "connect", f"127.0.0.1:{port}"),
            *("--count", str(count), "--out-dir", "theirs", *arguments),
        )

    def finish(self, ours: Process, theirs: Process) -> None:
        self.assertEqual(ours.ended(), 0, ours.output)
        self.assertEqual(theirs.ended(), 0, theirs.output)

    def we_start(self, *arguments: str, count: int = 1, lose: Callable[[bool, bytes], bool] | None = None) -> None:
        # The program ends with its last key, and would not hear what is repeated: one that waits for another does.
        theirs = self.their_listener(count=count + 1 if lose else count)
        port = theirs.port()
        relay = self.relay(port, lose) if lose else None
        ours = self.ours("--connect", f"127.0.0.1:{relay.port if relay else port}", *arguments, count=count)
        self.assertEqual(ours.ended(), 0, ours.output)
        if relay:
            theirs.stop()
            self.assertEqual(relay.lost, 3)
        else:
            self.assertEqual(theirs.ended(), 0, theirs.output)
        self.same_fingerprints(ours, theirs, count)

    def they_start(self, *arguments: str, count: int = 1, lose: Callable[[bool, bytes], bool] | None = None) -> None:
        ours = self.ours("--linger", "1.5" if lose else "0.1", *arguments, count=count)
        port = ours.port()
        relay = self.relay(port, lose) if lose else None
        theirs = self.their_connect(relay.port if relay else port, count=count)
        self.finish(ours, theirs)
        self.same_fingerprints(ours, theirs, count)
        if relay:
            self.assertEqual(relay.lost, 3)

    def test_the_reference_starts(self) -> None:
        self.we_start(count=3)
        self.same_keys(3)

    def test_the_program_starts(self) -> None:
        self.they_start(count=3)
        self.same_keys(3)

    def test_the_reference_is_side_b(self) -> None:
        shutil.rmtree(self.folder / "their-end")
        self.enrol("a", "alice", "bob")
        theirs = self.their_listener()
        ours = self.ours("--connect", f"127.0.0.1:{theirs.port()}", role="b")
        self.finish(ours, theirs)
        ours = self.ours("--linger", "0.1", role="b")
        theirs = self.their_connect(ours.port())
        self.finish(ours, theirs)
        self.same_keys(2)

    def test_each_starts_in_turn_and_both_restart_between(self) -> None:
        for _ in range(2):
            self.we_start()
            self.they_start()
        self.same_keys(4)

    def test_other_suites_are_negotiated(self) -> None:
        """The responder chooses, and the epoch after is of that suite: of another hash, with other lengths."""
        for suite in (5, 4, 3, 2, 1):
            self.they_start("--suites", str(suite))
            self.we_start("--suites", str(suite))
        self.same_keys(10)

    def test_a_stateless_responder(self) -> None:
        self.they_start("--stateless", count=2)
        self.same_keys(2)

    def block(self, name: str, octets: bytes | None = None) -> str:
        (self.folder / name).write_bytes(octets or os.urandom(32))
        return name

    def test_a_block_is_mixed_in_whoever_starts(self) -> None:
        octets = os.urandom(32)
        theirs = self.their_listener("--block", self.block("first", octets), "--erase-blocks")
        ours = self.ours("--connect", f"127.0.0.1:{theirs.port()}", "--block", self.block("copy", octets))
        theirs.wait_for("a block was mixed into session")
        self.finish(ours, theirs)
        self.assertIn("a block was mixed into session", ours.output)
        self.assertFalse((self.folder / "first").exists())
        block = ("--block", self.block("second"))
        ours = self.ours("--linger", "0.1", "--stateless", "--mix", "require", *block)
        theirs = self.their_connect(ours.port(), "--require-block", *block)
        theirs.wait_for("a block was mixed into session")
        self.finish(ours, theirs)
        self.same_keys(2)

    def test_who_requires_a_block_refuses_aloud(self) -> None:
        theirs = self.their_listener("--require-block")
        ours = self.ours("--connect", f"127.0.0.1:{theirs.port()}", "--timeout", "3")
        ours.wait_for("one end requires a block")
        self.assertEqual(ours.ended(), 1)
        theirs.stop()
        ours = self.ours("--mix", "require", "--timeout", "10")
        theirs = self.their_connect(ours.port(), "--block", self.block("mine"), "--timeout", "3")
        theirs.wait_for("one end requires a block")
        self.assertNotEqual(theirs.ended(), 0)
        ours.stop()
        # What was not used is held still, and each end may take it back.
        block = ("--block", self.block("common"))
        theirs = self.their_listener("--require-block", "--withdraw-blocks", *block)
        ours = self.ours("--connect", f"127.0.0.1:{theirs.port()}", "--mix", "require", *block)
        self.finish(ours, theirs)
        self.same_keys(1)

    def test_second_third_and_fourth_are_lost_once_and_the_reference_starts(self) -> None:
        self.we_start(lose=first_of_types(2, 3, 4))
        self.same_keys(1)

    def test_second_third_and_fourth_are_lost_once_and_the_program_starts(self) -> None:
        self.they_start(lose=first_of_types(2, 3, 4))
        self.same_keys(1)

    def test_an_old_copy_of_the_reference_is_told_so(self) -> None:
        self.we_start()
        shutil.copy(self.folder / "our-end.json", self.folder / "old.json")
        self.we_start()
        theirs = self.their_listener()
        ours = self.ours("--connect", f"127.0.0.1:{theirs.port()}", state="old.json")
        ours.wait_for("the peer is ahead")
        self.assertEqual(ours.ended(), 1)

    def test_an_old_copy_of_the_program_is_told_so(self) -> None:
        self.we_start()
        shutil.copytree(self.folder / "their-end", self.folder / "old")
        # Had the reference started, it would be ahead as far as it knows, and would heal the old copy.
        self.they_start()
        shutil.rmtree(self.folder / "their-end")
        shutil.move(self.folder / "old", self.folder / "their-end")
        ours = self.ours("--timeout", "4")
        theirs = self.their_connect(ours.port())
        self.assertNotEqual(theirs.ended(), 0)
        self.assertEqual(len(self.keys("ours")), 2)

    def test_the_reference_crashes_when_it_is_ahead(self) -> None:
        """It moved, and what it sent was lost; after its start the long third message heals the pair. It names nothing
        in that session, and makes another."""
        theirs = self.their_listener(count=3)
        port = theirs.port()
        deaf = self.relay(port, lambda there, octets: there and octets[0] & 15 in (3, 5))
        ours = self.ours("--connect", f"127.0.0.1:{deaf.port}")
        end = time.monotonic() + PATIENCE
        while deaf.lost == 0 and time.monotonic() < end:
            time.sleep(0.02)
        ours.stop()
        self.assertGreater(deaf.lost, 0)
        ours = self.ours("--connect", f"127.0.0.1:{port}", count=1)
        self.assertEqual(ours.ended(), 0, ours.output)
        theirs.stop()
        self.assertEqual((len(self.keys("ours")), len(self.keys("theirs"))), (1, 2))
        self.assertLess(self.keys("ours").items(), self.keys("theirs").items())

    def secrets(self) -> set[bytes]:
        """The chain keys that stand in the state of the reference."""
        enrolment = Enrolment(b"alice", b"bob", 0, context=b"skex program")
        durable, _ = state.restore(enrolment, [(self.folder / "our-end.json").read_bytes()], "a")
        answering = durable.session.answering
        return {durable.chain_key} | ({answering.chain} if answering else set())

    def nothing_is_left(self, secrets: set[bytes]) -> None:
        """Of an epoch before, once the next has followed."""
        self.assertTrue(secrets.isdisjoint(self.secrets()))
        (self.folder / "end").mkdir()
        for path in self.folder.glob("our-end*"):
            shutil.copy(path, self.folder / "end")
        self.is_nowhere(secrets, "end")

    def test_the_reference_starts_and_is_killed_at_every_point(self) -> None:
        """The program may have keys that the reference did not live to name."""
        self.we_start()
        before = self.secrets()
        theirs = self.their_listener(count=1000)
        ours = self.killed(*self.our_end("--connect", f"127.0.0.1:{theirs.port()}"))
        self.assertEqual(ours.ended(), 0, ours.output)
        self.assertGreater(self.kills(ours), 8)
        self.assertGreater(len(self.keys("ours")), 1)
        self.assertLessEqual(self.keys("ours").items(), self.keys("theirs").items())
        self.nothing_is_left(before)

    def test_the_program_starts_and_the_reference_is_killed_at_every_point(self) -> None:
        """Of a key that was taken and not written any more, only the program has a copy; of all others both have the same."""
        self.they_start()
        before, port = self.secrets(), self.free_port()
        ours, seen, number, unanswered = self.killed(*self.our_end("--bind", f"127.0.0.1:{port}", count=1000)), -1, 1, 0
        while self.kills(ours) > seen:
            seen = self.kills(ours)
            theirs = self.their_connect(port)
            while theirs.ended() != 0:
                # On a busy machine the reference may be away whenever the program sends.
                unanswered += 1
                self.assertIn("nobody answered", theirs.output, ours.output)
                self.assertLess(unanswered, 4, ours.output)
                theirs = self.their_connect(port)
            number += 1
            key, over = theirs.wait_for(r"fingerprint +([0-9a-f]{4}(?: [0-9a-f]{4}){3})")[1], time.monotonic() + PATIENCE
            while self.kills(ours) == seen and key not in ours.output:
                self.assertLess(time.monotonic(), over, ours.output)
                time.sleep(0.02)
        self.assertGreater(seen, 8)
        ours.stop()
        found = self.keys("theirs")
        self.assertEqual(len(set(found.values())), number)
        self.assertLessEqual(self.keys("ours").items(), found.items())
        self.nothing_is_left(before)
