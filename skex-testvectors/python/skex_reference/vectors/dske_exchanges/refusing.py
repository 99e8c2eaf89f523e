"""The receiver of the last message of an invalid test: the first layer that refuses it."""

from __future__ import annotations

from typing import Any

from ...dske import envelope, epochs, wire
from ...dske import key as keys
from ...octets import DecodeError, Policy, WrongState
from ...suites import NotAuthentic, equal
from .link import Link, LinkEnd, decoded
from .world import World

# What never goes to a hub, and what never goes to a client.
TO_CLIENTS = (wire.Delivery, wire.Busy, wire.Confirm, wire.Fetched, wire.Refill, wire.Outcome)
TO_HUBS = (wire.Upload, wire.Fetch, wire.Refilled, wire.Command)
# Elements of a table that the clients of these tests take over the network.
LONGEST_REFILL = 65536


def refuse(world: World, end: str, other: str, octets: bytes) -> None:
    """Raises what refuses the message, at the first layer that does (D "Outer messages" to "Commands")."""
    message = wire.decode_outer(octets)
    links = [link for link in world.of(end) if link.client_id == message.client_id]
    if end in world.clients:
        links = [link for link in links if link.hub == other]
    if not links or links[0].revoked and end == links[0].hub:
        raise WrongState("a client id that the hub has not given, or has revoked")
    link = links[0]
    inner = _opened(world, link, end, message)
    if inner is None:
        return
    several = wire.each(inner)
    refused: list[Exception] = []
    for octets in several:
        try:
            _refuse_inner(world, link, end, octets)
        except (DecodeError, NotAuthentic, Policy, WrongState) as error:
            refused.append(error)
    # One that is taken is enough.
    if len(refused) == len(several):
        raise refused[0]


def _refuse_inner(world: World, link: Link, end: str, inner: bytes) -> None:
    number, what = decoded(inner)
    if isinstance(what, TO_CLIENTS if end == link.hub else TO_HUBS):
        raise WrongState("a message that never goes this way")
    _judge(world, link, end, inner, number, what)


def _opened(world: World, link: Link, end: str, message: wire.Outer) -> bytes | None:
    own, suite = link.ends[end], link.suite
    if isinstance(message, wire.Sealed):
        session = own.session
        if end == link.hub and message.salt is not None and (session is None or session.salts[0] != message.salt):
            return link.session_that_opens(own, message, world.hub_salt(link, message.salt))[1]
        if session is None or (end == link.client and message.salt is not None):
            raise WrongState("no session that could open it")
        if not own.window.fresh(message.seq):
            raise WrongState("it was taken before")
        key = session.keys.uplink if end == link.hub else session.keys.downlink
        return envelope.open_sealed(suite, key, message)
    if isinstance(message, wire.HelloReply):
        if end == link.hub or own.session is not None and not own.probe:
            raise WrongState("no hello waits for it")
        verifies = link.reply_is_under(own, message) is not None
    elif isinstance(message, wire.Hello):
        if end == link.client:
            raise WrongState("a message that never goes this way")
        verifies = link.hello_is_under(own, message) is not None
    else:
        raise WrongState("about no message of this end")
    if not verifies:
        raise NotAuthentic("a hello")
    return None


def _judge(world: World, link: Link, end: str, inner: bytes, number: int, message: Any) -> None:
    own, receives = link.ends[end], wire.UPLINK if end == link.hub else wire.DOWNLINK
    match message:
        case wire.LeaseRequest():
            before = own.granted
            if before and before.nonce != message.nonce and message.mark <= before.mark:
                raise WrongState("a repetition that came late")
        case wire.LeaseGrant():
            asked = own.asked
            if asked is None or (asked.nonce, asked.table) != (message.nonce, message.table):
                raise WrongState("nothing that was asked")
            if message.start < asked.mark or not 3 <= message.end - message.start <= asked.want:
                raise WrongState("another lease than was asked for")
            _verify(link, receives, inner, 1 - receives, message.table, message.start)
        case wire.LeaseDenied():
            if own.asked is None or own.asked.nonce != message.nonce:
                raise WrongState("nothing that was asked")
        case wire.Share():
            sealed = inner[0] in epochs.ONE_TIME
            _judge_share(world, link, own, end, inner, number if sealed else None, message)
        case wire.Command():
            _must_open(link, own, receives, message.table, message.index, 4)
            _verify(link, receives, inner, receives, message.table, message.index + 2)
        case wire.Answer() | wire.Outcome():
            if (message.table, message.index, number) not in own.sent:
                raise WrongState("the answer to what was not sent")
            if inner[0] in epochs.ONE_TIME:
                suite = own.epochs[message.table, message.index]
                answer_key, _ = link.epoch_keys(1 - receives, suite, message.table, message.index)
                epochs.open_sealed(suite, answer_key, link.before(receives), inner)
            else:
                _verify(link, receives, inner, 1 - receives, message.table, message.index)
        case wire.Confirm():
            key = next((key for key in world.keys if key.key_id == message.key_id), None)
            if key is None or key.stated["responder"] != message.peer.hex():
                raise WrongState("a key that nobody asked for")
            told = message.confirmation
            right = keys.confirmation_tag(key.parts["confirmKey"], key.context, told.origins, told.lying)
            if not equal(right, told.tag):
                raise NotAuthentic("B's tag")
        case wire.Refill():
            if message.elements > LONGEST_REFILL:
                raise Policy("longer than this client takes")
            if message.first:
                raise WrongState("not the next part")
        case wire.Refilled():
            table = link.refills.get((message.direction, message.table))
            if table is None or 16 * message.next > len(table):
                raise WrongState("no such table is sent")


def _verify(link: Link, way: int, inner: bytes, of: int, table: int, index: int) -> None:
    if not equal(link.tag(link.elements(of, table, index, 2), way, inner[:-16]), inner[-16:]):
        raise NotAuthentic("a one-time tag")


def _must_open(link: Link, own: LinkEnd, way: int, table: int, index: int, length: int) -> None:
    """D "Opening blocks"."""
    if (way, table) not in link.tables or (way, table) in own.retired:
        raise WrongState("no such table")
    if not any(of == table and start + 2 <= index and index + length <= end for of, start, end in own.leases):
        raise WrongState("no lease holds the block")
    if any(of == table and index < end and start < index + length for of, start, end in own.used):
        raise WrongState("it overlaps a block that was used")


def _judge_share(world: World, link: Link, own: LinkEnd, end: str, inner: bytes, number: int | None, message: wire.Share
) -> None:
    way = wire.UPLINK if end == link.hub else wire.DOWNLINK
    terms = message.terms
    if number is None:
        length = 4 + wire.secret_block_elements(terms.key_length)
        _must_open(link, own, way, message.table, message.index, length)
        _verify(link, way, inner, way, message.table, message.index + 2)
    else:
        if (message.table, message.index) not in own.epochs:
            _must_open(link, own, way, message.table, message.index, 4)
        _, share_key = link.epoch_keys(way, terms.suite, message.table, message.index)
        epochs.open_sealed(terms.suite, share_key, link.before(way), inner)
    content = (message.peer, terms, message.secret_tag)
    if own.contents.get(message.key_id, content) != content:
        raise Policy("the key id came with other content before")
    if end == link.hub:
        tags_there = [other.client_tag for other in world.of(end) if not other.revoked]
        if message.peer not in tags_there:
            raise Policy("no client with the responder's tag")
        if not world.hubs[end]["authorised"]:
            raise Policy("the responder has not authorised the initiator")
        if terms.suite not in world.hubs[end]["suites"]:
            raise Policy("a suite that the hub does not relay")
        return
    policy = world.clients[end]
    if terms.threshold < policy["minimumThreshold"]:
        raise Policy("a threshold below the responder's")
    if terms.lifetime > policy["longestLifetime"]:
        raise Policy("a lifetime longer than the responder's")
    if policy["informationTheoretic"] and (terms.suite != keys.ITS or any(terms.origins)):
        raise Policy("less assurance than the responder's")
    if not set(terms.coordinates) <= {other.coordinate for other in world.of(end)}:
        raise Policy("a hub that the responder does not have")
