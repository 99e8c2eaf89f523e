"""What stands in the durable records of a client or a hub, field by field (D "Records").

The reference keeps records of its own; this reads those of SKEX, to see that the text says what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..octets import DecodeError, Reader
from . import wire

CLIENT, HUB = 2, 3
REFILLED, WITHDRAWN = 64, 128

Fields = dict[str, Any]


def marks(reader: Reader) -> Fields:
    """15 octets for each table."""
    tables = []
    while reader.left:
        head = reader.number(1)
        if head & ~(REFILLED | 1):
            raise DecodeError("no direction")
        tables.append(
            {
                "direction": head & 1,
                "number": reader.number(2),
                "refilled": bool(head & REFILLED),
                "mark": reader.number(4),
                "erased": reader.number(4),
                "elements": reader.number(4),
            }
        )
    return {"tables": tables}


def relay(reader: Reader) -> Fields:
    """A share that a hub has accepted."""
    fields: Fields = {"responder": reader.number(4), "left": reader.number(4), "suite": reader.number(1)}
    fields["threshold"], count = reader.number(1), reader.number(1)
    fields |= {"keyLength": reader.number(4), "lifetime": reader.number(2)}
    bitmap = -(-count // 8)
    for name, length in (("coordinates", count), ("origins", bitmap), ("secretTag", 16)):
        fields[name] = reader.take(length)
    head = reader.number(1)
    fields |= {"refilled": bool(head & REFILLED), "withdrawn": None}
    fields |= dict.fromkeys(("confirmedOrigins", "confirmedLying", "confirmedTag"))
    told = head & ~REFILLED
    if told & WITHDRAWN:
        fields["withdrawn"] = told & ~WITHDRAWN
    elif told == bitmap:
        fields |= {"confirmedOrigins": reader.take(bitmap), "confirmedLying": reader.take(bitmap)}
        fields["confirmedTag"] = reader.take(16)
    elif told:
        raise DecodeError("bitmaps of another length")
    fields["share"] = reader.take(reader.left)
    if len(fields["share"]) not in (0, 16 * wire.secret_block_elements(fields["keyLength"])):
        raise DecodeError("a share of another length")
    return fields


def key(reader: Reader) -> Fields:
    """A key that came in, or its id beyond the lifetime."""
    if reader.left == 8:
        return {"place": reader.number(8)}
    fields: Fields = {"left": reader.number(4)}
    count, fields["assurance"] = reader.number(1), reader.number(1)
    bitmap = -(-count // 8)
    fields |= {"origins": reader.take(bitmap), "lying": reader.take(bitmap), "tag": reader.take(16)}
    fields["awaited"] = reader.take(reader.number(1))
    if fields["assurance"] > 1 or len(fields["awaited"]) > count:
        raise DecodeError("no key that came in")
    return fields | {"key": reader.take(reader.left)}


def initial_keys(reader: Reader) -> Fields:
    return {"present": reader.take(32), "next": reader.take(32) if reader.left else None}


def allowed(reader: Reader) -> Fields:
    all_but = reader.number(1)
    if all_but > 1:
        raise DecodeError("neither these nor all but these")
    return {"allBut": all_but == 1, "tags": [reader.take(16) for _ in range(-(-reader.left // 16))]}


def offer(reader: Reader) -> Fields:
    return {"offer": wire.decode_offer(reader.take(reader.left))}


def numbers(**lengths: int) -> Callable[[Reader], Fields]:
    return lambda reader: {name: reader.number(length) for name, length in lengths.items()}


# By machine and first octet of the name: the lengths of what else is in the name, and the value.
FORMS: dict[tuple[int, int], tuple[tuple[int, ...], Callable[[Reader], Fields]]] = {
    (CLIENT, 1): ((16,), marks),
    (CLIENT, 2): ((16, 16), key),
    (CLIENT, 3): ((16,), numbers(clientId=4)),
    (CLIENT, 4): ((16,), initial_keys),
    (HUB, 1): ((4,), marks),
    (HUB, 2): ((4, 16), relay),
    (HUB, 3): ((4, 1), numbers(table=2, elements=4)),
    (HUB, 4): ((4,), allowed),
    (HUB, 5): ((4,), offer),
    (HUB, 6): ((4,), lambda reader: {"tag": reader.take(16)}),
    (HUB, 7): ((4,), initial_keys),
    (HUB, 8): ((), numbers(index=2, shards=2)),
    (HUB, 9): ((4, 16), numbers(responder=4, left=4)),
    (HUB, 10): ((4, 16), numbers(left=4)),
}


def value(form: Callable[[Reader], Fields], octets: bytes) -> Fields:
    reader = Reader(octets)
    fields = form(reader)
    reader.end()
    return fields


def entry(machine: int, name: bytes, octets: bytes) -> tuple[int, Fields]:
    """What an entry is about, by the first octet of its name, and its fields."""
    reader = Reader(name)
    about = reader.number(1)
    if (machine, about) not in FORMS:
        raise DecodeError("no such entry")
    lengths, form = FORMS[machine, about]
    for length in lengths:
        reader.take(length)
    reader.end()
    return about, value(form, octets)
