"""A hub and a client over UDP, from a directory that `skex provision` made: `python3 -m skex_reference hub|client`.

`skex.json`, `NAME.link` and the tables are formats of the program `skex`. What this implementation stores, it stores
beside them in `reference.json`; so a directory belongs to one of both programs, once it was used. Provisioning files that
lie in the directory are taken in at a start.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from .. import keyfile, udp
from ..octets import Reader, u8, u16, u32
from . import client as clients
from . import hub as hubs
from . import look_up, provision, wire
from .link import LinkConfig, suite_of
from .sharing import scale


class TableFile:
    """A table in a file of `skex`, erased in place. Of its header of 64 octets: magic (8), hub id (16), client tag (16),
    direction (1), origin (1), number (2), elements (4), and the end of what is there (4)."""

    HEADER = 64

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)
        header = Reader(self._file.read(self.HEADER))
        if header.take(8) != b"SKEXPAD2":
            raise ValueError(f"{path} is no table")
        header.take(33)
        self.origin, self.number = header.number(1), header.number(2)
        header.number(4)
        self._elements = header.number(4)

    def __len__(self) -> int:
        return self._elements

    def read(self, first: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), 16 * count, self.HEADER + 16 * first)

    def erase(self, first: int, end: int) -> None:
        os.pwrite(self._file.fileno(), bytes(16 * (end - first)), self.HEADER + 16 * first)


    @staticmethod
    def write(path: Path, link: provision.Link, part: provision.Part, elements: bytes) -> None:
        """Returns when all of it is durable, under its name."""
        header = b"SKEXPAD2" + link.hub_id + link.client_tag + u8(part.direction) + u8(part.origin)
        header += u16(part.number) + u32(part.elements) + u32(part.end)
        beside = path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(header.ljust(TableFile.HEADER, b"\0") + elements)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)


WAYS = ("uplink", "downlink")


def _take_in(folder: Path, names: dict[tuple[bytes, bytes], str]) -> None:
    """Makes tables of the provisioning files in the directory, and erases those. `names` are those of the links, by hub
    id and client tag."""
    for path in sorted(folder.glob("*.provision")):
        octets = path.read_bytes()
        link = provision.identity(octets)
        name = names[link.hub_id, link.client_tag]
        known = provision.decode((folder / f"{name}.link").read_bytes())
        for part, elements in provision.decode(octets, known.k0).parts:
            table = folder / f"{name}.{WAYS[part.direction]}.{part.number}.table"
            if part.first:
                raise ValueError(f"{path} is a portion; this program takes whole tables")
            if not table.exists():
                TableFile.write(table, link, part, elements)
        path.write_bytes(bytes(len(octets)))
        path.unlink()


class Store:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "reference.json"

    def read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        stored: dict[str, Any] = json.loads(self._path.read_text())
        return stored

    def write(self, stored: dict[str, Any]) -> None:
        """Returns when all of it is durable."""
        beside = self._path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(stored, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)


def _link(folder: Path, name: str) -> LinkConfig:
    """The link with a hub or client of this name: the head of its provisioning file, and its tables."""
    file = provision.decode((folder / f"{name}.link").read_bytes())
    if file.k0 is None:
        raise ValueError(f"{name}.link brings no initial key")
    return LinkConfig(
        hub_id=file.link.hub_id,
        client_id=file.link.client_id,
        client_tag=file.link.client_tag,
        k0=file.k0,
        suite=suite_of(file.link.suite),
        uplinks=_tables(folder, name, "uplink"),
        downlinks=_tables(folder, name, "downlink"),
    )


def _tables(folder: Path, name: str, way: str) -> tuple[TableFile, ...]:
    tables = [TableFile(path) for path in folder.glob(f"{name}.{way}.*.table")]
    return tuple(sorted(tables, key=lambda table: table.number))


# ---- hub


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="a hub's directory")
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of where skex.json says")
    parser.add_argument("--lie", action="store_true", help="hand out wrong shares")


def _accepted(tags: dict[str, bytes], names: list[str] | str) -> frozenset[bytes]:
    return frozenset(tags.values() if names == "everyone" else (tags[name] for name in names))


def hub_config(folder: Path) -> hubs.HubConfig:
    config = json.loads((folder / "skex.json").read_text())
    hub_id = bytes.fromhex(config["id"])
    tags = {client["name"]: bytes.fromhex(client["tag"]) for client in config["clients"]}
    _take_in(folder, {(hub_id, tag): name for name, tag in tags.items()})
    served = [
        hubs.ClientConfig(
            _link(folder, client["name"]),
            _accepted(tags, client["accepts_keys_from"]),
            (client["name"].encode(),),
        )
        for client in config["clients"]
    ]
    # Hubs assign client ids densely from 0.
    served.sort(key=lambda client: client.link.client_id)
    if [client.link.client_id for client in served] != list(range(len(served))):
        raise ValueError("the client ids are not dense")
    suites = tuple(SUITE_NAMES.index(name) + 1 for name in config.get("suites") or SUITE_NAMES)
    return hubs.HubConfig(hub_id, config["coordinate"], tuple(served), suites)


# As skex.json and the options of both programs call the suites of keys.
SUITE_NAMES = ("one-time", "aes-256-gcm", "chacha20-poly1305")


class _LyingHub(hubs.Hub):
    """For experiments: every share is twice what it should be."""

    def accepted_share(self, share: bytes) -> bytes:
        return scale(share, 2)


def run_hub(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.dir
    store = Store(folder)
    listen = arguments.listen or json.loads((folder / "skex.json").read_text())["listen"]
    endpoint = udp.Endpoint(udp.parse(listen))
    kind = _LyingHub if arguments.lie else hubs.Hub
    machine = kind(hub_config(folder), store.read(), os.urandom, time.monotonic())
    paths: dict[int, int] = {}
    print("hub listens on {}:{}".format(*endpoint.bound), flush=True)
    while True:
        came = endpoint.receive(machine.next_timeout(time.monotonic()))
        if came is not None:
            client_id = machine.receive(time.monotonic(), *came)
            if client_id is not None:
                # Only what opened tells where a client is.
                paths[client_id] = came[0]
        machine.timeout(time.monotonic())
        while machine.effects:
            effect = machine.effects.pop(0)
            match effect:
                case hubs.Persist():
                    store.write(effect.stored)
                case hubs.Send():
                    path = effect.path if effect.path is not None else paths.get(effect.client_id)
                    if path is not None:
                        endpoint.send(effect.octets, endpoint.paths.address(path))
                case hubs.Stored():
                    print(f"share of {effect.key_id.hex()}", flush=True)
                case hubs.Refilled():
                    print(f"client {effect.client_id} has table {effect.number}", flush=True)


# ---- client


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="a client's directory")
    parser.add_argument("--hub-address", action="append", default=[], metavar="HUB=HOST:PORT")
    parser.add_argument("--out-dir", type=Path, help="write each key to a file there")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds in all")
    parser.add_argument("--linger", type=float, default=1.0, help="seconds to answer repetitions after the last key")
    actions = parser.add_subparsers(dest="action", required=True)
    get = actions.add_parser("get", help="make keys with another client")
    get.add_argument("peer", help="its name")
    get.add_argument("--threshold", type=int, default=3)
    get.add_argument("--key-len", type=int, default=32)
    get.add_argument("--count", type=int, default=1)
    get.add_argument("--suite", choices=SUITE_NAMES, default=SUITE_NAMES[0])
    wait = actions.add_parser("wait", help="await keys of other clients")
    wait.add_argument("--count", type=int, default=1)
    tables = actions.add_parser("tables", help="await tables that hubs send")
    tables.add_argument("--count", type=int, default=1)
    look_up = actions.add_parser("lookup", help="ask the hubs which client has a name")
    look_up.add_argument("name")
    publish = actions.add_parser("publish", help="tell the hubs what this client accepts")
    publish.add_argument("--withdraw", action="store_true", help="take it back")
    authorise = actions.add_parser("authorise", help="say at the hubs whether another client may ask for keys")
    authorise.add_argument("peer", help="its name, or its tag")
    authorise.add_argument("--no", action="store_true")
    withdraw = actions.add_parser("withdraw", help="take a key back that has not arrived")
    withdraw.add_argument("key_id")


def client_config(folder: Path) -> clients.ClientConfig:
    config = json.loads((folder / "skex.json").read_text())
    roster = sorted(config["hubs"], key=lambda hub: int(hub["coordinate"]))
    tag = bytes.fromhex(config["tag"])
    _take_in(folder, {(bytes.fromhex(hub["id"]), tag): hub["name"] for hub in roster})
    return clients.ClientConfig(
        bytes.fromhex(config["tag"]),
        tuple(
            clients.HubOfClient(_link(folder, hub["name"]), hub["coordinate"]) for hub in roster
        ),
        frozenset(bytes.fromhex(peer["tag"]) for peer in config["peers"]),
    )


class _ClientRunner:
    def __init__(self, arguments: argparse.Namespace) -> None:
        folder: Path = arguments.dir
        self._arguments = arguments
        self._names = json.loads((folder / "skex.json").read_text())
        self._store = Store(folder)
        self._endpoint = udp.Endpoint(("127.0.0.1", 0))
        replaced = dict(entry.split("=", 1) for entry in arguments.hub_address)
        roster = sorted(self._names["hubs"], key=lambda hub: int(hub["coordinate"]))
        self._addresses = [udp.parse(replaced.get(hub["name"], hub["address"])) for hub in roster]
        self._machine = clients.Client(client_config(folder), self._store.read(), os.urandom, time.monotonic())
        self._done = 0
        self._failed = False

    def run(self) -> int:
        end = time.monotonic() + self._arguments.timeout
        count = getattr(self._arguments, "count", 1)
        for number in range(count):
            if self._arguments.action == "get":
                self._request()
            elif self._arguments.action not in ("wait", "tables"):
                self._command()
            while self._done <= number and not self._failed and time.monotonic() < end:
                self._once(end)
        done = self._done >= count and not self._failed
        linger = time.monotonic() + (self._arguments.linger if done else 0)
        while time.monotonic() < linger:
            self._once(linger)
        self._endpoint.close()
        return 0 if done else 1

    def _request(self) -> None:
        tags = {peer["name"]: bytes.fromhex(peer["tag"]) for peer in self._names["peers"]}
        arguments = self._arguments
        self._machine.request_key(
            time.monotonic(),
            tags[arguments.peer],
            arguments.threshold,
            arguments.key_len,
            suite=SUITE_NAMES.index(arguments.suite) + 1,
        )

    def _command(self) -> None:
        arguments, machine = self._arguments, self._machine
        what: wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise
        match arguments.action:
            case "lookup":
                what = wire.Lookup(arguments.name.encode())
            case "publish":
                what = wire.Publish(None if arguments.withdraw else machine.offer())
            case "authorise":
                tags = {peer["name"]: peer["tag"] for peer in self._names["peers"]}
                what = wire.Authorise(not arguments.no, bytes.fromhex(tags.get(arguments.peer, arguments.peer)))
            case _:
                what = wire.Withdraw(bytes.fromhex(arguments.key_id))
        machine.command(time.monotonic(), what)

    def _once(self, end: float) -> None:
        came = self._endpoint.receive(min(end, self._machine.next_timeout(time.monotonic())))
        if came is not None:
            address = self._endpoint.paths.address(came[0])
            if address in self._addresses:
                self._machine.receive(time.monotonic(), self._addresses.index(address), came[1])
        self._machine.timeout(time.monotonic())
        self._perform()

    def _perform(self) -> None:
        while self._machine.effects:
            effect = self._machine.effects.pop(0)
            match effect:
                case clients.Persist():
                    self._store.write(effect.stored)
                case clients.Send():
                    self._endpoint.send(effect.octets, self._addresses[effect.hub])
                case clients.Confirmed():
                    self._give(effect.key_id, effect.key)
                    if effect.lying:
                        print(f"hearsay {effect.key_id.hex()} lying {_listed(effect.lying)}", flush=True)
                case clients.Received():
                    self._give(effect.key_id, effect.key)
                case clients.Report():
                    told = f"lying {_listed(effect.lying)}" if effect.lying else "good"
                    doubt = "" if effect.proven else ", not proven"
                    print(f"report {effect.key_id.hex()} {told}{doubt}", flush=True)
                case clients.Refused():
                    print(f"refused {effect.key_id.hex()} {list(effect.statuses)}", flush=True)
                    self._failed = True
                case clients.CameTable():
                    self._store_table(effect)
                case clients.LookedUp():
                    said = effect.said
                    tag = "nobody" if said.client is None else said.client.hex()
                    offer = "no offer" if said.offer is None else f"offer {said.offer.encode().hex()}"
                    dissent = f", {_listed(said.otherwise)} say otherwise" if said.otherwise else ""
                    print(f"found {tag}, {offer}{dissent}", flush=True)
                    self._done += 1
                    self._failed = said.client is None
                case clients.NothingSaid():
                    camps = effect.why.camps if isinstance(effect.why, look_up.Contradiction) else ()
                    told = " against ".join(_listed(camp) for camp in camps)
                    print(f"contradiction: {told}" if camps else "no agreement", flush=True)
                    self._failed = True
                case clients.CommandEnded():
                    outcomes = " ".join(f"{x}:{outcome}" for x, outcome in effect.outcomes.items())
                    print(f"outcomes {outcomes}", flush=True)
                    self._done += 1

    def _give(self, key_id: bytes, key: bytes) -> None:
        self._done += self._arguments.action in ("get", "wait")
        fingerprint = keyfile.fingerprint(key_id, 0, key)
        print(f"key {key_id.hex()} fingerprint {fingerprint}", flush=True)
        if self._arguments.out_dir:
            keyfile.write(self._arguments.out_dir, f"{key_id.hex()}-0.key", key)


    def _store_table(self, came: clients.CameTable) -> None:
        folder: Path = self._arguments.dir
        config = self._machine.config
        hub = config.hubs[came.hub].link
        roster = sorted(self._names["hubs"], key=lambda entry: int(entry["coordinate"]))
        path = folder / f"{roster[came.hub]['name']}.{WAYS[came.direction]}.{came.number}.table"
        elements = len(came.octets) // 16
        link = provision.Link(hub.hub_id, config.hubs[came.hub].coordinate, config.tag, hub.client_id, 1)
        part = provision.Part(came.direction, 1, came.number, elements, 0, elements)
        TableFile.write(path, link, part, came.octets)
        self._machine.add_table(came.hub, came.direction, TableFile(path))
        print(f"table {came.number} {WAYS[came.direction]} of {roster[came.hub]['name']}", flush=True)
        self._done += self._arguments.action == "tables"


def _listed(coordinates: tuple[int, ...]) -> str:
    return ",".join(str(x) for x in coordinates)


def run_client(arguments: argparse.Namespace) -> int:
    return _ClientRunner(arguments).run()
