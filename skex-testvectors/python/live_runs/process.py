"""Programs that run beside each other, and what is common to all tests of them."""

from __future__ import annotations

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
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
# A program that is to do something gets so many seconds, and is waited for longer: a busy machine fails no test.
SECONDS = 50
PATIENCE = 60.0


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

    def running(self) -> bool:
        return self._process.poll() is None

    def ended(self, patience: float = PATIENCE) -> int:
        """The exit status."""
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"{self._process.args!r} did not end:\n{self.output}") from None
        self._reader.join(PATIENCE)
        return status

    def stop(self) -> None:
        if self.running():
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
    # The program `skex`.
    program = ""

    def setUp(self) -> None:
        # In memory where that can be had: nobody takes the power away, and syncs of others' disks are waited for.
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *command: str | Path) -> Process:
        process = Process(command, self.folder)
        self.addCleanup(process.stop)
        return process

    def skex(self, *arguments: str | Path) -> Process:
        return self.start(self.program, *arguments)

    def reference(self, *arguments: str | Path) -> Process:
        return self.start(sys.executable, "-m", "skex_reference", *arguments)

    def killed(self, *arguments: str | Path) -> Process:
        """An end of the reference that is killed at every point, one after the other (`tests/crash.py`)."""
        return self.start(sys.executable, HERE / "tests" / "crash.py", *arguments)

    def kills(self, process: Process) -> int:
        return process.output.count("killed before")


    def free_port(self) -> int:
        """For an end that starts on it again and again: below those that the system gives to others meanwhile."""
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                try:
                    one.bind(("127.0.0.1", random.randrange(20000, 32000)))
                    return int(one.getsockname()[1])
                except OSError:
                    pass


    def is_nowhere(self, secrets: set[bytes], folder: str) -> None:
        """In no file of the folder, neither as it is nor in hexadecimal digits."""
        for path in (self.folder / folder).glob("*"):
            octets = path.read_bytes()
            for secret in secrets:
                self.assertNotIn(secret, octets, path.name)
                self.assertNotIn(secret.hex().encode(), octets, path.name)


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
