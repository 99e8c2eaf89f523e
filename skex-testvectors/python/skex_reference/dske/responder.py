"""Keys that other clients make with this one (D "Responder", "Decoding").

What becomes durable is the key, until the application says that it has it, and the confirmation, by which (A, key id) is known. The
report is lost with a start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import decoding, wire
from . import key as keys
from .link import Answerable

if TYPE_CHECKING:
    from .client import Client

MAX_GROUPS = 64
# D "Timers": the report comes so long after the key, in seconds.
REPORT = 0.5


@dataclass
class Group:
    """Deliveries that agree in initiator, key id, context and o."""

    terms: wire.Terms
    context: bytes
    secret_tag: bytes
    ends: float
    # By hub: the share, what is to be answered, and the worst table by which the share came.
    shares: dict[int, bytes] = field(default_factory=dict)
    blocks: dict[int, Answerable] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """What stays of a key: the confirmation, repeated to the letter."""

    confirmation: wire.Confirmation
    context: bytes
    secret_tag: bytes
    # The hubs whose share had not come when this was said, and whose origin was said to be 0; until when that matters.
    missing: frozenset[int] = frozenset()
    ends: float = 0.0
    # Nothing once it was taken.
    key: bytes = b""

    @property
    def over(self) -> float:
        """A hub may have heard of it so much later than this client, and keeps what is missing for as long."""
        return self.ends + (int.from_bytes(self.context[56:58], "big") if self.missing else 0)


@dataclass
class Judged:
    """A group that was decoded, until every hub had its time: who lied is then seen anew, among all shares."""

    group: Group
    secret: bytes
    due: float


Name = tuple[bytes, bytes]


class Responder:
    def __init__(self, client: Client, stored: list[dict[str, str]], now: float) -> None:
        self._client = client
        self._groups: dict[tuple[Name, bytes, bytes], Group] = {}
        self._accepted: dict[Name, Accepted] = {}
        self._judged: dict[Name, Judged] = {}
        by_coordinate = {hub.coordinate: number for number, hub in enumerate(client.config.hubs)}
        for entry in stored:
            octets = {name: bytes.fromhex(value) for name, value in entry.items()}
            self._accepted[octets["initiator"], octets["keyId"]] = Accepted(
                wire.decode_confirmation(octets["confirmation"]),
                octets["context"],
                octets["secretTag"],
                frozenset(by_coordinate[x] for x in octets["missing"] if x in by_coordinate),
                # How long this client was down is not known: stored lifetimes count anew.
                now + int.from_bytes(octets["lifetime"], "big"),
                octets["key"],
            )
            if octets["key"]:
                self._give(octets["initiator"], octets["keyId"], octets["key"])

    def stored(self) -> list[dict[str, Any]]:
        return [
            {
                "initiator": initiator.hex(),
                "keyId": key_id.hex(),
                "confirmation": accepted.confirmation.encode().hex(),
                "context": accepted.context.hex(),
                "secretTag": accepted.secret_tag.hex(),
                "missing": bytes(self._client.config.hubs[hub].coordinate for hub in accepted.missing).hex(),
                "lifetime": accepted.context[56:58].hex(),
                "key": accepted.key.hex(),
            }
            for (initiator, key_id), accepted in self._accepted.items()
        ]

    def _give(self, initiator: bytes, key_id: bytes, key: bytes) -> None:
        from .client import Received

        self._client.effects.append(Received(key_id, initiator, key))

    def taken(self, initiator: bytes, key_id: bytes) -> None:
        """The application has the key: it is erased here."""
        self._accepted[initiator, key_id] = replace(self._accepted[initiator, key_id], key=b"")

    def timeout(self, now: float) -> None:
        self._groups = {name: group for name, group in self._groups.items() if now < group.ends}
        for name in [name for name, judged in self._judged.items() if now >= judged.due]:
            self._report(name, self._judged.pop(name))

    def waits_out_of_band(self, now: float, hub: int) -> bool:
        """Whether a share may still come of which was said that no refilled table carries it."""
        return any(hub in accepted.missing and now < accepted.over for accepted in self._accepted.values())

    def end_session(self, hub: int) -> None:
        """Nothing of the old session can be answered any more."""
        for group in self._groups.values():
            group.blocks.pop(hub, None)

    def delivery(self, now: float, hub: int, octets: bytes, message: wire.Delivery, number: int | None) -> None:
        """The first row of D "Responder" that fits."""
        ends = self._client.ends[hub]
        place = (message.table, message.index, number or 0)
        if ends.known(place):
            before = ends.answers[place]
            if before is not None:
                self._client.send(hub, before)
            return
        if len(self._groups) >= MAX_GROUPS:
            # Before the block is used: the hub tries again.
            self._client.send(hub, wire.Busy(message.table, message.index).encode())
            return
        opened = ends.open_share(octets, message, number)
        if opened is None:
            return
        block, share = opened
        refusal = self._refusal(hub, message, number is not None, block.origin)
        if refusal is not None:
            self._client.send(hub, ends.answer(block, refusal))
            return
        name = (message.peer, message.key_id)
        context = self._context(message)
        accepted = self._accepted.get(name)
        if accepted is not None and now >= accepted.over:
            self._client.send(hub, ends.answer(block, wire.Status.EXPIRED))
            return
        if accepted is not None:
            judged = self._judged.get(name)
            if judged and (context, message.secret_tag) == (judged.group.context, judged.group.secret_tag):
                judged.group.shares.setdefault(hub, share)
            if hub in accepted.missing:
                self._accepted[name] = replace(accepted, missing=accepted.missing - {hub})
            self._client.send(hub, ends.answer(block, wire.Status.ACCEPTED, accepted.confirmation))
            return
        for (known, other_context, other_tag), group in self._groups.items():
            if known == name and hub in group.shares and (other_context, other_tag) != (context, message.secret_tag):
                self._client.send(hub, ends.answer(block, wire.Status.KEY_ID_IN_USE))
                return
        group = self._groups.setdefault(
            (name, context, message.secret_tag),
            Group(message.terms, context, message.secret_tag, now + message.terms.lifetime),
        )
        group.shares.setdefault(hub, share)
        group.blocks[hub] = block
        group.origins[hub] = max(group.origins.get(hub, 0), block.origin)
        self._try(now, name, group)

    def _refusal(self, hub: int, message: wire.Delivery, is_sealed: bool, origin: int) -> wire.Status | None:
        config, terms = self._client.config, message.terms
        if message.peer not in config.accepts:
            return wire.Status.NOT_AUTHORISED
        roster = {hub.coordinate for hub in config.hubs}
        # The suite is that of the protection.
        if terms.suite not in config.suites or (terms.suite == keys.ITS) == is_sealed:
            return wire.Status.POLICY
        if terms.threshold < config.minimum_threshold or terms.lifetime > config.maximum_lifetime:
            return wire.Status.POLICY
        if config.information_theoretic and (terms.suite != keys.ITS or any(terms.origins) or origin == 1):
            return wire.Status.POLICY
        if not roster.issuperset(terms.coordinates):
            return wire.Status.POLICY
        if config.hubs[hub].coordinate not in terms.coordinates:
            return wire.Status.MALFORMED_CONTEXT
        return None

    def _context(self, message: wire.Delivery) -> bytes:
        """Hub ids come from the own roster, never from a message."""
        terms, config = message.terms, self._client.config
        roster = {hub.coordinate: hub.link.hub_id for hub in config.hubs}
        refilled = wire.named(terms.origins, terms.coordinates)
        return keys.context(
            terms.suite,
            message.key_id,
            message.peer,
            config.tag,
            terms.threshold,
            terms.key_length,
            terms.lifetime,
            [keys.HubOfKey(roster[x], x, int(x in refilled)) for x in terms.coordinates],
        )

    def _try(self, now: float, name: Name, group: Group) -> None:
        client = self._client
        if client.config.information_theoretic and any(self._origins(group)):
            # Another share may come by a better table than the one that is feared of its hub now.
            return
        found = decoding.decode(group.terms.threshold, self._shares(group), group.context, group.secret_tag)
        if found is None:
            return
        confirmation = self._confirmation(name, group, found)
        said = wire.named(confirmation.origins, group.terms.coordinates)
        missing = frozenset(
            number
            for number, hub in enumerate(client.config.hubs)
            if hub.coordinate in group.terms.coordinates
            and number not in group.shares
            and hub.coordinate not in said
        )
        key = keys.key_of_block(found.secret, group.terms.key_length)
        self._accepted[name] = Accepted(confirmation, group.context, group.secret_tag, missing, group.ends, key)
        self._groups = {other: kept for other, kept in self._groups.items() if other[0] != name}
        client.persist()
        self._judged[name] = Judged(group, found.secret, now + REPORT)
        self._give(*name, key)
        for hub, block in group.blocks.items():
            client.send(hub, client.ends[hub].answer(block, wire.Status.ACCEPTED, confirmation))

    def _shares(self, group: Group) -> list[tuple[int, bytes]]:
        """The coordinate of a share is that of the link on which it came."""
        return [(self._client.config.hubs[hub].coordinate, share) for hub, share in group.shares.items()]

    def _report(self, name: Name, judged: Judged) -> None:
        """Who lied, among all shares that came; wrong ones whose errors cancel at zero may have hidden before."""
        from .client import Report

        found = decoding.blame(judged.group.terms.threshold, dict(self._shares(judged.group)), judged.secret)
        self._client.effects.append(Report(name[1], tuple(found.culprits), found.blame_is_certain))

    def _confirmation(self, name: Name, group: Group, found: decoding.Decoded) -> wire.Confirmation:
        """Fixed once: B's origins, and who lied or told another story."""
        hubs = {hub.coordinate: number for number, hub in enumerate(self._client.config.hubs)}
        others = {
            hub
            for (known, _, _), other in self._groups.items()
            if known == name and other is not group
            for hub in other.shares
        }
        coordinates = group.terms.coordinates
        origins = wire.bitmap([origin == 1 for origin in self._origins(group)])
        lying = wire.bitmap([x in found.culprits or hubs[x] in others for x in coordinates])
        tag = keys.confirmation_tag(keys.confirm_key_of_block(found.secret), group.context, origins, lying)
        return wire.Confirmation(origins, lying, tag)

    def _origins(self, group: Group) -> list[int]:
        """Of the hubs of the key, in their order."""
        hubs = {hub.coordinate: number for number, hub in enumerate(self._client.config.hubs)}
        return [self._origin(hubs[x], group) for x in group.terms.coordinates]

    def _origin(self, hub: int, group: Group) -> int:
        """D "Several tables", "Origins"."""
        if hub in group.origins:
            return group.origins[hub]
        ends = self._client.ends[hub]
        if ends.granted_refilled or ends.granted_before:
            return 1
        left = [receiver.table.origin for _, receiver in sorted(ends.receivers.items()) if not receiver.used_up]
        return left[0] if left else 0
