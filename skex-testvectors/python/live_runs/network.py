"""A network of hubs and clients, each of either program."""

from __future__ import annotations

import json
import os
import shutil

from .process import SECONDS, Live, Process
from .tap import Tap


class Network(Live):
    """Hubs 1 to n, and the clients alice and bob: each the program or the reference, as a test says."""

    def provision(self, hubs: int = 3, table_size: str = "64KiB", *how: str) -> None:
        """A new network; one that was there before is gone. Within one network nobody changes from one program to the other: what
        an end has used of a table stands in its own state, and the program does not start without its own."""
        shutil.rmtree(self.folder / "net", ignore_errors=True)
        made = self.skex("provision", "--out", "net", "--hubs", str(hubs), "--table-size", table_size, *how)
        self.assertEqual(made.ended(), 0, made.output)
        self.addresses: dict[int, int] = {}
        # Where a client reaches a hub, if not where it is.
        self.relayed: dict[str, dict[int, int]] = {}

    def hub(self, number: int, ours: bool, *arguments: str) -> Process:
        """Again on the port that it had, if it ran before."""
        program = self.reference if ours else self.skex
        port = self.addresses.setdefault(number, self.free_port())
        hub = program("hub", "--dir", f"net/hub-{number}", "--listen", f"127.0.0.1:{port}", *arguments)
        hub.port()
        return hub

    def stop(self, hubs: list[Process]) -> None:
        for hub in hubs:
            hub.stop()

    def reach(self, name: str) -> list[str]:
        addresses = self.addresses | self.relayed.get(name, {})
        return [f"--hub-address=hub-{number}=127.0.0.1:{port}" for number, port in addresses.items()]

    def tap(self, client: str, hub: int) -> Tap:
        tap = Tap(self.folder / "net" / f"hub-{hub}" / f"{client}.link")
        self.relayed.setdefault(client, {})[hub] = self.relay(self.addresses[hub], tap.lose).port
        return tap

    def client(self, name: str, ours: bool, out: str, *action: str, seconds: int = SECONDS) -> Process:
        """The reference writes to a folder, and so does a program that waits; one that gets, to a file."""
        reach = self.reach(name)
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

    def get_key(self, alice: bool, out: str, threshold: int = 3) -> None:
        """One more key with bob, who waits for several."""
        got = self.client("alice", alice, out, "get", "bob", "--threshold", str(threshold))
        self.assertEqual(got.ended(), 0, got.output)

    def command(self, name: str, ours: bool, *action: str) -> Process:
        listen = [] if ours else ["--listen", "127.0.0.1:0"]
        program = self.reference if ours else self.skex
        timeout = ["--timeout", str(SECONDS)] if ours else []
        return program("client", "--dir", f"net/{name}", *listen, *self.reach(name), *timeout, *action)

    def does(self, name: str, ours: bool, *action: str) -> Process:
        done = self.command(name, ours, *action)
        self.assertEqual(done.ended(), 0, done.output)
        return done

    def operate(self, *command: str) -> None:
        """What the operator of an end of the program says."""
        done = self.skex(*command)
        self.assertEqual(done.ended(), 0, done.output)

    def order(self, end: str, *order: str) -> None:
        """What the operator of an end of the reference says. It is done when the end says so."""
        given = self.reference("order", "--dir", f"net/{end}", *order)
        self.assertEqual(given.ended(), 0, given.output)

    def tag_of(self, name: str) -> str:
        tag: str = json.loads((self.folder / "net" / name / "skex.json").read_text())["tag"]
        return tag

    def more_tables(self, hub: int, client: str, *how: str) -> None:
        made = self.skex("provision", "add", "--dir", f"net/hub-{hub}", "--client", client, "--table-size", "32KiB", *how)
        self.assertEqual(made.ended(), 0, made.output)

    def erased(self, table: str) -> bool:
        """Whether nothing is left behind the header."""
        path = self.folder / "net" / table
        return not path.exists() or not any(path.read_bytes()[64:])

    def stranger(self, name: str) -> str:
        """A directory of a client that no hub knows, with what anybody may know of the hubs; its tag."""
        known = json.loads((self.folder / "net" / "alice" / "skex.json").read_text())
        tag, own = os.urandom(16).hex(), {key: known[key] for key in ("format", "role", "listen", "hubs")}
        (self.folder / "net" / name).mkdir()
        config = json.dumps({**own, "name": name, "tag": tag, "peers": []})
        (self.folder / "net" / name / "skex.json").write_text(config)
        return tag
