"""A peer over UDP: `python3 -m skex_reference peer`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from .. import keyfile, udp
from .exporter import RAW, index_of
from .peer import (
    Config,
    Ended,
    Established,
    GaveUp,
    MixLost,
    MixRefused,
    MixStored,
    Peer,
    Persist,
    Resumed,
    RolledBack,
    Send,
)
from .schedule import Enrolment, other
from .state import Durable, Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, required=True, help="the file of this end; made if it is not there")
    parser.add_argument("--role", choices=("a", "b"), required=True)
    parser.add_argument("--id", required=True, help="the name of this end")
    parser.add_argument("--peer-id", required=True)
    parser.add_argument("--secret-file", type=Path, help="to enrol with")
    parser.add_argument("--lane", type=int, default=0)
    parser.add_argument("--context", default="skex program", help="of the enrolment; this is that of the program `skex`")
    parser.add_argument("--suites", default="1,2,3,4,5", help="in the order of preference")
    parser.add_argument("--stateless", action="store_true", help="ask for long third messages")
    parser.add_argument("--block", type=Path, action="append", default=[], help="fresh secret material, 32 octets")
    parser.add_argument("--mix", choices=("never", "accept", "require"), default="accept")
    parser.add_argument("--bind", type=udp.parse, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--connect", type=udp.parse, metavar="HOST:PORT", help="start handshakes with a peer there")
    parser.add_argument("--count", type=int, default=1, help="how many keys")
    parser.add_argument("--out-dir", type=Path)
    parser.add_argument("--linger", type=float, default=1.5, help="seconds to answer repetitions after the last key")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds in all")


def run(arguments: argparse.Namespace) -> int:
    keyfile.begin(arguments.out_dir)
    own, peer = arguments.id.encode(), arguments.peer_id.encode()
    name_a, name_b = (own, peer) if arguments.role == "a" else (peer, own)
    enrolment = Enrolment(name_a, name_b, arguments.lane, context=arguments.context.encode())
    store = Store(arguments.state, enrolment)
    if store.exists():
        durable = store.read(arguments.role)
    else:
        secret = arguments.secret_file.read_bytes()
        durable = Durable(arguments.role, 0, enrolment.suite, enrolment.first_chain_key(secret))
    suites = tuple(int(code) for code in arguments.suites.split(","))
    config = Config(enrolment, suites, stateless=arguments.stateless, mix=arguments.mix)
    machine = Peer(config, durable, os.urandom, time.monotonic())
    for path in arguments.block:
        machine.provide(path.read_bytes())
    return _Runner(arguments, machine, store).run()


class _Runner:
    def __init__(self, arguments: argparse.Namespace, machine: Peer, store: Store) -> None:
        self._arguments = arguments
        self._machine = machine
        self._store = store
        self._endpoint = udp.Endpoint(arguments.bind)
        self._configured: udp.Address | None = arguments.connect
        self._keys = 0
        self._failed = False

    def run(self) -> int:
        print("listens on {}:{}".format(*self._endpoint.bound), flush=True)
        end = time.monotonic() + self._arguments.timeout
        self._perform()
        while not self._failed and self._keys < self._arguments.count and time.monotonic() < end:
            before, wanted = self._keys, 0.0
            while not self._failed and self._keys == before and time.monotonic() < end:
                if self._configured and time.monotonic() >= wanted:
                    # Asked again where nothing came of it, and not while a message is repeated for the first times: an early
                    # repetition begins an attempt beside it, of which there may come another session (U "Start").
                    wanted = time.monotonic() + 6.0
                    self._machine.establish(time.monotonic())
                    self._perform()
                self._once(min(end, wanted) if self._configured else end)
        done = self._keys >= self._arguments.count and not self._failed
        if done:
            self._linger()
        self._endpoint.close()
        return 0 if done else 1

    def _linger(self) -> None:
        end = time.monotonic() + self._arguments.linger
        while time.monotonic() < end and not self._configured:
            self._once(end)

    def _once(self, end: float) -> None:
        now = time.monotonic()
        due = self._machine.deadline()
        came = self._endpoint.receive(end if due is None else min(end, max(due, now)))
        if came is not None:
            self._machine.receive(time.monotonic(), *came)
        self._machine.timeout(time.monotonic())
        self._perform()

    def _perform(self) -> None:
        """In order, so that what is durable is so before anything behind it leaves."""
        while self._machine.effects:
            effect = self._machine.effects.pop(0)
            match effect:
                case Persist():
                    self._store.write(effect.durable)
                case Send():
                    address = self._configured if effect.path is None else self._endpoint.paths.address(effect.path)
                    if address:
                        self._endpoint.send(effect.octets, address)
                case Established():
                    if self._machine.durable.session.mixed:
                        print(f"a block was mixed into session {effect.session_id.hex()}", flush=True)
                    self._export(effect)
                case Ended():
                    print(f"session {effect.session_id.hex()} ended: {effect.why}", flush=True)
                case Resumed():
                    print(f"session {effect.session_id.hex()} is there still", flush=True)
                case RolledBack():
                    print("the peer is ahead: this state is an old copy; enrol anew", flush=True)
                    self._failed = True
                case MixStored():
                    print("the blocks are stored: erase their files", flush=True)
                case MixLost():
                    print("the peer has used a block that is lost here", flush=True)
                case MixRefused():
                    print("one end requires a block, and none is in common", flush=True)
                case GaveUp():
                    print("no answer", flush=True)
                    self._failed = True

    def _export(self, established: Established) -> None:
        """One key for each handshake: the initiator names its first output, and the responder takes it."""
        side = self._machine.durable.side
        if established.initiated and not self._machine.can_name():
            print(f"session {established.session_id.hex()} is there, and gives no key after a start", flush=True)
            self._machine.establish(time.monotonic())
            return
        if established.initiated:
            index, key = self._machine.name_output(RAW)
        else:
            index = index_of(other(side), 0)
            key = self._machine.take_output(index, RAW)
            # The taking is durable before the key leaves.
            self._store.write(self._machine.durable)
        self._keys += 1
        name = established.session_id.hex()
        if self._arguments.out_dir:
            keyfile.write(self._arguments.out_dir, f"{name}-{index:x}.key", key)
        print(f"key {name}-{index:x} fingerprint {keyfile.fingerprint(established.session_id, index, key)}", flush=True)
