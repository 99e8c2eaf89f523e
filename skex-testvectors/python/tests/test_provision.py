"""The example of the draft, "Provisioning file", and every bit of it flipped."""

from __future__ import annotations

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


if __name__ == "__main__":
    unittest.main()
