"""Holds the dissector against captures: python3 check.py DEMO.pcap VECTORS. DEMO.pcap.keys lies beside the capture.

Every datagram of `skex demo`, every message of every exchange of the vectors of both protocols, and every message of the wire vectors is
dissected. Where it is valid, its type is named, each of its octets is in a field, and envelopes are opened if the vectors give the
keys. What a decoder has to refuse is marked, and so is whatever is cut or prolonged. Fields are held by name and value against the
wire vectors of draft-skex-dske, and by name and length against the tables of draft-skex-unmediated; names of types and statuses against
both. So a message, a field or a status that is added there and not here fails.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import struct
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import spec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from tshark import DSKE, UNMEDIATED, Dissected, Layer, dissect, packets, write

K0, HUB, CLIENT, SALT_C, SALT_H = bytes(range(32)), b"\xa1" * 16, 7, b"\x5c" * 16, b"\x54" * 16
AEADS = {1: AESGCM, 2: ChaCha20Poly1305, 3: AESGCM, 4: ChaCha20Poly1305, 5: AESGCM}
# Of a message in an envelope; what a datagram over IPv4 holds is a little more.
LONGEST = 60000
# Of a SEVERAL; and what may be in it.
LONGEST_SEVERAL, ABOUT_KEYS = 8192, {4, 5, 6, 7, 8, 11, 12, 13}

INNER, OUTER = spec.inner_types(), spec.outer_types()
ANSWERS, OUTCOMES = spec.answer_statuses(), spec.outcome_statuses()
UNMEDIATED_FIELDS = spec.unmediated_fields()


def cases(vectors: Path, name: str):
    for group in json.loads((vectors / f"{name}.json").read_text())["testGroups"]:
        for case in group["tests"]:
            yield group["type"], case


# ---- what holds of every message


def check_named(row: Dissected, octets: bytes, inner: bytes | None) -> None:
    """Its types are named, and each octet is in a field."""
    assert row.outer.octets == octets, "octets in no field"
    if row.protocol == "skexd":
        kind = octets[0] & 15
        assert row.outer.only("type").shown == f"{OUTER[kind]} ({kind})", row.outer.only("type").shown
        assert (row.inner is None) == (inner is None), "opened, or not, otherwise than it should be"
        if row.inner is not None:
            check_inner(row.inner, inner)
    else:
        check_unmediated(row.outer, octets)


def check_inner(layer: Layer, inner: bytes) -> None:
    assert layer.octets == inner, "octets of the inner message in no field"
    shown = layer.only("inner").shown
    assert shown == f"{INNER[inner[0]]} ({inner[0]})", shown
    for status in layer.named("status") + layer.named("outcome"):
        names = OUTCOMES if status.name == "outcome" else ANSWERS
        name = names.get(status.number, "Unknown")
        assert status.shown == f"{name} ({status.number})", status.shown
    for message, octets in zip(layer.messages, layer.named("message"), strict=True):
        if not message.malformed:
            check_inner(message, octets.octets)


def check_unmediated(layer: Layer, octets: bytes) -> None:
    """The fields are those of the tables of draft-skex-unmediated, in order; a block or a cookie may be absent."""
    kind = octets[0] & 15
    assert not layer.only("type").shown.startswith("Unknown")
    wanted = UNMEDIATED_FIELDS[kind]
    for found in layer.fields:
        fitting = [length for name, length in wanted if name == found.name]
        assert fitting, f"{found.name} is not in the table"
        assert None in fitting or len(found.octets) in fitting, f"{found.name} has {len(found.octets)} octets"
    optional = {"extension", "cookie_length", "cookie"} if kind == 1 else {"extension"}
    order = [name for name, _ in groupby(field.name for field in layer.fields if field.name not in optional)]
    assert order == [name for name, _ in groupby(name for name, _ in wanted if name not in optional)], order
    nested = {"void": 1 if kind in (1, 2, 5) else 0, "stateless": kind in (2, 5), "round": kind in (1, 5)}
    for name, least in nested.items():
        assert len(layer.named(name)) >= least, name
    blocks = [len(field.octets) for field in layer.named("extension")]
    assert len(layer.named("mix_offer")) == 2 * blocks.count(16) and len(layer.named("mix_choice")) == blocks.count(1)


# ---- the demo


def check_demo(demo: Path) -> None:
    rows = dissect(demo, Path(f"{demo}.keys"))
    for row, payload in zip(rows, packets(demo.read_bytes()), strict=True):
        assert row.protocol and not row.malformed and not row.closed, "of neither protocol, malformed, or closed"
        check_named(row, payload, None if row.inner is None else row.inner.octets)
    opened = [layer for row in rows if row.inner for layer in (row.inner, *row.inner.messages)]
    assert not any(layer.malformed for layer in opened)
    assert {layer.only("inner").number for layer in opened} >= {1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13}
    blind = dissect(demo)
    assert not any(row.malformed or row.inner for row in blind), "without keys, envelopes stay closed"
    print(f"demo: {len(rows)} datagrams, all dissected, {sum(row.inner is not None for row in rows)} envelopes opened")


def check_damage(demo: Path, scratch: Path) -> None:
    datagrams, seen = [], set()
    for payload in packets(demo.read_bytes()):
        kind = (payload[0], len(payload))
        # A message of every kind. Sealed ones are for keys to judge.
        sealed = payload[0] & 15 in (3, 4) and len(payload) != 27
        if kind in seen or sealed:
            continue
        seen.add(kind)
        port = DSKE if (payload[0] & 15 <= 2 and len(payload) == 37) or len(payload) == 21 else UNMEDIATED
        for damaged in [payload[:cut] for cut in range(1, len(payload))] + [payload + b"\0"]:
            datagrams.append((port, damaged))
    write(scratch, datagrams)
    rows = dissect(scratch, ports=True)
    assert len(rows) == len(datagrams) and all(row.malformed for row in rows), "a damaged datagram is not marked"
    print(f"damage: {len(rows)} datagrams, all marked")


# ---- messages alone


def expand(prk: bytes, label: bytes, context: bytes) -> bytes:
    info = b"\0\x20" + bytes([len(label)]) + label + struct.pack(">H", len(context)) + context
    return hmac.digest(prk, info + b"\1", hashlib.sha256)


def session() -> tuple[list[bytes], list[bytes]]:
    """The hellos of the example of draft-skex-dske, and the two keys that follow."""
    head = struct.pack(">I", CLIENT)
    prk0 = hmac.digest(b"", K0, hashlib.sha256)
    hello, reply = b"\x11" + head + SALT_C, b"\x12" + head + SALT_H
    hello += hmac.digest(expand(prk0, b"skex d1 hi client", HUB), hello, hashlib.sha256)[:16]
    reply += hmac.digest(expand(prk0, b"skex d1 hi hub", HUB), SALT_C + reply, hashlib.sha256)[:16]
    prk = hmac.digest(SALT_C + SALT_H, K0, hashlib.sha256)
    return [hello, reply], [expand(prk, label, head + HUB) for label in (b"skex d1 env hub", b"skex d1 env cl")]


# How the dissector calls what the wire vectors call otherwise than it, but for capitals; behind the type where it depends on that.
FIELD_NAMES = {
    "coordinates": "coordinate",
    "suites": "suite",
    "client": "client_tag",
    "direction": "table_direction",
    "confirmation.tag": "confirmation_tag",
    "messages": "message",
    "OUTCOME.status": "outcome",
    "HELLO.salt": "salt_c",
    "HELLO_REPLY.salt": "salt_h",
    "SEALED_FRESH.salt": "salt_c",
    "SEALED.tag": "aead_tag",
    "SEALED_FRESH.tag": "aead_tag",
}


def stated(message, kind: str, within: str = ""):
    """The names that the dissector has for the fields of a message, and their values."""
    for name, value in message.items():
        if isinstance(value, dict):
            yield from stated(value, kind, name)
        elif name != "type" and value is not None:
            snake = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
            yield next((FIELD_NAMES[key] for key in (f"{kind}.{name}", f"{within}.{name}", name) if key in FIELD_NAMES), snake), value


def check_fields(layer: Layer, message) -> None:
    claimed = {"version", "type", "inner", "hubs", "suite_count", "message_length"}
    for name, value in stated(message, message["type"]):
        found = layer.named(name)
        claimed.add(name)
        if isinstance(value, str):
            assert (not value and not found) or bytes.fromhex(value) in [field.octets for field in found], name
        else:
            values = value if isinstance(value, list) else [value]
            values = [int(one, 16) if isinstance(one, str) else one for one in values]
            assert [field.number for field in found] == values, f"{name}: {values}"
    unknown = [field.name for field in layer.fields if field.name not in claimed]
    assert not unknown, f"the vectors have no {unknown}"


def sealed(key: bytes, sequence: int, inner: bytes) -> bytes:
    aad = b"\x13" + struct.pack(">II", CLIENT, sequence)
    return aad + AESGCM(key).encrypt(bytes(8) + struct.pack(">I", sequence), inner, aad)


def messages_alone(vectors: Path):
    yield from cases(vectors, "dske-wire")
    yield from (("Inner", case) for group, case in cases(vectors, "dske-epochs") if group == "Sealed")


def check_message(layer: Layer, case) -> None:
    if "message" in case:
        check_fields(layer, case["message"])
    if "number" in case:
        assert layer.only("number").number == case["number"]


def dissect_session(scratch: Path, datagrams: list[bytes]) -> list[Dissected]:
    write(scratch, [(DSKE, octets) for octets in datagrams])
    key_file = scratch.with_suffix(".keys")
    key_file.write_text(f"{CLIENT} {HUB.hex()} 1 {K0.hex()}\n")
    return dissect(scratch, key_file, ports=True)


def check_wire(vectors: Path, scratch: Path) -> None:
    hellos, keys = session()
    datagrams, inners, kept = hellos[:], [None, None], [None, None]
    left_out = 0
    for group, case in messages_alone(vectors):
        octets = bytes.fromhex(case["octets"])
        if not octets or len(octets) > LONGEST:
            # No datagram holds it.
            left_out += 1
            continue
        if group == "Inner":
            sequence = len(datagrams)
            inners.append(octets)
            octets = sealed(keys[sequence % 2], sequence, octets)
        else:
            inners.append(None)
        datagrams.append(octets)
        kept.append(case)
    rows = dissect_session(scratch, datagrams)
    malformed, types = 0, set()
    for row, octets, inner, case in zip(rows, datagrams, inners, kept, strict=True):
        try:
            # What a tag, a ledger or a policy refuses is well formed.
            wanted = case is not None and case["refusedBy"] == "decode"
            assert row.malformed == wanted, f"malformed: {row.malformed}"
            malformed += wanted
            if not wanted:
                check_named(row, octets, inner)
                types.add(INNER[inner[0]] if inner else OUTER[octets[0] & 15])
                if case is not None:
                    check_message(row.inner or row.outer, case)
        except AssertionError as wrong:
            raise AssertionError(f"{case and (case['name'], case['comment'])}: {wrong}") from None
    assert types == {*INNER.values(), *OUTER.values()}, f"without a vector: {types}"
    print(f"wire: {len(rows)} messages of all {len(types)} types, {malformed} of them malformed and marked; {left_out} not in datagrams")


def several(*messages: bytes) -> bytes:
    return b"\x0e" + b"".join(struct.pack(">H", len(octets)) + octets for octets in messages)


def check_several(vectors: Path, scratch: Path) -> None:
    """The messages of the vectors that may be in one, put together: each is what it is alone, and marked alone. Of a frame that is wrong
    nothing is shown."""
    found = [(bytes.fromhex(case["octets"]), case) for group, case in messages_alone(vectors) if group == "Inner"]
    found = [one for one in found if one[0] and one[0][0] in ABOUT_KEYS and len(one[0]) < 1000]
    bunches = [found[at : at + 7] for at in range(0, len(found) - 1, 6)]
    busy = b"\x07" + bytes(6)
    longest = several(busy, b"\4".ljust(LONGEST_SEVERAL - len(several(busy, b"")), b"\0"))
    right = [several(*(octets for octets, _ in bunch)) for bunch in bunches]
    right += [several(busy, bytes([kind])) for kind in ABOUT_KEYS] + [longest]
    wrong = [several(busy, bytes([kind])) for kind in {*range(256)} - ABOUT_KEYS]
    wrong += [several(busy), several(busy, several(busy, busy)), several(busy, busy, b""), several(b"", b"")]
    wrong += [several(busy, longest[len(several(busy, b"")) :] + b"\0"), several(busy, busy) + b"\0", several(busy, busy) + b"\0\xff"]
    wrong += [several(busy, busy)[:end] for end in range(1, len(several(busy, busy)))]
    hellos, keys = session()
    rows = dissect_session(scratch, hellos + [sealed(keys[0], number, inner) for number, inner in enumerate(right + wrong)])[2:]
    for row, inner, bunch in zip(rows, right, bunches):
        assert not row.malformed, inner.hex()
        check_inner(row.inner, inner)
        for layer, (octets, case) in zip(row.inner.messages, bunch, strict=True):
            assert layer.malformed == (case["refusedBy"] == "decode"), case["name"]
            if not layer.malformed:
                check_message(layer, case)
    for row, inner in zip(rows, right + wrong, strict=True):
        assert row.malformed == (inner in wrong), inner.hex()
        assert not row.malformed or not row.inner.messages, inner.hex()
    print(f"several: {len(bunches)} with {len(found)} messages, each as alone; {len(wrong)} wrong frames, all marked")


# ---- exchanges


def messages(case):
    """Each message of an exchange once, who sent it and to whom; the last one of an invalid test with the layer that refuses it."""
    seen = set()
    for number, step in enumerate(case["steps"]):
        given, is_last = step["input"], number == len(case["steps"]) - 1
        received = (given.get("from"), step["end"], given["octets"]) if given["type"] == "Message" else None
        if received and received[2] not in seen:
            seen.add(received[2])
            yield *received, case["refusedBy"] if is_last else None
        for output in step["outputs"]:
            if output["type"] == "Send" and output["octets"] not in seen:
                seen.add(output["octets"])
                yield step["end"], output.get("to"), output["octets"], None


def check_unmediated_exchanges(vectors: Path, scratch: Path) -> None:
    found = [
        (case["name"], bytes.fromhex(octets), refused)
        for _, case in cases(vectors, "unmediated-transcripts")
        for _, _, octets, refused in messages(case)
    ]
    # A datagram of nothing is of no protocol.
    found = [one for one in found if one[1]]
    write(scratch, [(UNMEDIATED, octets) for _, octets, _ in found])
    rows = dissect(scratch, ports=True)
    for row, (name, octets, refused) in zip(rows, found, strict=True):
        try:
            assert row.malformed == (refused == "decode"), f"malformed: {row.malformed}"
            if not row.malformed and refused != "policy":
                check_named(row, octets, None)
        except AssertionError as wrong:
            raise AssertionError(f"{name}, {octets.hex()}: {wrong}") from None
    types = {octets[0] & 15 for _, octets, refused in found if refused is None}
    assert types == set(UNMEDIATED_FIELDS), types
    print(f"unmediated: {len(rows)} messages of all {len(types)} types, {sum(row.malformed for row in rows)} malformed and marked")


def is_sealed(octets: bytes) -> bool:
    return octets[:1] in (b"\x13", b"\x14") and len(octets) > (25 if octets[0] == 0x13 else 41)


def inside(case, sender: str, receiver: str, octets: bytes) -> bytes | None:
    """What a session of the exchange opens."""
    if not is_sealed(octets):
        return None
    head = 9 if octets[0] == 0x13 else 25
    for session in case["sessions"]:
        if {session["client"], session["hub"]} == {sender, receiver}:
            key = session["uplinkKey" if sender == session["client"] else "downlinkKey"]
            aead = AEADS[case["envelopeSuite"]](bytes.fromhex(key))
            try:
                return aead.decrypt(bytes(8) + octets[head - 4 : head], octets[head:], octets[:head])
            except InvalidTag:
                pass
    return None


def key_lines(case, hubs, spoilt=None) -> str:
    """Of each link every initial key that it ever has."""
    lines = []
    for link in case["links"]:
        keys = {link["initialKey"]}
        for step in case.get("steps", []):
            given = step["input"]
            if given["type"] == "InitialKey" and {step["end"], given["about"]} == {link["client"], link["hub"]}:
                keys.add(given["key"])
        for key in sorted(keys):
            octets = bytearray.fromhex(key)
            octets[0] ^= link is spoilt
            lines.append(f"{link['clientId']} {hubs[link['hub']]} {case['envelopeSuite']} {octets.hex()}\n")
    return "".join(lines)


def check_exchange(case, scratch: Path, spoilt=None) -> tuple[int, int, int]:
    """How many messages there are, opened, and malformed. With a bit of an initial key flipped, what is of its link stays closed."""
    found = [(*ends, bytes.fromhex(octets), refused) for *ends, octets, refused in messages(case)]
    write(scratch, [(DSKE, octets) for _, _, octets, _ in found])
    key_file = scratch.with_suffix(".keys")
    key_file.write_text(key_lines(case, {hub["name"]: hub["hubId"] for hub in case["hubs"]}, spoilt))
    rows = dissect(scratch, key_file, ports=True)
    opened = malformed = 0
    for row, (sender, receiver, octets, refused) in zip(rows, found, strict=True):
        try:
            is_spoilt = spoilt is not None and {sender, receiver} == {spoilt["client"], spoilt["hub"]}
            inner = None if is_spoilt else inside(case, sender, receiver, octets)
            assert row.malformed == (refused == "decode"), f"malformed: {row.malformed}"
            if not row.malformed:
                assert row.closed == (is_sealed(octets) and inner is None), f"closed: {row.closed}"
                check_named(row, octets, inner)
            opened += inner is not None
            malformed += row.malformed
        except AssertionError as wrong:
            raise AssertionError(f"{case['name']}, {sender} to {receiver}, {octets.hex()[:60]}: {wrong}") from None
    return len(rows), opened, malformed


def check_captured(case, scratch: Path) -> tuple[int, int, int]:
    """What a passive client recorded is opened, where nothing was changed."""
    found = [bytes.fromhex(captured["octets"]) for captured in case["captured"]]
    write(scratch, [(DSKE, octets) for octets in found])
    key_file = scratch.with_suffix(".keys")
    key_file.write_text(key_lines(case, {hub["name"]: hub["hubId"] for hub in case["roster"]}))
    rows = dissect(scratch, key_file, ports=True)
    for row, octets in zip(rows, found, strict=True):
        spoils = {"OtherInitialKey", "ModifiedCiphertext"} & set(case["flags"])
        assert not row.malformed and (row.inner is not None or not is_sealed(octets) or spoils), case["name"]
        check_named(row, octets, None if row.inner is None else row.inner.octets)
    return len(rows), sum(row.inner is not None for row in rows), 0


def check_dske_exchanges(vectors: Path, folder: Path) -> None:
    played = list(enumerate(cases(vectors, "dske-transcripts")))

    def check(numbered) -> tuple[int, int, int]:
        number, (group, case) = numbered
        scratch = folder / f"exchange-{number}.pcap"
        return check_exchange(case, scratch) if group == "Exchange" else check_captured(case, scratch)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(check, played))
    (_, first) = played[0][1]
    whole, part = counts[0][1], check_exchange(first, folder / "spoilt.pcap", first["links"][0])[1]
    assert 0 < part < whole, "a wrong initial key opens nothing of its own link alone"
    total, opened, malformed = (sum(column) for column in zip(*counts))
    print(f"dske: {len(counts)} exchanges, {total} messages, {opened} envelopes opened, {malformed} messages malformed and marked")


def main() -> None:
    demo, vectors = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        check_demo(demo)
        check_damage(demo, Path(folder) / "damage.pcap")
        check_wire(vectors, Path(folder) / "wire.pcap")
        check_several(vectors, Path(folder) / "several.pcap")
        check_unmediated_exchanges(vectors, Path(folder) / "unmediated.pcap")
        check_dske_exchanges(vectors, Path(folder))


if __name__ == "__main__":
    main()
