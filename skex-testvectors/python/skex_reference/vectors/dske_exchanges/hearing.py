"""What a message changes at the end that takes it."""

from __future__ import annotations

from ...dske import envelope, epochs, wire
from ...octets import xor
from ...suites import NotAuthentic
from .link import Link, decoded
from .world import World


def hear(world: World, end: str, other: str, octets: bytes) -> None:
    link = world.link(end, other)
    own = link.ends[end]
    message = wire.decode_outer(octets)
    if link.revoked and end == link.hub:
        return
    if not isinstance(message, wire.Sealed):
        found = link.reply_is_under(own, message) if isinstance(message, wire.HelloReply) else None
        if found is not None:
            own.begin(link.session_of((found[0], message.salt), found[1]))
            own.salt = found[0]
        return
    session, is_new = own.session, False
    if end == link.hub and message.salt is not None and (session is None or session.salts[0] != message.salt):
        try:
            session, _ = link.session_that_opens(own, message, world.hub_salt(link, message.salt))
        except NotAuthentic:
            return
        own.begin(session)
        link.generation += 1
        is_new = True
    if session is None:
        return
    key = session.keys.downlink if end == link.client else session.keys.uplink
    try:
        inner = envelope.open_sealed(link.suite, key, message)
    except NotAuthentic:
        return
    if is_new or end == link.client:
        own.proves(session)
    if own.window.fresh(message.seq):
        own.window.mark(message.seq)
        for contained in wire.each(inner):
            _take(world, link, end, contained)


def _take(world: World, link: Link, end: str, inner: bytes) -> None:
    """What this message changes for what comes later."""
    own = link.ends[end]
    _, message = decoded(inner)
    match message:
        case wire.LeaseRequest():
            own.granted = message
        case wire.LeaseGrant() | wire.LeaseDenied():
            own.asked = None
        case wire.Share():
            if inner[0] in epochs.ONE_TIME:
                if (message.table, message.index) not in own.epochs:
                    own.used.append((message.table, message.index, message.index + 4))
                own.epochs[message.table, message.index] = message.terms.suite
            else:
                length = 4 + wire.secret_block_elements(message.terms.key_length)
                own.used.append((message.table, message.index, message.index + length))
            own.contents.setdefault(message.key_id, (message.peer, message.terms, message.secret_tag))
            if end == link.client:
                key = next(key for key in world.keys if key.key_id == message.key_id)
                key.came.setdefault(link.coordinate, _share_in(link, inner, message))
        case wire.Command():
            own.used.append((message.table, message.index, message.index + 4))
        case wire.Outcome() if message.found is not None:
            world.said[end][link.coordinate] = message.found
        case wire.Refill():
            known = (message.direction, message.table)
            before = own.refill if own.refill and own.refill[:2] == known else None
            so_far = before[2] if before else b""
            if 16 * message.first == len(so_far):
                own.refill = (*known, so_far + message.pad)
        case wire.Refilled():
            table = link.refills.get((message.direction, message.table), b"")
            if table and 16 * message.next == len(table):
                link.tables[message.direction, message.table] = table


def _share_in(link: Link, inner: bytes, delivery: wire.Share) -> bytes:
    way, at = wire.DOWNLINK, (delivery.table, delivery.index)
    if inner[0] in epochs.ONE_TIME:
        suite = delivery.terms.suite
        _, share_key = link.epoch_keys(way, suite, *at)
        return epochs.open_sealed(suite, share_key, link.before(way), inner)
    return xor(delivery.share, link.elements(way, at[0], at[1] + 4, len(delivery.share) // 16))
