"""The clients, hubs, links and keys of an exchange, and what all of them together know at a moment."""

from __future__ import annotations

from collections.abc import Iterator

from ...dske import envelope, wire
from ...suites import SUITES
from ..case import Case, Json
from .key import Key
from .link import Link, Session


class World:
    def __init__(self, case: Case) -> None:
        test = case.test
        self.clients = {client["name"]: client for client in test["clients"]}
        self.hubs = {hub["name"]: hub for hub in test["hubs"]}
        self.links = [
            Link(link, self.hubs[link["hub"]], self.clients[link["client"]], test["envelopeSuite"])
            for link in test["links"]
        ]
        ends = [*test["clients"], *test["hubs"]]
        # What is left of it; how many keys were asked for.
        self.random = {end["name"]: bytes.fromhex(end["random"]) for end in ends}
        self.keys = [Key(stated) for stated in test["keys"]]
        self.keys_asked = 0
        self.sent: set[bytes] = set()
        # In the order of the file: by client, hub, direction, table, index.
        self.blocks: dict[tuple[int, int, int, int], int] = {}
        self.epochs: dict[tuple[int, int, int, int], int] = {}
        self.sessions: list[tuple[Link, Session]] = []
        # The key of each delivery, by link, table, index and number.
        self.delivered: dict[tuple[int, int, int, int], int] = {}
        # What hubs said of the name that a client looks up, by coordinate.
        self.said: dict[str, dict[int, wire.Found]] = {}

    def link(self, one: str, other: str) -> Link:
        return next(link for link in self.links if {link.client, link.hub} == {one, other})

    def of(self, end: str) -> list[Link]:
        return [link for link in self.links if end in (link.client, link.hub)]

    def hub_salt(self, link: Link, salt: bytes) -> bytes:
        # Informative. A hub has one boot key, whatever the suites of its links.
        return envelope.hub_salt(SUITES[1], link.boot_key, link.client_id, salt, link.generation)

    def note_deliveries(self, steps: list[Json]) -> None:
        for step in steps:
            for to, message in messages(step):
                if message["message"].startswith("DELIVERY"):
                    at = message["choices"]
                    link = self.links.index(self.link(step["end"], to))
                    self.delivered[link, at["table"], at["index"], at.get("number", 0)] = at["key"]


def messages(step: Json) -> Iterator[tuple[str, Json]]:
    """What a step sends, to whom: of a SEVERAL what is in it."""
    for output in step["outputs"]:
        if output["type"] == "Send":
            for message in output["messages"] or [output]:
                yield output["to"], message
