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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import disk, keyfile, udp
from ..octets import Reader, u8, u16, u32
from . import client as clients
from . import hub as hubs
from . import look_up, orders, provision, wire
from .leaving import Persist
from .ledger import Table
from .link import LinkConfig, suite_of
from .orders import WAYS
from .sharing import scale


class TableFile:
    """A table in a file of `skex`, erased in place. Of its header of 64 octets: magic (8), hub id (16), client tag (16),
    direction (1), origin (1), number (2), elements (4), and the end of what is there (4)."""

    HEADER = 64
    # Where the header says up to where it is held.
    HELD = 48

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)
        header = Reader(self._file.read(self.HEADER))
        if header.take(8) != b"SKEXPAD2":
            raise ValueError(f"{path} is no table")
        header.take(33)
        self.origin, self.number = header.number(1), header.number(2)
        self._elements, self.held = header.number(4), header.number(4)

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._elements

    def read(self, first: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), 16 * count, self.HEADER + 16 * first)

    def erase(self, first: int, end: int) -> None:
        os.pwrite(self._file.fileno(), bytes(16 * (end - first)), self.HEADER + 16 * first)

    def destroy(self) -> None:
        """Returns when nothing is left, durably."""
        self.erase(0, self.held)
        os.fsync(self._file.fileno())

    def append(self, part: provision.Part, elements: bytes) -> None:
        """A portion that begins where this table ends. It is there once the header says so (D "Portions")."""
        if part.first != self.held or (part.origin, part.elements) != (self.origin, len(self)):
            raise ValueError(f"a portion from {part.first} on, where the table is held up to {self.held}")
        for place, octets in ((self.HEADER + 16 * part.first, elements), (self.HELD, u32(part.end))):
            os.pwrite(self._file.fileno(), octets, place)
            os.fsync(self._file.fileno())
        self.held = part.end

    @staticmethod
    def write(path: Path, link: provision.Link, part: provision.Part, elements: bytes) -> None:
        """Returns when all of it is durable, under its name."""
        header = b"SKEXPAD2" + link.hub_id + link.client_tag + u8(part.direction) + u8(part.origin)
        header += u16(part.number) + u32(part.elements) + u32(part.end)
        disk.write(path, header.ljust(TableFile.HEADER, b"\0") + elements)


def _take_in(folder: Path, names: dict[tuple[bytes, bytes], str]) -> None:
    """Makes links and tables of the provisioning files in the directory, and erases those. `names` are those of the links, by
    hub id and client tag. The one with the initial key goes first: by its tag others are read."""
    files = {path: path.read_bytes() for path in sorted(folder.glob("*.provision"))}
    for path, octets in sorted(files.items(), key=lambda file: not provision.carries_key(file[1])):
        link = provision.identity(octets)
        name = names[link.hub_id, link.client_tag]
        known = _linked(folder, name)
        if known is not None and link.client_id < known.link.client_id:
            raise ValueError(f"{path} is of an enrolment that is over")
        if known is None or link.client_id > known.link.client_id:
            _enrol(folder, name, provision.decode(octets))
        else:
            _add_tables(folder, name, provision.decode(octets, known.k0))
        disk.erase(path)


def _linked(folder: Path, name: str) -> provision.File | None:
    path = folder / f"{name}.link"
    return provision.decode(path.read_bytes()) if path.exists() else None


def _enrol(folder: Path, name: str, file: provision.File) -> None:
    """Nothing of an old enrolment opens anything: its tables are erased, and its key is gone with the file of the link
    (D "Enrolment and revocation"). What is stored of it goes at the start. The file of the link comes last: as long as it is not
    there, all of this is done again."""
    if file.k0 is None:
        raise ValueError(f"the file for {name} brings no initial key")
    _forget_link(folder, name)
    _add_tables(folder, name, file)
    disk.write(folder / f"{name}.link", provision.File(file.link, file.k0, ()).encode(file.k0))


def _add_tables(folder: Path, name: str, file: provision.File) -> None:
    for part, elements in file.parts:
        path = folder / f"{name}.{WAYS[part.direction]}.{part.number}.table"
        if not path.exists():
            if part.first:
                raise ValueError(f"{name}: a portion from {part.first} on, of a table of which nothing is held")
            TableFile.write(path, file.link, part, elements)
        else:
            table = TableFile(path)
            # What was taken in already, in part or whole, changes nothing.
            if part.end > table.held:
                table.append(part, elements)
            table.close()


def _forget_link(folder: Path, name: str) -> None:
    """Tables first: as long as the file of the link is there, this is done again."""
    for path in [*folder.glob(f"{name}.*.table"), *folder.glob(f"{name}.link")]:
        disk.erase(path)


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
        disk.write(self._path, json.dumps(stored).encode())


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


def hub_config(folder: Path, revoked: Mapping[str, str]) -> hubs.HubConfig:
    """`revoked` are the tags of the numbers that were revoked."""
    disk.finish(folder)
    config = json.loads((folder / "skex.json").read_text())
    hub_id = bytes.fromhex(config["id"])
    tags = {client["name"]: bytes.fromhex(client["tag"]) for client in config["clients"]}
    # Of who was revoked and not enrolled anew nothing is left.
    there = {
        name: tag for name, tag in tags.items() if tag.hex() not in revoked.values() or (folder / f"{name}.link").exists()
    }
    _take_in(folder, {(hub_id, tag): name for name, tag in there.items()})
    served = {client.link.client_id: client for client in (_served(folder, config, name) for name in there)}
    # Hubs assign client ids densely from 0.
    given = {*served, *map(int, revoked)}
    if given != set(range(len(given))):
        raise ValueError("the client ids are not dense")
    suites = tuple(SUITE_NAMES.index(name) + 1 for name in config.get("suites") or SUITE_NAMES)
    return hubs.HubConfig(hub_id, config["coordinate"], served, suites)


def _served(folder: Path, config: dict[str, Any], name: str) -> hubs.ClientConfig:
    tags = {client["name"]: bytes.fromhex(client["tag"]) for client in config["clients"]}
    entry = next(client for client in config["clients"] if client["name"] == name)
    return hubs.ClientConfig(_link(folder, name), _accepted(tags, entry["accepts_keys_from"]), (name.encode(),))


def _with_client(folder: Path, name: str, tag: bytes) -> dict[str, Any]:
    """The configuration with this client in it. One that is new accepts keys from all who were there; whether they accept hers is
    for them to say (D "Authorisation")."""
    path = folder / "skex.json"
    config: dict[str, Any] = json.loads(path.read_text())
    if name not in [client["name"] for client in config["clients"]]:
        others = [client["name"] for client in config["clients"]]
        config["clients"].append({"name": name, "tag": tag.hex(), "accepts_keys_from": others})
        disk.write(path, json.dumps(config, indent=2).encode())
    return config


# As skex.json and the options of both programs call the suites of keys.
SUITE_NAMES = ("one-time", "aes-256-gcm", "chacha20-poly1305")


class _LyingHub(hubs.Hub):
    """For experiments: every share is twice what it should be."""

    def accepted_share(self, share: bytes) -> bytes:
        return scale(share, 2)


# Ends the name of a file for a client, until it is enrolled.
ENROLLING = ".enrolling"
# Elements of each table of a client that a hub enrols.
TABLE = 4096


class _Operator:
    """Carries out the orders of a hub's operator."""

    def __init__(self, folder: Path, machine: hubs.Hub) -> None:
        self._folder = folder
        self._machine = machine
        self._config = json.loads((folder / "skex.json").read_text())
        # What is made for clients, and where it goes once they are enrolled durably.
        self._made: dict[Path, Path] = {}
        if not list(orders.waiting(folder)):
            for left in folder.glob(f"*{ENROLLING}"):
                disk.erase(left)

    def name(self, client_id: int) -> str:
        tag = self._machine.tag(client_id).hex()
        name: str = next(client["name"] for client in self._config["clients"] if client["tag"] == tag)
        return name

    def carry_out(self, order: dict[str, Any]) -> None:
        machine, name = self._machine, order["link"]
        tags = {client["name"]: bytes.fromhex(client["tag"]) for client in self._config["clients"]}
        if order["order"] == "enrol":
            self._enrol(name, bytes.fromhex(order["tag"]) if order["tag"] else tags[name], Path(order["out"]))
            return
        number = machine.number(tags[name])
        if number is None:
            # Also where a crash left the order of a revocation behind that is durable.
            print(f"{name} is no client", flush=True)
            return
        match order["order"]:
            case "key":
                machine.replace_initial_key(number, bytes.fromhex(order["key"]))
            case "retire":
                machine.retire_table(number, order["direction"], order["table"])
            case "revoke":
                machine.revoke(time.monotonic(), number)

    def _enrol(self, name: str, tag: bytes, out: Path) -> None:
        """A client that is new here, or one that was revoked: the same tag under a new number, with another initial key and
        other tables. Everything follows from the file for the client, which is made first: who does this again after a crash finds
        it, and what is there already."""
        made = self._folder / f"{name}{ENROLLING}"
        known = {client["name"]: client["tag"] for client in self._config["clients"]}
        number = self._machine.number(tag)
        began = made.exists() and provision.identity(made.read_bytes()).client_id == number
        if known.get(name, tag.hex()) != tag.hex() or (number is not None and not began):
            raise ValueError(f"{name}, or this tag, is a client already; to enrol it anew, revoke it first")
        if not made.exists() or provision.identity(made.read_bytes()).client_id in self._machine.revoked():
            hub_id, coordinate = bytes.fromhex(self._config["id"]), self._config["coordinate"]
            link = provision.Link(hub_id, coordinate, tag, self._machine.next_number(), 1)
            parts = [provision.Part(direction, 0, 0, TABLE, 0, TABLE) for direction in (0, 1)]
            k0 = os.urandom(32)
            file = provision.File(link, k0, tuple((part, os.urandom(16 * TABLE)) for part in parts))
            disk.write(made, file.encode(k0))
        file = provision.decode(made.read_bytes())
        linked = _linked(self._folder, name)
        if linked is None or linked.link.client_id < file.link.client_id:
            _enrol(self._folder, name, file)
        self._config = _with_client(self._folder, name, tag)
        self._machine.enrol(_served(self._folder, self._config, name))
        self._made[made] = out

    def hand_out(self) -> None:
        """Whoever was enrolled is so durably: the files can be taken."""
        for made, out in self._made.items():
            octets = made.read_bytes()
            disk.write(out, octets)
            number = provision.identity(octets).client_id
            print(f"{self.name(number)} is enrolled under the number {number}", flush=True)

    def forget(self) -> None:
        for made in self._made:
            disk.erase(made)
        self._made = {}


def run_hub(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.dir
    store = Store(folder)
    stored = store.read()
    listen = arguments.listen or json.loads((folder / "skex.json").read_text())["listen"]
    endpoint = udp.Endpoint(udp.parse(listen))
    kind = _LyingHub if arguments.lie else hubs.Hub
    machine = kind(hub_config(folder, stored.get("revoked", {})), stored, os.urandom, time.monotonic())
    operator = _Operator(folder, machine)
    given: list[Path] = []
    paths: dict[int, int] = {}
    print("hub listens on {}:{}".format(*endpoint.bound), flush=True)
    while True:
        machine.timeout(time.monotonic())
        for path_of_order, order in orders.waiting(folder):
            _try(order, operator.carry_out)
            given.append(path_of_order)
        for effect in machine.take_effects():
            match effect:
                case Persist():
                    store.write(effect.stored)
                case hubs.InitialKeyReplaced():
                    print(f"the initial key of {operator.name(effect.client_id)} is replaced", flush=True)
                case hubs.Retired():
                    _destroyed(effect.table, effect.direction, operator.name(effect.client_id))
                case hubs.Revoked():
                    _forget_link(folder, operator.name(effect.client_id))
                    print(f"{operator.name(effect.client_id)} is revoked", flush=True)
                case hubs.Send():
                    path = effect.path if effect.path is not None else paths.get(effect.client_id)
                    if path is not None:
                        endpoint.send(effect.octets, endpoint.paths.address(path))
                case hubs.Stored():
                    print(f"share of {effect.key_id.hex()}", flush=True)
                case hubs.Refilled():
                    print(f"client {effect.client_id} has table {effect.number}", flush=True)
        operator.hand_out()
        while given:
            disk.erase(given.pop())
        operator.forget()
        came = endpoint.receive(machine.next_timeout(time.monotonic()))
        if came is not None:
            client_id = machine.receive(time.monotonic(), *came)
            if client_id is not None:
                # Only what opened tells where a client is.
                paths[client_id] = came[0]


def _try(order: dict[str, Any], carry_out: Callable[[dict[str, Any]], None]) -> None:
    """What cannot be carried out is refused, with nothing changed."""
    try:
        carry_out(order)
    except (KeyError, ValueError) as error:
        print(f"refused: {order['order']} {order['link']}: {error}", flush=True)


def _destroyed(table: Table, direction: int, link: str) -> None:
    assert isinstance(table, TableFile)
    table.destroy()
    print(f"table {table.number} {WAYS[direction]} of {link} is retired", flush=True)


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
    get.add_argument("--at-once", action="store_true", help="ask for all of them before the first is there")
    get.add_argument("--suite", choices=SUITE_NAMES, default=SUITE_NAMES[0])
    wait = actions.add_parser("wait", help="await keys of other clients")
    wait.add_argument("--count", type=int, default=1)
    tables = actions.add_parser("tables", help="await tables that hubs send, until so many of them are here")
    tables.add_argument("--count", type=int, default=1)
    look_up = actions.add_parser("lookup", help="ask the hubs which client has a name")
    look_up.add_argument("name")
    look_up.add_argument("--remember", action="store_true", help="as a peer, in skex.json")
    publish = actions.add_parser("publish", help="tell the hubs what this client accepts")
    publish.add_argument("--withdraw", action="store_true", help="take it back")
    authorise = actions.add_parser("authorise", help="say at the hubs whether another client may ask for keys")
    authorise.add_argument("peer", help="its name, or its tag")
    authorise.add_argument("--no", action="store_true")
    withdraw = actions.add_parser("withdraw", help="take a key back that has not arrived")
    withdraw.add_argument("key_id")


def client_config(folder: Path) -> tuple[clients.ClientConfig, list[dict[str, Any]]]:
    """Also what skex.json says of the hubs, in the same order: of those at which this client is enrolled."""
    disk.finish(folder)
    config = json.loads((folder / "skex.json").read_text())
    tag = bytes.fromhex(config["tag"])
    _take_in(folder, {(bytes.fromhex(hub["id"]), tag): hub["name"] for hub in config["hubs"]})
    there = [hub for hub in config["hubs"] if _linked(folder, hub["name"]) is not None]
    roster = sorted(there, key=lambda hub: int(hub["coordinate"]))
    links = tuple(clients.HubOfClient(_link(folder, hub["name"]), hub["coordinate"]) for hub in roster)
    peers = frozenset(bytes.fromhex(peer["tag"]) for peer in config["peers"])
    return clients.ClientConfig(tag, links, peers), roster


class _ClientRunner:
    def __init__(self, arguments: argparse.Namespace) -> None:
        folder: Path = arguments.dir
        self._arguments = arguments
        keyfile.begin(arguments.out_dir)
        self._names = json.loads((folder / "skex.json").read_text())
        self._store = Store(folder)
        self._endpoint = udp.Endpoint(("127.0.0.1", 0))
        config, roster = client_config(folder)
        replaced = dict(entry.split("=", 1) for entry in arguments.hub_address)
        self._addresses = [udp.parse(replaced.get(hub["name"], hub["address"])) for hub in roster]
        self._machine = clients.Client(config, self._store.read(), os.urandom, time.monotonic())
        self._roster = [hub["name"] for hub in roster]
        self._done = 0
        if arguments.action == "tables":
            tables = [table for hub in config.hubs for table in (*hub.link.uplinks, *hub.link.downlinks)]
            self._done = sum(table.origin == 1 for table in tables)
        self._failed = False

    def run(self) -> int:
        end = time.monotonic() + self._arguments.timeout
        count = getattr(self._arguments, "count", 1)
        at_once = getattr(self._arguments, "at_once", False)
        for number in range(count):
            if self._arguments.action == "get":
                for _ in range(count if at_once and number == 0 else not at_once):
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
        self._machine.timeout(time.monotonic())
        given = []
        for path, order in orders.waiting(self._arguments.dir):
            _try(order, self._carry_out)
            given.append(path)
        self._perform()
        for path in given:
            disk.erase(path)
        came = self._endpoint.receive(min(end, self._machine.next_timeout(time.monotonic())))
        if came is not None:
            address = self._endpoint.paths.address(came[0])
            if address in self._addresses:
                self._machine.receive(time.monotonic(), self._addresses.index(address), came[1])
                self._perform()

    def _carry_out(self, order: dict[str, Any]) -> None:
        hub = self._roster.index(order["link"])
        match order["order"]:
            case "key":
                self._machine.replace_initial_key(hub, bytes.fromhex(order["key"]))
            case "retire":
                self._machine.retire_table(time.monotonic(), hub, order["direction"], order["table"])
            case other:
                raise ValueError(f"{other} is nothing for a client")

    def _perform(self) -> None:
        while effects := self._machine.take_effects():
            self._perform_all(effects)

    def _perform_all(self, effects: list[clients.Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist():
                    self._store.write(effect.stored)
                case clients.Send():
                    self._endpoint.send(effect.octets, self._addresses[effect.hub])
                case clients.InitialKeyReplaced():
                    print(f"the initial key of {self._roster[effect.hub]} is replaced", flush=True)
                case clients.Retired():
                    _destroyed(effect.table, effect.direction, self._roster[effect.hub])
                case clients.Confirmed():
                    self._give(effect.key_id, effect.key)
                    if effect.lying:
                        print(f"hearsay {effect.key_id.hex()} lying {_listed(effect.lying)}", flush=True)
                case clients.Received():
                    self._give(effect.key_id, effect.key)
                    self._machine.taken(effect)
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
                    if said.client is not None and self._arguments.remember:
                        self._remember(effect.name.decode(), said.client)
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
        if self._arguments.out_dir:
            keyfile.write(self._arguments.out_dir, f"{key_id.hex()}-0.key", key)
        print(f"key {key_id.hex()} fingerprint {keyfile.fingerprint(key_id, 0, key)}", flush=True)


    def _remember(self, name: str, tag: bytes) -> None:
        """From the next start on a peer, whose keys are accepted too."""
        peers = [peer for peer in self._names["peers"] if peer["name"] != name]
        self._names["peers"] = [*peers, {"name": name, "tag": tag.hex()}]
        disk.write(self._arguments.dir / "skex.json", json.dumps(self._names, indent=2).encode())

    def _store_table(self, came: clients.CameTable) -> None:
        folder: Path = self._arguments.dir
        config = self._machine.config
        hub = config.hubs[came.hub].link
        path = folder / f"{self._roster[came.hub]}.{WAYS[came.direction]}.{came.number}.table"
        elements = len(came.octets) // 16
        link = provision.Link(hub.hub_id, config.hubs[came.hub].coordinate, config.tag, hub.client_id, 1)
        part = provision.Part(came.direction, 1, came.number, elements, 0, elements)
        TableFile.write(path, link, part, came.octets)
        self._machine.add_table(came.hub, came.direction, TableFile(path))
        print(f"table {came.number} {WAYS[came.direction]} of {self._roster[came.hub]}", flush=True)
        self._done += self._arguments.action == "tables"


def _listed(coordinates: tuple[int, ...]) -> str:
    return ",".join(str(x) for x in coordinates)


def run_client(arguments: argparse.Namespace) -> int:
    return _ClientRunner(arguments).run()
