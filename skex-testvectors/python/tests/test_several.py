"""Several messages in one datagram: the frame, what shares one, and clients and hubs that make and take them."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from skex_reference.dske import client as clients
from skex_reference.dske import hub as hubs
from skex_reference.dske import link, wire
from skex_reference.dske.leaving import DATAGRAM, Persist, Unsealed, leaving
from skex_reference.octets import DecodeError, u16

from .test_dske import ALICE, BOB, TAGS, World, lengths

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


def unsealed(message: bytes, to: int = 0, session: str = "now", room: int = 100) -> Unsealed:
    return Unsealed(to, session, room, [message])


class Gathering(unittest.TestCase):
    def left(self, *wanted: Unsealed | Persist) -> list[bytes | Persist]:
        def seal(one: Unsealed) -> bytes | None:
            return one.inner if one.session == "now" else None

        return leaving(wanted, seal)

    def test_messages_for_one_end_share_a_datagram_in_their_order(self) -> None:
        here, there = [unsealed(message) for message in BUSY[:3]], unsealed(BUSY[3], to=1)
        self.assertEqual(self.left(here[0], there, here[1], here[2]), [framed(*BUSY[:3]), BUSY[3]])

    def test_what_is_about_no_key_goes_alone(self) -> None:
        left = self.left(unsealed(FETCH), unsealed(BUSY[0]), unsealed(FETCH), unsealed(BUSY[1]))
        self.assertEqual(left, [FETCH, framed(BUSY[0], BUSY[1]), FETCH])

    def test_what_waits_for_the_store_goes_with_that_alone(self) -> None:
        """Of several states the last one is stored, before whatever waits for any."""
        first, last = Persist({"state": 1}), Persist({"state": 2})
        left = self.left(unsealed(BUSY[0]), first, unsealed(BUSY[1]), last, unsealed(BUSY[2]))
        self.assertEqual(left, [BUSY[0], last, framed(BUSY[1], BUSY[2])])
        same = Persist({"state": 2})
        self.assertEqual(self.left(same, last), [last])

    def test_a_datagram_has_room(self) -> None:
        both = len(framed(BUSY[0], BUSY[1]))
        for room, shared in ((both, True), (both - 1, False), (-25, False)):
            left = self.left(*(unsealed(message, room=room) for message in BUSY[:2]))
            self.assertEqual(left, [framed(*BUSY[:2])] if shared else BUSY[:2])
        long = UPLOAD.ljust(5000, b"\0")
        left = self.left(*(unsealed(message, room=60000) for message in (long, long, BUSY[0])))
        self.assertEqual(left, [long, framed(long, BUSY[0])])

    def test_nothing_leaves_under_another_session(self) -> None:
        earlier = [unsealed(message, session="before") for message in BUSY[:2]]
        self.assertEqual(self.left(*earlier, unsealed(BUSY[2])), [BUSY[2]])


class Keys(unittest.TestCase):
    def setUp(self) -> None:
        self.world = World(DATAGRAM)
        self.lengths: list[int] = []

        def is_lost(datagram: tuple[str, str, bytes]) -> bool:
            if isinstance(wire.decode_outer(datagram[2]), wire.Sealed):
                self.lengths.append(len(datagram[2]))
            return False

        self.world.is_lost = is_lost

    def ask(self, count: int, suite: int = 1) -> set[bytes]:
        """Their ids."""
        alice = self.world.clients[ALICE]
        return {alice.request_key(self.world.now, TAGS[BOB], 2, 32, suite=suite) for _ in range(count)}

    def keys(self, client: int) -> dict[bytes, bytes]:
        told = self.world.told[client]
        return {one.key_id: one.key for one in told if isinstance(one, clients.Confirmed | clients.Received)}

    def have(self, asked: set[bytes]) -> None:
        self.assertEqual(self.keys(ALICE), self.keys(BOB))
        self.assertEqual(set(self.keys(ALICE)), asked)
        self.assertEqual(len(set(self.keys(ALICE).values())), len(asked))

    def spoil(self, client: int, change: Callable[[list[bytes]], list[bytes]]) -> None:
        """Whatever this client puts together."""
        machine = self.world.clients[client]
        sealed = machine._sealed

        def changed(unsealed: Unsealed) -> clients.Send | None:
            if len(unsealed.messages) > 1:
                unsealed.messages = change(unsealed.messages)
            return sealed(unsealed)

        machine._sealed = changed  # type: ignore[method-assign]

    def test_many_keys_at_once_take_fewer_datagrams_than_messages(self) -> None:
        for suite in (1, 2):
            self.setUp()
            messages = 0

            def counted(inner: bytes) -> list[tuple[bytes, int | None, wire.Inner]]:
                nonlocal messages
                came = list(read(inner))
                messages += len(came)
                return came

            read = link.messages
            with mock.patch.object(link, "messages", counted):
                asked = self.ask(16, suite)
                self.world.run(5)
            self.have(asked)
            self.assertLess(len(self.lengths), messages // 2)
            self.assertLessEqual(max(self.lengths), DATAGRAM)

    def test_a_message_that_is_refused_disturbs_no_other(self) -> None:
        """One that is no message, one that goes the other way, one that answers nothing, one of a tag that is wrong, and one twice."""
        confirm = wire.Confirm(bytes(16), bytes(16), wire.Confirmation(b"\0", b"\0", bytes(16))).encode()
        answer = wire.Answer(9, 9, 0, None, bytes(16)).encode()

        def among(messages: list[bytes]) -> list[bytes]:
            forged = messages[0][:-1] + bytes([messages[0][-1] ^ 1])
            return [UPLOAD, forged, *messages[:1], BUSY[0] + b"\0", confirm, *messages, answer, bytes([13])]

        self.spoil(ALICE, among)
        self.spoil(BOB, among)
        asked = self.ask(16)
        self.world.run(5)
        self.have(asked)

    def test_of_a_frame_that_is_wrong_nothing_is_handled(self) -> None:
        """With a SEVERAL in it, or a message of no octets. What it held is there once it comes as it should."""
        for is_nested in (True, False):
            self.setUp()
            wrong = True

            def spoilt(messages: list[bytes]) -> list[bytes]:
                behind = framed(*messages) if is_nested else b""
                return [*messages, behind] if wrong else messages

            self.spoil(ALICE, spoilt)
            asked = self.ask(16)
            self.world.run(3)
            self.assertLess(len(self.keys(ALICE)), 16)
            wrong = False
            self.world.run(20)
            self.have(asked)

    def test_what_was_gathered_leaves_under_no_other_session(self) -> None:
        """Uploads that a client has made and not sent when its session ends come in the next one, in other blocks."""
        alice, ended = self.world.clients[ALICE], 0
        take = alice.take_effects

        def take_later() -> list[clients.Effect]:
            nonlocal ended
            made = [one.to for one in alice.effects if isinstance(one, Unsealed) and one.messages[0][:1] == UPLOAD]
            if ended or 0 not in made:
                return take()
            ended = made.count(0)
            alice.restart(self.world.now, 0)
            left = take()
            self.assertEqual({one.hub for one in left if isinstance(one, clients.Send)}, set(made) - {0})
            return left

        alice.take_effects = take_later  # type: ignore[method-assign]
        asked = self.ask(4)
        self.world.run(5)
        self.assertGreater(ended, 1)
        self.have(asked)

    def test_a_hub_drops_what_it_gathered_when_a_session_ends(self) -> None:
        self.world.run(1)
        for is_revoked in (True, False):
            hub = self.world.hubs[is_revoked]
            hub._send(BOB, BUSY[0])
            hub._send(ALICE, BUSY[1])
            if is_revoked:
                hub.revoke(self.world.now, BOB)
            else:
                hub.retire_table(BOB, wire.DOWNLINK, 0)
            left = [one.client_id for one in hub.take_effects() if isinstance(one, hubs.Send)]
            self.assertEqual(left, [ALICE])

    def test_a_key_that_is_confirmed_is_not_refused_by_what_comes_behind(self) -> None:
        """A hub that lies has both in one datagram. Without its share there is no key."""
        self.world = World()
        hub, said = self.world.hubs[0], []
        judge, send = hub._judge, hub._send

        def refusing(*upload: Any) -> wire.Status:
            judge(*upload)
            return wire.Status.POLICY

        def held_back(client_id: int, inner: bytes) -> None:
            if client_id == ALICE and inner[0] in (wire.Answer.TYPE, wire.Confirm.TYPE):
                said.append(inner)
            else:
                send(client_id, inner)

        hub._judge = refusing  # type: ignore[method-assign, assignment]
        hub._send = held_back  # type: ignore[method-assign]
        self.world.is_lost = lengths(("hub", "client 0", 51 + 25))
        self.world.clients[ALICE].request_key(self.world.now, TAGS[BOB], 3, 32)
        self.world.run(5)
        answer = next(inner for inner in said if inner[0] == wire.Answer.TYPE)
        confirm = next(inner for inner in said if inner[0] == wire.Confirm.TYPE)
        self.world.arrives(("hub 0", "client 0", hub._envelopes[ALICE].seal(framed(confirm, answer))))
        self.assertEqual([type(one) for one in self.world.told[ALICE]], [clients.Confirmed])


if __name__ == "__main__":
    unittest.main()
