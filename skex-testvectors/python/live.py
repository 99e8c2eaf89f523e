"""Both protocols, live over UDP, between this implementation and the program `skex`.

    python3 live.py [--skex PROGRAM] [name of a test ...]

The program is looked for in the target directory of the repository, release before debug. Everything is on the
loopback interface and in a temporary directory. The exit status is 0 if all went well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# A program that is to do something gets so many seconds, and is waited for longer: a busy machine fails no test.
SECONDS = 50
PATIENCE = 60.0
AT_A_TIME = 6

SKEX = ""


def find_skex() -> str:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        program = target / profile / "skex"
        if program.exists():
            return str(program)
    sys.exit(f"there is no program skex in {target}: cargo build --release --bin skex")


class Process:
    """A program whose output is read as it comes."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        environment = dict(os.environ, PYTHONPATH=str(HERE), PYTHONUNBUFFERED="1")
        self.output = ""
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = re.search(pattern, self.output)
            if found:
                return found
            if self._process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in the output of {self._process.args!r}:\n{self.output}")

    def port(self) -> int:
        return int(self.wait_for(r"listens on [0-9.]+:([0-9]+)")[1])

    def ended(self) -> int:
        """The exit status."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"{self._process.args!r} did not end:\n{self.output}") from None
        self._reader.join(PATIENCE)
        return status

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Relay:
    """Carries datagrams to a port and back, and loses those that `lose` names by direction and octets."""

    def __init__(self, port: int, lose: Callable[[bool, bytes], bool]) -> None:
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for one in (self._inner, self._outer):
            one.bind(("127.0.0.1", 0))
            one.settimeout(0.1)
        self.port = int(self._inner.getsockname()[1])
        self.lost = 0
        self._to = ("127.0.0.1", port)
        self._client: tuple[str, int] | None = None
        self._lose = lose
        self._running = True
        self._threads = [
            threading.Thread(target=self._carry, args=(there,), daemon=True) for there in (True, False)
        ]
        for thread in self._threads:
            thread.start()

    def _carry(self, there: bool) -> None:
        source = self._inner if there else self._outer
        while self._running:
            try:
                octets, address = source.recvfrom(65535)
            except OSError:
                continue
            if there:
                self._client = address
            if self._lose(there, octets):
                self.lost += 1
            elif there:
                self._outer.sendto(octets, self._to)
            elif self._client:
                self._inner.sendto(octets, self._client)

    def stop(self) -> None:
        self._running = False
        for thread in self._threads:
            thread.join(PATIENCE)
        self._inner.close()
        self._outer.close()


class Live(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *command: str | Path) -> Process:
        process = Process(command, self.folder)
        self.addCleanup(process.stop)
        return process

    def skex(self, *arguments: str | Path) -> Process:
        return self.start(SKEX, *arguments)

    def reference(self, *arguments: str | Path) -> Process:
        return self.start(sys.executable, "-m", "skex_reference", *arguments)

    def relay(self, port: int, lose: Callable[[bool, bytes], bool]) -> Relay:
        relay = Relay(port, lose)
        self.addCleanup(relay.stop)
        return relay

    def keys(self, folder: str) -> dict[str, bytes]:
        path = self.folder / folder
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())} if path.exists() else {}

    def same_keys(self, number: int, ours: str = "ours", theirs: str = "theirs") -> None:
        """The same keys under the same names, and all of them different."""
        keys = self.keys(ours)
        self.assertEqual(keys, self.keys(theirs))
        self.assertEqual(len(keys), number)
        self.assertEqual(len(set(keys.values())), number)

    def same_fingerprints(self, ours: Process, theirs: Process, number: int) -> None:
        pattern = r"fingerprint +([0-9a-f]{4}(?: [0-9a-f]{4}){3})"
        found = re.findall(pattern, ours.output)
        self.assertEqual(len(found), number, ours.output)
        self.assertEqual(found, re.findall(pattern, theirs.output))


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

    def ours(self, *arguments: str, role: str = "a", count: int = 1, state: str = "our-end.json") -> Process:
        names = ("alice", "bob") if role == "a" else ("bob", "alice")
        return self.reference(
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


class Dske(Live):
    """Hubs 1 to n, and the clients alice and bob: each the program or the reference, as a test says."""

    def provision(self, hubs: int = 3, table_size: str = "64KiB", *how: str) -> None:
        """A new network; one that was there before is gone. Within one network nobody changes from one program to the other: what
        an end has used of a table stands in its own state, and the program does not start without its own."""
        shutil.rmtree(self.folder / "net", ignore_errors=True)
        made = self.skex("provision", "--out", "net", "--hubs", str(hubs), "--table-size", table_size, *how)
        self.assertEqual(made.ended(), 0, made.output)
        self.addresses: dict[int, int] = {}
        # Where alice reaches a hub, if not where it is.
        self.relayed: dict[int, int] = {}

    def hub(self, number: int, ours: bool, *arguments: str) -> Process:
        """Again on the port that it had, if it ran before."""
        program = self.reference if ours else self.skex
        where = f"127.0.0.1:{self.addresses.get(number, 0)}"
        hub = program("hub", "--dir", f"net/hub-{number}", "--listen", where, *arguments)
        self.addresses[number] = hub.port()
        return hub

    def stop(self, hubs: list[Process]) -> None:
        for hub in hubs:
            hub.stop()

    def client(self, name: str, ours: bool, out: str, *action: str, seconds: int = SECONDS) -> Process:
        """The reference writes to a folder, and so does a program that waits; one that gets, to a file."""
        addresses = self.addresses | (self.relayed if name == "alice" else {})
        reach = [f"--hub-address=hub-{number}=127.0.0.1:{port}" for number, port in addresses.items()]
        if ours:
            return self.reference(
                *("client", "--dir", f"net/{name}", *reach, "--linger", "0.8"),
                *("--out-dir", out, "--timeout", str(seconds), *action),
            )
        there = ["--out-dir", out] if action[0] == "wait" else ["--out", f"{out}.key"]
        return self.skex(
            "client", "--dir", f"net/{name}", "--listen", "127.0.0.1:0", *reach, *action, *there, f"--timeout={seconds}"
        )

    def make_key(
        self, asks: bool, asked: bool, *get: str, out: str = "", between: tuple[str, str] = ("alice", "bob")
    ) -> tuple[Process, Process]:
        """A key that the first of both asks for; `True` is the reference."""
        first, second = between
        waits = self.client(second, asked, f"{second}{out}", "wait", "--count", "1")
        gets = self.client(first, asks, f"{first}{out}", "get", second, *get)
        self.assertEqual(gets.ended(), 0, gets.output + waits.output)
        self.assertEqual(waits.ended(), 0, waits.output)
        self.same_fingerprints(gets, waits, 1)
        ours = self.keys(f"{first}{out}").values() if asks else [(self.folder / f"{first}{out}.key").read_bytes()]
        self.assertEqual(list(ours), list(self.keys(f"{second}{out}").values()))
        return gets, waits

    def test_client_asks_through_hubs_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=False)
        self.make_key(True, False, "--threshold", "2")

    def test_client_is_asked_through_hubs_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=False)
        self.make_key(False, True, "--threshold", "2")

    def test_hubs_serve_clients_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=True)
        self.make_key(False, False, "--threshold", "2")

    def test_hubs_of_both_serve_one_client_of_each(self) -> None:
        for alice, threshold, length in ((True, "3", "16"), (False, "4", "1000")):
            self.provision(5)
            hubs = [self.hub(number, ours=number % 2 == 0) for number in range(1, 6)]
            self.make_key(alice, not alice, "--threshold", threshold, "--key-len", length, out=f"-{threshold}")
            self.stop(hubs)

    def test_a_lying_hub_of_the_reference_is_named_by_the_program(self) -> None:
        self.provision(5)
        for number in range(1, 6):
            self.hub(number, number < 3, *(["--lie"] if number == 2 else []))
        _, waits = self.make_key(True, False)
        self.assertRegex(waits.output, r"(?m)^ +lying +hub-2$")

    def test_a_lying_hub_of_the_program_is_named_by_the_reference(self) -> None:
        self.provision(5)
        for number in range(1, 6):
            self.hub(number, False, *(["--lie"] if number == 1 else []))
        _, waits = self.make_key(False, True)
        self.assertRegex(waits.output, r"(?m)^report [0-9a-f]{32} lying 1$")

    def test_two_hubs_of_five_are_silent(self) -> None:
        for alice in (True, False):
            self.provision(5)
            hubs = [self.hub(number, ours=number != 1) for number in (1, 3, 5)]
            self.make_key(alice, not alice, "--threshold", "3", out=f"-{alice}")
            self.stop(hubs)

    def test_computational_suites_in_every_role(self) -> None:
        """Two keys in a row, so that the second takes the next number of each epoch where a process lives on."""
        for alice in (True, False):
            self.provision()
            hubs = [self.hub(number, ours=number == 2) for number in (1, 2, 3)]
            for round_number, suite in enumerate(("aes-256-gcm", "chacha20-poly1305") * 2):
                out = f"-{alice}-{round_number}"
                self.make_key(alice, not alice, "--threshold", "2", "--suite", suite, out=out)
            self.stop(hubs)

    def test_computational_keys_of_one_start_share_epochs(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=number == 3)
        waits = self.client("bob", False, "bob", "wait", "--count", "3")
        gets = self.client("alice", True, "alice", "get", "bob", "--threshold", "2", "--count", "3", "--suite", "aes-256-gcm")
        self.assertEqual(gets.ended(), 0, gets.output + waits.output)
        self.assertEqual(waits.ended(), 0, waits.output)
        self.same_fingerprints(gets, waits, 3)

    def command(self, name: str, ours: bool, *action: str) -> Process:
        addresses = {number: port for number, port in self.addresses.items()}
        reach = [f"--hub-address=hub-{number}=127.0.0.1:{port}" for number, port in addresses.items()]
        listen = [] if ours else ["--listen", "127.0.0.1:0"]
        program = self.reference if ours else self.skex
        timeout = ["--timeout", str(SECONDS)] if ours else []
        return program("client", "--dir", f"net/{name}", *listen, *reach, *timeout, *action)

    def commands(self, ours: bool, hubs_ours: Callable[[int], bool]) -> None:
        """Everything that a client of one program can ask of hubs of the other."""
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=hubs_ours(number))
        tag = self.tag_of("bob")
        for action in (["publish"], ["lookup", "bob"], ["authorise", "bob", "--no"], ["authorise", "bob"]):
            asked = self.command("alice", ours, *action)
            self.assertEqual(asked.ended(), 0, asked.output)
            if action[0] == "lookup":
                self.assertIn(tag, asked.output)
        nobody = self.command("alice", ours, "lookup", "carol")
        self.assertNotEqual(nobody.ended(), 0, nobody.output)
        taken = self.command("alice", ours, "withdraw", "00" * 16)
        taken.ended()
        self.assertRegex(taken.output, r"nothing of it is there|:1\b")

    def tag_of(self, name: str) -> str:
        tag: str = json.loads((self.folder / "net" / name / "skex.json").read_text())["tag"]
        return tag

    def test_commands_of_the_reference_at_hubs_of_the_program(self) -> None:
        self.commands(True, lambda _: False)

    def test_commands_of_the_program_at_hubs_of_the_reference(self) -> None:
        self.commands(False, lambda _: True)

    def test_a_client_that_is_not_authorised_gets_no_key(self) -> None:
        """Bob says so at hubs of both programs; alice is refused at once, and gets a key when he allows her again."""
        for bob in (True, False):
            self.provision()
            hubs = [self.hub(number, ours=number == 1) for number in (1, 2, 3)]
            said = self.command("bob", bob, "authorise", "alice", "--no")
            self.assertEqual(said.ended(), 0, said.output)
            refused = self.client("alice", True, f"none-{bob}", "get", "bob", "--threshold", "2", seconds=5)
            self.assertEqual(refused.ended(), 1, refused.output)
            self.assertIn("refused", refused.output)
            said = self.command("bob", bob, "authorise", "alice")
            self.assertEqual(said.ended(), 0, said.output)
            self.make_key(True, bob, "--threshold", "2", out=f"-{bob}")
            self.stop(hubs)

    def more_tables(self, hub: int, client: str, *how: str) -> None:
        made = self.skex("provision", "add", "--dir", f"net/hub-{hub}", "--client", client, "--table-size", "32KiB", *how)
        self.assertEqual(made.ended(), 0, made.output)

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
            self.assertEqual(chunks, [bytes(65536)] * 8)

    def test_tables_come_to_the_reference_in_portions(self) -> None:
        self.in_portions(True)

    def test_tables_come_to_the_program_in_portions(self) -> None:
        self.in_portions(False)

    def operate(self, *command: str) -> None:
        """What the operator of an end of the program says."""
        done = self.skex(*command)
        self.assertEqual(done.ended(), 0, done.output)

    def order(self, end: str, *order: str) -> None:
        """What the operator of an end of the reference says. It is done when the end says so."""
        given = self.reference("order", "--dir", f"net/{end}", *order)
        self.assertEqual(given.ended(), 0, given.output)

    def get_key(self, alice: bool, out: str, threshold: int = 3) -> None:
        """One more key with bob, who waits for several."""
        got = self.client("alice", alice, out, "get", "bob", "--threshold", str(threshold))
        self.assertEqual(got.ended(), 0, got.output)

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

    def erased(self, table: str) -> bool:
        """Whether nothing is left behind the header."""
        path = self.folder / "net" / table
        return not path.exists() or not any(path.read_bytes()[64:])

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

    def does(self, name: str, ours: bool, *action: str) -> Process:
        done = self.command(name, ours, *action)
        self.assertEqual(done.ended(), 0, done.output)
        return done

    def stranger(self, name: str) -> str:
        """A directory of a client that no hub knows, with what anybody may know of the hubs; its tag."""
        known = json.loads((self.folder / "net" / "alice" / "skex.json").read_text())
        tag, own = os.urandom(16).hex(), {key: known[key] for key in ("format", "role", "listen", "hubs")}
        (self.folder / "net" / name).mkdir()
        config = json.dumps({**own, "name": name, "tag": tag, "peers": []})
        (self.folder / "net" / name / "skex.json").write_text(config)
        return tag

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

    def test_all_restart_and_no_table_is_used_twice(self) -> None:
        """Hubs are killed between keys, and clients start for each key anyhow."""
        self.provision()
        for round_number in (1, 2):
            hubs = [self.hub(number, ours=number != 2) for number in (1, 2, 3)]
            self.make_key(True, False, "--threshold", "2", out=f"-{round_number}")
            self.stop(hubs)

    def test_one_datagram_in_four_is_lost(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=number == 1)
        self.relayed = {
            number: self.relay(port, one_in_four(number)).port for number, port in self.addresses.items()
        }
        self.make_key(True, False, "--threshold", "2")


def one_in_four(seed: int) -> Callable[[bool, bytes], bool]:
    """Loses datagrams as the seed says. (Losing every n-th might lose the same message of an exchange each time.)"""
    choose = random.Random(seed)
    return lambda _there, _octets: choose.random() < 0.25


def first_of_types(*types: int) -> Callable[[bool, bytes], bool]:
    """Loses the first message of each type."""
    left = set(types)

    def lose(_: bool, octets: bytes) -> bool:
        kind = octets[0] & 15
        lost = kind in left
        left.discard(kind)
        return lost

    return lose


def run(tests: unittest.TestSuite) -> bool:
    """All tests, some at a time: most of their time is waiting."""

    def run_one(test: unittest.TestCase) -> tuple[unittest.TestCase, unittest.TestResult, float]:
        result, start = unittest.TestResult(), time.monotonic()
        test.run(result)
        return test, result, time.monotonic() - start

    cases = [test for group in tests for test in flatten(group)]
    good, start = bool(cases), time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for test, result, seconds in pool.map(run_one, cases):
            print(f"{'ok' if result.wasSuccessful() else 'FAILED':<8}{seconds:5.1f} s  {test.id()}", flush=True)
            for _, trace in [*result.errors, *result.failures]:
                print(trace)
            good = good and result.wasSuccessful()
    print(f"{len(cases)} live tests in {time.monotonic() - start:.0f} s: {'all good' if good else 'NOT GOOD'}")
    return good


def flatten(test: unittest.TestSuite | unittest.TestCase) -> list[unittest.TestCase]:
    if isinstance(test, unittest.TestSuite):
        return [case for part in test for case in flatten(part)]
    return [test]


def main() -> int:
    global SKEX
    parser = argparse.ArgumentParser(description="Both protocols, live, against the program skex.")
    parser.add_argument("--skex", type=Path, help="the program")
    parser.add_argument("tests", nargs="*", help="such as Dske, or Unmediated.test_a_stateless_responder")
    arguments = parser.parse_args()
    SKEX = str(arguments.skex.resolve()) if arguments.skex else find_skex()
    print(f"against {SKEX}", flush=True)
    loader, own = unittest.defaultTestLoader, sys.modules[__name__]
    tests = loader.loadTestsFromNames(arguments.tests, own) if arguments.tests else loader.loadTestsFromModule(own)
    return 0 if run(tests) else 1


if __name__ == "__main__":
    sys.exit(main())
