"""What released versions stored says what the specification says that it does (D "Records")."""

from __future__ import annotations

import json
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skex_reference import records
from skex_reference.dske import entries
from skex_reference.octets import DecodeError

RELEASED = Path(__file__).resolve().parents[2] / "released"
MAGIC = records.MAGIC.hex()


def octets_in(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from octets_in(one)
    elif isinstance(value, str) and value.startswith(MAGIC):
        yield bytes.fromhex(value)


class Entries(unittest.TestCase):
    def test_each_entry_that_a_released_version_stored_is_read(self) -> None:
        found: Counter[tuple[int, int]] = Counter()
        for path in RELEASED.glob("*/dske.json"):
            for record in octets_in(json.loads(path.read_text())):
                machine = record[5]
                read = records.replay([self.as_snapshot(record)], machine, record[6:14])
                for name, value in read.items():
                    found[machine, entries.entry(machine, name, value)[0]] += 1
        stored = {(entries.CLIENT, 1), (entries.CLIENT, 2), (entries.CLIENT, 3)}
        stored |= {(entries.HUB, 1), (entries.HUB, 2), (entries.HUB, 4), (entries.HUB, 5)}
        self.assertEqual(set(found), stored)

    @staticmethod
    def as_snapshot(record: bytes) -> bytes:
        """A record alone, whatever stands before it."""
        read, _ = records.decode(record)
        return records.Record(read.kind, read.machine, read.sequence, b"\x01" + read.body[1:]).encode()

    def test_an_octet_more_or_fewer_is_refused(self) -> None:
        mark = bytes.fromhex("000000000000000000000000000040")
        for machine, name, value in (
            (entries.CLIENT, bytes([1]) + bytes(16), mark),
            (entries.HUB, bytes([3]) + bytes(5), bytes(6)),
            (entries.HUB, bytes([5]) + bytes(4), bytes.fromhex("0200ffff03010203020305")),
            (entries.HUB, bytes([7]) + bytes(4), bytes(64)),
            (entries.HUB, bytes([8]), bytes(4)),
        ):
            entries.entry(machine, name, value)
            for other, octets in ((name + b"\0", value), (name[:-1], value), (name, value + b"\0"), (name, value[:-1])):
                with self.subTest(name=other.hex(), value=octets.hex()), self.assertRaises(DecodeError):
                    entries.entry(machine, other, octets)
        with self.assertRaises(DecodeError):
            entries.entry(entries.CLIENT, bytes([5]), b"")
