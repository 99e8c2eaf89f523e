"""Holds the dissector against captures: python3 check.py DEMO.pcap VECTORS. DEMO.pcap.keys lies beside the capture.

Every datagram of `skex demo` is dissected and opened, and nothing of it is malformed. Every message of the vectors is dissected, the
valid ones without complaint, the invalid ones marked. The envelopes of whole exchanges are opened under every suite, and hold what
the vectors say; with one bit of an initial key flipped, those of its link stay closed. Whatever is cut or prolonged is marked. All
message types occur.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).resolve().parent
HEADER = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
UNMEDIATED, DSKE = 7001, 7002
INNER = {*range(1, 14), 20, 21, *range(30, 35)}
K0, HUB, CLIENT, SALT_C, SALT_H = bytes(range(32)), b"\xa1" * 16, 7, b"\x5c" * 16, b"\x54" * 16


def dissect(capture: Path, keys: Path | None = None, ports: bool = False) -> list[dict[str, str]]:
    fields = ["frame.protocols", "skexu.type", "skexd.type", "skexd.inner"]
    fields += ["skexu.malformed", "skexd.malformed", "skexd.closed", "_ws.lua.error"]
    command = ["tshark", "-X", f"lua_script:{HERE / 'skex.lua'}", "-r", str(capture), "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    if keys:
        command += ["-o", f"skexd.keys:{keys}"]
    if ports:
        command += ["-d", f"udp.port=={UNMEDIATED},skexu", "-d", f"udp.port=={DSKE},skexd"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Lua" not in done.stderr, done.stderr
    rows = [dict(zip(fields, line.split("\t"))) for line in done.stdout.splitlines()]
    assert not any(row["_ws.lua.error"] for row in rows), "the dissector stumbled"
    return rows


def is_malformed(row: dict[str, str]) -> bool:
    return bool(row["skexu.malformed"] or row["skexd.malformed"])


def types(rows: list[dict[str, str]], field: str) -> set[int]:
    return {int(row[field], 0) for row in rows if row[field]}


def packets(capture: bytes):
    """Port and payload of each."""
    at = len(HEADER)
    while at < len(capture):
        (length,) = struct.unpack_from(">I", capture, at + 8)
        packet = capture[at + 16 : at + 16 + length]
        yield packet[28:]
        at += 16 + length


def write(path: Path, datagrams: list[tuple[int, bytes]]) -> None:
    capture = bytearray(HEADER)
    for number, (port, payload) in enumerate(datagrams):
        udp = struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        capture += struct.pack(">IIII", number, 0, len(ip + udp), len(ip + udp)) + ip + udp
    path.write_bytes(capture)


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


def cases(vectors: Path, name: str):
    for group in json.loads((vectors / f"{name}.json").read_text())["testGroups"]:
        for case in group["tests"]:
            yield group["type"], case


def check_demo(demo: Path) -> None:
    rows = dissect(demo, Path(f"{demo}.keys"))
    assert rows and all("skex" in row["frame.protocols"] for row in rows), "a datagram is of neither protocol"
    assert not any(is_malformed(row) or row["skexd.closed"] for row in rows), "a datagram is malformed, or stays closed"
    assert types(rows, "skexu.type") >= {1, 2, 3, 4} and types(rows, "skexd.type") >= {1, 2, 3, 4}
    assert types(rows, "skexd.inner") >= {1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13}
    blind = dissect(demo)
    assert not any(is_malformed(row) or row["skexd.inner"] for row in blind), "without keys, envelopes stay closed"
    print(f"demo: {len(rows)} datagrams, all dissected, {sum(bool(row['skexd.inner']) for row in rows)} envelopes opened")


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
    assert len(rows) == len(datagrams) and all(is_malformed(row) for row in rows), "a damaged datagram is not marked"
    print(f"damage: {len(rows)} datagrams, all marked")


def check_vectors(vectors: Path, scratch: Path) -> None:
    hellos, keys = session()
    datagrams = [(DSKE, octets) for octets in hellos]
    wanted = [True, True]
    names = ["HELLO", "HELLO_REPLY"]
    sequence = 0
    epochs = (("Inner", case) for group, case in cases(vectors, "dske-epochs") if group == "Sealed")
    for group, case in [*cases(vectors, "dske-wire"), *epochs]:
        octets = bytes.fromhex(case.get("octets", ""))
        if group == "Outer" and octets:
            datagrams.append((DSKE, octets))
        elif group == "Inner" and octets and len(octets) < 60000:
            aad = b"\x13" + struct.pack(">II", CLIENT, sequence)
            sealed = AESGCM(keys[sequence % 2]).encrypt(bytes(8) + struct.pack(">I", sequence), octets, aad)
            datagrams.append((DSKE, aad + sealed))
            sequence += 1
        else:
            continue
        # What a tag, a ledger or a policy refuses is well formed.
        wanted.append(case["refusedBy"] != "decode")
        names.append(f"{case['name']}: {case['comment']}")
    for _, case in cases(vectors, "unmediated-transcripts"):
        for octets in sent(case):
            datagrams.append((UNMEDIATED, octets))
            wanted.append(True)
            names.append(case["name"])
    # Messages that need a flood or a rollback: their form alone.
    for octets in [b"\x16\0" + bytes(24), b"\x17\0" + bytes(24)]:
        datagrams.append((UNMEDIATED, octets))
        wanted.append(True)
        names.append("cookie message, stale notice")
    write(scratch, datagrams)
    key_file = scratch.with_suffix(".keys")
    key_file.write_text(f"{CLIENT} {HUB.hex()} 1 {K0.hex()}\n")
    rows = dissect(scratch, key_file, ports=True)
    assert len(rows) == len(datagrams)
    wrong = [
        name
        for row, fine, name in zip(rows, wanted, names)
        if is_malformed(row) == fine
    ]
    assert not wrong, f"judged otherwise than by the vectors: {wrong}"
    assert types(rows, "skexu.type") >= set(range(1, 8)), types(rows, "skexu.type")
    assert types(rows, "skexd.type") >= set(range(1, 6)), types(rows, "skexd.type")
    assert types(rows, "skexd.inner") >= INNER, INNER - types(rows, "skexd.inner")
    print(f"vectors: {len(rows)} messages, {wanted.count(False)} of them malformed and marked")


def check_exchanges(vectors: Path, scratch: Path) -> None:
    """One exchange under each suite, those with commands and refills, and one with a wrong initial key."""
    chosen, seen = [], set()
    for group, case in cases(vectors, "dske-transcripts"):
        kind = (case.get("envelopeSuite"), case["flags"][0] in ("Command", "Refill") and case["name"])
        if group == "Exchange" and case["refusedBy"] is None and kind not in seen:
            seen.add(kind)
            chosen.append(case)
    assert {case["envelopeSuite"] for case in chosen} == {1, 2, 3, 4, 5}
    opened = 0
    for case in chosen:
        opened += check_exchange(case, scratch, None)
    check_exchange(chosen[0], scratch, chosen[0]["links"][0])
    print(f"exchanges: {len(chosen)}, under every envelope suite; {opened} envelopes opened")


def check_exchange(case, scratch: Path, spoilt) -> int:
    outputs = [output for step in case["steps"] for output in step["outputs"] if output["type"] == "Send"]
    write(scratch, [(DSKE, bytes.fromhex(output["octets"])) for output in outputs])
    hubs = {hub["name"]: hub["hubId"] for hub in case["hubs"]}
    lines = []
    for link in case["links"]:
        key = bytearray.fromhex(link["initialKey"])
        key[0] ^= link is spoilt
        lines.append(f"{link['clientId']} {hubs[link['hub']]} {case['envelopeSuite']} {key.hex()}\n")
    key_file = scratch.with_suffix(".keys")
    key_file.write_text("".join(lines))
    rows = dissect(scratch, key_file, ports=True)
    assert len(rows) == len(outputs)
    # Which end of a link sent a message is its step's; the other end is in it.
    ends = [step["end"] for step in case["steps"] for output in step["outputs"] if output["type"] == "Send"]
    count = 0
    for row, output, end in zip(rows, outputs, ends):
        is_spoilt = spoilt is not None and {end, output["to"]} == {spoilt["client"], spoilt["hub"]}
        wanted = int(output["inner"][:2], 16) if output["inner"] and not is_spoilt else None
        found = int(row["skexd.inner"], 0) if row["skexd.inner"] else None
        assert found == wanted and not is_malformed(row), f"{case['name']}: {output['message']} is {found}"
        assert bool(row["skexd.closed"]) == bool(output["inner"] and is_spoilt), f"{case['name']}: {output['message']}"
        count += wanted is not None
    return count


def sent(case):
    """The messages of an exchange."""
    for step in case["steps"]:
        for output in step["outputs"]:
            if output["type"] == "Send":
                yield bytes.fromhex(output["octets"])


def main() -> None:
    demo, vectors = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        check_demo(demo)
        check_damage(demo, Path(folder) / "damage.pcap")
        check_vectors(vectors, Path(folder) / "vectors.pcap")
        check_exchanges(vectors, Path(folder) / "exchanges.pcap")


if __name__ == "__main__":
    main()
