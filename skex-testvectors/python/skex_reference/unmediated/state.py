"""What is durable (U "Durable State"), and a file that keeps it.

The file is a reference's own: JSON, replaced as a whole. It holds the chain key in clear, and a file system may keep
what was replaced; rule 2 of U "Rules for Storage" needs storage that erases.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .exporter import Answering

NONE = "none"
UNCONFIRMED = "unconfirmed"
LIVE = "live"
VOID = "void"


@dataclass(frozen=True)
class Session:
    """What the handshake that began the present epoch gave for keys."""

    status: str = NONE
    session_id: bytes = b""
    initiated: bool = False
    # The outputs that the peer names; of a live or unconfirmed session.
    answering: Answering | None = None


@dataclass(frozen=True)
class Previous:
    """Of epoch e - 1. The peer's k1 opens nothing but late first messages, guard tags and stale notices."""

    suite: int
    pseudonyms: dict[str, bytes]
    peer_k1: bytes


@dataclass(frozen=True)
class Followed:
    """This end followed as responder: the same third message draws the same fourth."""

    mac3: bytes
    status: int
    mac4: bytes


@dataclass(frozen=True)
class Ahead:
    """This end moved first: its long third message, and MAC4 for either status."""

    third: bytes
    mac4: dict[int, bytes]
    # Whether the consumer confirmed. Not durable.
    by_consumer: bool = field(default=False, compare=False)


Link = None | Followed | Ahead


@dataclass(frozen=True)
class Durable:
    side: str
    epoch: int
    suite: int
    chain_key: bytes
    session: Session = Session()
    previous: Previous | None = None
    link: Link = None

    def with_status(self, status: str, link: Link) -> Durable:
        answering = self.session.answering if status in (LIVE, UNCONFIRMED) else None
        return replace(self, session=replace(self.session, status=status, answering=answering), link=link)


class Store:
    """One record, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        return self._path.exists()

    def write(self, durable: Durable) -> None:
        """Returns when the record is durable. If it raises, nothing may leave until it was read again."""
        beside = self._path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(_to_json(durable), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self) -> Durable:
        return _from_json(json.loads(self._path.read_text()))


def _to_json(durable: Durable) -> dict[str, Any]:
    session, previous, link = durable.session, durable.previous, durable.link
    answering = session.answering
    return {
        "side": durable.side,
        "epoch": durable.epoch,
        "suite": durable.suite,
        "chainKey": durable.chain_key.hex(),
        "session": {
            "status": session.status,
            "id": session.session_id.hex(),
            "initiated": session.initiated,
            "answering": answering
            and {
                "side": answering.side,
                "suite": answering.suite,
                "chain": answering.chain.hex(),
                "position": answering.position,
                "kept": {str(i): ok.hex() for i, ok in answering.kept.items()},
            },
        },
        "previous": previous
        and {
            "suite": previous.suite,
            "pseudonyms": {x: kid.hex() for x, kid in previous.pseudonyms.items()},
            "peerK1": previous.peer_k1.hex(),
        },
        "followed": {"mac3": link.mac3.hex(), "status": link.status, "mac4": link.mac4.hex()}
        if isinstance(link, Followed)
        else None,
        "ahead": {"third": link.third.hex(), "mac4": [link.mac4[0].hex(), link.mac4[1].hex()]}
        if isinstance(link, Ahead)
        else None,
    }


def _from_json(record: dict[str, Any]) -> Durable:
    octets = bytes.fromhex
    session, previous, answering = record["session"], record["previous"], record["session"]["answering"]
    link: Link = None
    if record["followed"]:
        followed = record["followed"]
        link = Followed(octets(followed["mac3"]), followed["status"], octets(followed["mac4"]))
    if record["ahead"]:
        link = Ahead(octets(record["ahead"]["third"]), dict(enumerate(map(octets, record["ahead"]["mac4"]))))
    return Durable(
        side=record["side"],
        epoch=record["epoch"],
        suite=record["suite"],
        chain_key=octets(record["chainKey"]),
        session=Session(
            session["status"],
            octets(session["id"]),
            session["initiated"],
            answering
            and Answering(
                answering["side"],
                answering["suite"],
                octets(answering["chain"]),
                answering["position"],
                {int(i): octets(ok) for i, ok in answering["kept"].items()},
            ),
        ),
        previous=previous
        and Previous(
            previous["suite"],
            {x: octets(kid) for x, kid in previous["pseudonyms"].items()},
            octets(previous["peerK1"]),
        ),
        link=link,
    )
