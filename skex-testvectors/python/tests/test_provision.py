"""The example of the draft, "Provisioning file", and every bit of it flipped."""

from __future__ import annotations

import os
import re
import unittest
from pathlib import Path

from skex_reference.dske import provision
from skex_reference.octets import DecodeError
from skex_reference.suites import NotAuthentic

DRAFT = Path(__file__).resolve().parents[3] / "docs" / "draft-skex-dske.md"

LINK = provision.Link(b"\xa1" * 16, 5, b"\xb0" * 16, 7, 1)
K0 = bytes(range(32))
FILE = provision.File(LINK, K0, ((provision.Part(0, 0, 0, 2, 0, 2), bytes(range(0xE0, 0x100))),))


def printed() -> bytes:
    """The example as the draft prints it: the block of digits that begins with the magic."""
    found = re.search(rf"({provision.MAGIC.hex()}[0-9a-f\n]+)\n~~~", DRAFT.read_text())
    assert found
    return bytes.fromhex(found[1])


class Provision(unittest.TestCase):
    def test_the_example_of_the_draft(self) -> None:
        self.assertEqual(FILE.encode(K0), printed())
        self.assertEqual(provision.decode(printed()), FILE)

    def test_no_bit_can_be_flipped(self) -> None:
        octets = printed()
        for bit in range(8 * len(octets)):
            changed = bytearray(octets)
            changed[bit // 8] ^= 1 << bit % 8
            with self.assertRaises((DecodeError, NotAuthentic)):
                provision.decode(bytes(changed))

    def test_no_octet_can_be_missing_or_more(self) -> None:
        octets = printed()
        for changed in [octets[:length] for length in range(len(octets))] + [octets + b"\0"]:
            with self.assertRaises((DecodeError, NotAuthentic)):
                provision.decode(changed)


class Portions(unittest.TestCase):
    def test_portions_are_the_file_and_bring_the_initial_key_once(self) -> None:
        """The last chunk of the longer table is short; the shorter table is in the first two portions alone."""
        tables = {0: os.urandom(16 * (2 * provision.CHUNK + 5)), 1: os.urandom(16 * 2 * provision.CHUNK)}
        parts = [
            (provision.Part(way, 0, 0, len(octets) // 16, 0, len(octets) // 16), octets) for way, octets in tables.items()
        ]
        whole = provision.File(LINK, K0, tuple(parts)).encode(K0)
        got = {0: b"", 1: b""}
        for number in range(3):
            first = number * provision.CHUNK
            portion = provision.decode(provision.portion(whole, first, first + provision.CHUNK), K0)
            self.assertEqual(portion.k0, K0 if number == 0 else None)
            self.assertEqual([part.direction for part, _ in portion.parts], [0, 1] if number < 2 else [0])
            for part, octets in portion.parts:
                self.assertEqual(16 * part.first, len(got[part.direction]))
                got[part.direction] += octets
            # What lies behind in the distributor's file needs nothing of what was overwritten.
            cleared = bytearray(whole)
            for at, length in provision.handed_out(whole, first + provision.CHUNK):
                cleared[at : at + length] = bytes(length)
            whole = bytes(cleared)
        self.assertEqual(got, tables)
        with self.assertRaises(ValueError):
            provision.portion(whole, 3 * provision.CHUNK, 4 * provision.CHUNK)
        self.assertFalse(any(whole[47 + 32 + 2 + 2 * 16 + 16 :]))


if __name__ == "__main__":
    unittest.main()
