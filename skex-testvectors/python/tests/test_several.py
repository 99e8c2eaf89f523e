"""Several messages in one datagram."""

from __future__ import annotations

import unittest

from skex_reference.dske import link, wire
from skex_reference.octets import DecodeError, u16

BUSY = [wire.Busy(0, index).encode() for index in range(4)]
FETCH = wire.Fetch().encode()
# By its first octet, and nothing else.
UPLOAD = bytes([wire.Upload.TYPE])


def framed(*messages: bytes) -> bytes:
    return bytes([wire.Several.TYPE]) + b"".join(u16(len(message)) + message for message in messages)


class Frame(unittest.TestCase):
    def test_what_is_written_is_read(self) -> None:
        for count in (2, 3, 4):
            several = wire.Several(tuple(BUSY[:count]))
            self.assertEqual(several.encode(), framed(*BUSY[:count]))
            self.assertEqual(wire.decode_inner(several.encode()), several)
            self.assertEqual(wire.each(several.encode()), tuple(BUSY[:count]))
        self.assertEqual(wire.each(FETCH), (FETCH,))

    def test_every_message_about_a_key_may_be_there_and_nothing_else(self) -> None:
        admitted = {first for first in range(256) if self.reads(framed(BUSY[0], bytes([first])))}
        self.assertEqual(admitted, {4, 5, 6, 7, 8, 11, 12, 13})
        self.assertFalse(self.reads(framed(BUSY[0], framed(BUSY[1], BUSY[2]))), "a SEVERAL in another")

    def test_a_wrong_frame_is_refused_whole(self) -> None:
        whole = framed(BUSY[0], BUSY[1])
        wrong = [framed(), framed(BUSY[0]), framed(BUSY[0], b""), framed(b"", BUSY[0]), framed(b"", b"")]
        wrong += [whole[:end] for end in range(1, len(whole))]
        wrong += [whole + more for more in (b"\0", b"\0\0", b"\7", u16(8) + BUSY[2], u16(65535) + BUSY[2])]
        for octets in wrong:
            with self.subTest(octets=octets.hex()):
                self.assertFalse(self.reads(octets))
                self.assertEqual(list(link.messages(octets)), [])

    def test_it_has_8192_octets_at_most(self) -> None:
        room = 8192 - len(framed(BUSY[0], b""))
        for length, reads in ((room, True), (room + 1, False)):
            octets = framed(BUSY[0], UPLOAD.ljust(length, b"\0"))
            self.assertEqual((len(octets) == 8192, self.reads(octets)), (reads, reads))

    def test_what_its_own_decoder_refuses_is_left_out_alone(self) -> None:
        octets = framed(BUSY[0], UPLOAD, BUSY[1] + b"\0", BUSY[2])
        self.assertEqual([message for message, _, _ in link.messages(octets)], [BUSY[0], BUSY[2]])

    def reads(self, octets: bytes) -> bool:
        try:
            return isinstance(wire.decode_inner(octets), wire.Several)
        except DecodeError:
            return False


if __name__ == "__main__":
    unittest.main()
