"""A passive client: what somebody finds who has the tables and initial keys of some links, and recorded what was sent
over them (D "What is not provided", "Envelope")."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..octets import Argument, DecodeError, WrongState, xor
from ..suites import NotAuthentic, Suite, equal
from . import envelope, epochs, tags, wire
from . import key as keys
from .sharing import interpolate


@dataclass
class ObservedLink:
    hub_id: bytes
    coordinate: int
    client_id: int
    k0: bytes
    # By direction and number.
    tables: dict[tuple[int, int], bytes]
    salts: dict[int, bytes] = field(default_factory=dict)

    def elements(self, direction: int, table: int, first: int, count: int) -> bytes:
        if (direction, table) not in self.tables:
            raise WrongState("a table that the observer does not have")
        return self.tables[direction, table][16 * first : 16 * (first + count)]


@dataclass(frozen=True)
class ObservedShare:
    coordinate: int
    share: bytes
    message: wire.Share


@dataclass(frozen=True)
class FoundKey:
    key_id: bytes
    initiator: bytes
    responder: bytes
    terms: wire.Terms
    context: bytes
    block: bytes
    secret_tag: bytes
    shares: dict[int, bytes]
    confirmation: wire.Confirmation | None


class Observer:
    def __init__(self, suite: Suite, client_tag: bytes, roster: dict[int, bytes], links: dict[str, ObservedLink]) -> None:
        self._suite = suite
        self._tag = client_tag
        # Hub ids by coordinate.
        self._roster = roster
        self._links = links
        self._shares: dict[int, ObservedShare] = {}
        self._confirmation: wire.Confirmation | None = None

    def see(self, hub: str, direction: int, octets: bytes) -> None:
        link = self._links[hub]
        message = wire.decode_outer(octets)
        if isinstance(message, wire.Sealed):
            for inner in wire.each(self._open(link, direction, message)):
                self._look_inside(link, direction, inner)
        elif isinstance(message, wire.HelloReply):
            link.salts[1] = message.salt
        elif isinstance(message, wire.Hello):
            link.salts[0] = message.salt

    def _open(self, link: ObservedLink, direction: int, message: wire.Sealed) -> bytes:
        if len(link.salts) < 2:
            raise WrongState("the hellos were not recorded")
        session = envelope.session_keys(
            self._suite, link.k0, link.salts[0], link.salts[1], link.client_id, link.hub_id
        )
        key = session.uplink if direction == wire.UPLINK else session.downlink
        return envelope.open_sealed(self._suite, key, message)

    def _look_inside(self, link: ObservedLink, direction: int, inner: bytes) -> None:
        if inner[0] in (11, 12):
            self._sealed_share(link, direction, inner)
            return
        if inner[0] == 13:
            _, answer = epochs.decode(inner)
            assert isinstance(answer, wire.Answer)
            self._confirmation = answer.confirmation or self._confirmation
            return
        message = wire.decode_inner(inner)
        if isinstance(message, wire.Answer | wire.Confirm):
            self._confirmation = message.confirmation or self._confirmation
        if not isinstance(message, wire.Share):
            return
        length = wire.secret_block_elements(message.terms.key_length)
        key = link.elements(direction, message.table, message.index + 2, 2)
        tag_input = wire.tag_input(direction, link.client_id, link.hub_id, inner[:-16])
        if not equal(tags.message_tag(key, tag_input), message.tag):
            raise NotAuthentic("another table")
        pad = link.elements(direction, message.table, message.index + 4, length)
        share = xor(message.share, pad) if message.share else pad
        self._shares[link.coordinate] = ObservedShare(link.coordinate, share, message)

    def _sealed_share(self, link: ObservedLink, direction: int, inner: bytes) -> None:
        _, message = epochs.decode(inner)
        assert isinstance(message, wire.Share)
        secrets = link.elements(direction, message.table, message.index, 4)
        _, share_key = epochs.keys(
            self._suite,
            direction,
            link.client_id,
            link.hub_id,
            message.terms.suite,
            message.table,
            message.index,
            secrets[:32],
            secrets[32:],
        )
        before = wire.tag_input(direction, link.client_id, link.hub_id, b"")
        share = epochs.open_sealed(message.terms.suite, share_key, before, inner)
        self._shares[link.coordinate] = ObservedShare(link.coordinate, share, message)

    def key(self, is_upload: bool) -> FoundKey:
        """The key, from as many shares as its threshold; `is_upload` tells whether the client is the initiator."""
        if not self._shares:
            raise WrongState("no share was recorded")
        message = next(iter(self._shares.values())).message
        terms = message.terms
        if len(self._links) < terms.threshold:
            raise Argument("fewer links than the threshold")
        if len(self._shares) < terms.threshold:
            raise WrongState("fewer shares than the threshold")
        initiator, responder = (self._tag, message.peer) if is_upload else (message.peer, self._tag)
        origins = int.from_bytes(terms.origins, "little")
        hubs = [
            keys.HubOfKey(self._roster[x], x, origins >> i & 1) for i, x in enumerate(terms.coordinates)
        ]
        context = keys.context(
            terms.suite,
            message.key_id,
            initiator,
            responder,
            terms.threshold,
            terms.key_length,
            terms.lifetime,
            hubs,
        )
        shares = {x: found.share for x, found in sorted(self._shares.items())}
        first = list(shares.items())[: terms.threshold]
        block = interpolate(dict(first), 0)
        if not equal(keys.tag_of_block(block, context), message.secret_tag):
            raise NotAuthentic("another secret tag")
        # The other shares follow from the block and the k - 1 first ones.
        points = dict([(0, block), *first[:-1]])
        for x in terms.coordinates:
            shares.setdefault(x, interpolate(points, x))
        if self._confirmation is not None and not equal(
            keys.confirmation_tag(
                keys.confirm_key_of_block(block),
                context,
                self._confirmation.origins,
                self._confirmation.lying,
            ),
            self._confirmation.tag,
        ):
            raise DecodeError("the confirmation is of another key")
        return FoundKey(
            message.key_id,
            initiator,
            responder,
            terms,
            context,
            block,
            message.secret_tag,
            dict(sorted(shares.items())),
            self._confirmation,
        )
