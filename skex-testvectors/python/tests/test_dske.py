"""Clients and hubs of the reference in one process: what neither a vector nor a run beside the program shows."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from skex_reference.dske import client as clients
from skex_reference.dske import hub as hubs
from skex_reference.dske import wire
from skex_reference.dske.leaving import Persist
from skex_reference.dske.link import LinkConfig
from skex_reference.suites import SUITES

ALICE, BOB = 0, 1
TAGS = (b"\xa0" * 16, b"\xb0" * 16)
ELEMENTS = 2048
# Octets of messages with their envelope, of a key of 256 bits through three hubs.
ANSWER, SHARE = 24 + 25, 200 + 25


@dataclass
class Pad:
    number: int
    origin: int
    octets: bytearray

    def __len__(self) -> int:
        return len(self.octets) // 16

    @property
    def held(self) -> int:
        return len(self)

    def read(self, first: int, count: int) -> bytes:
        return bytes(self.octets[16 * first : 16 * (first + count)])

    def erase(self, first: int, end: int) -> None:
        self.octets[16 * first : 16 * end] = bytes(16 * (end - first))


# Of a datagram: from whom, to whom, octets.
Datagram = tuple[str, str, bytes]


class World:
    """Three hubs, and two clients of each. Whatever is to be durable is at once, and what is sent arrives at once."""

    def __init__(self, datagram: int = 0) -> None:
        """Messages share a datagram of so many octets; or each has its own, so that its length tells what it is."""
        self.now = 0.0
        self._datagram = datagram
        self._random = Random(1)
        self._links = {(hub, client): self._made(hub, client, client) for hub in range(3) for client in (ALICE, BOB)}
        self._stored: dict[str, dict[str, Any]] = {}
        self._on_the_way: list[Datagram] = []
        self.is_lost: Callable[[Datagram], bool] = lambda datagram: False
        self.told: dict[int, list[clients.Effect]] = {ALICE: [], BOB: []}
        # Who accepts information-theoretic keys alone.
        self.demanding: set[int] = set()
        self.hubs = [hubs.Hub(self.hub_config(hub), {}, self._octets, 0.0) for hub in range(3)]
        self.clients: list[clients.Client] = []
        for client in (ALICE, BOB):
            self.clients.append(self._client(client))

    def _octets(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def table(self, number: int, origin: int, elements: int) -> tuple[Pad, Pad]:
        """Both copies."""
        octets = self._octets(16 * elements)
        return Pad(number, origin, bytearray(octets)), Pad(number, origin, bytearray(octets))

    def _made(self, hub: int, client: int, number: int) -> tuple[LinkConfig, LinkConfig]:
        """A link as its hub and its client have it."""
        k0 = self._octets(32)
        both = zip(self.table(0, 0, ELEMENTS), self.table(0, 0, ELEMENTS))
        ends = [LinkConfig(bytes([hub]) * 16, number, TAGS[client], k0, SUITES[1], (up,), (down,)) for up, down in both]
        return ends[0], ends[1]

    def hub_config(self, hub: int) -> hubs.HubConfig:
        links = [self._links[hub, client][0] for client in (ALICE, BOB)]
        served = {link.client_id: hubs.ClientConfig(link, frozenset(TAGS)) for link in links}
        return hubs.HubConfig(bytes([hub]) * 16, hub + 1, served, datagram=self._datagram)

    def _client(self, client: int) -> clients.Client:
        own = tuple(clients.HubOfClient(self._links[hub, client][1], hub + 1) for hub in range(3))
        demands = client in self.demanding
        config = clients.ClientConfig(
            TAGS[client], own, frozenset(TAGS), information_theoretic=demands, datagram=self._datagram
        )
        return clients.Client(config, self._stored.get(f"client {client}", {}), self._octets, self.now)

    def restart_client(self, client: int) -> None:
        self.clients[client] = self._client(client)

    def stored(self, hub: int) -> dict[str, Any]:
        return self._stored.get(f"hub {hub}", {})

    def enrol_anew(self, client: int, number: int) -> None:
        """At every hub, under this number."""
        for hub, machine in enumerate(self.hubs):
            machine.revoke(self.now, self._links[hub, client][0].client_id)
            self._links[hub, client] = self._made(hub, client, number)
            machine.enrol(self.hub_config(hub).clients[number])
            self._do()
        self.restart_client(client)

    def run(self, seconds: float) -> None:
        over = self.now + seconds
        while self.now < over:
            self.now += 0.125
            for machine in (*self.hubs, *self.clients):
                machine.timeout(self.now)
            self.deliver()

    def deliver(self) -> None:
        self._do()
        while self._on_the_way:
            datagram = self._on_the_way.pop(0)
            if not self.is_lost(datagram):
                self.arrives(datagram)

    def arrives(self, datagram: Datagram) -> None:
        source, target, octets = datagram
        number = int(target.split()[1])
        if target.startswith("hub"):
            self.hubs[number].receive(self.now, 0, octets)
        else:
            self.clients[number].receive(self.now, int(source.split()[1]), octets)
        self._do()

    def _do(self) -> None:
        for hub, machine in enumerate(self.hubs):
            for effect in machine.take_effects():
                if isinstance(effect, Persist):
                    self._stored[f"hub {hub}"] = effect.stored
                elif isinstance(effect, hubs.Send):
                    owner = next(client for client in (ALICE, BOB) if self._links[hub, client][0].client_id == effect.client_id)
                    self._on_the_way.append((f"hub {hub}", f"client {owner}", effect.octets))
        for client, ours in enumerate(self.clients):
            for told in ours.take_effects():
                if isinstance(told, Persist):
                    self._stored[f"client {client}"] = told.stored
                elif isinstance(told, clients.Send):
                    self._on_the_way.append((f"client {client}", f"hub {told.hub}", told.octets))
                else:
                    self.told[client].append(told)

    def request(self, lifetime: int = 600) -> bytes:
        return self.clients[ALICE].request_key(self.now, TAGS[BOB], 2, 32, lifetime)

    def outcomes(self, client: int) -> list[dict[int, int | None]]:
        return [told.outcomes for told in self.told[client] if isinstance(told, clients.CommandEnded)]


def lengths(*lost: tuple[str, str, int]) -> Callable[[Datagram], bool]:
    """Loses what is from such a one, to such a one, and of such a length."""
    return lambda datagram: any(
        datagram[0].startswith(source) and datagram[1].startswith(target) and len(datagram[2]) == length
        for source, target, length in lost
    )


class Withdrawals(unittest.TestCase):
    def test_who_is_enrolled_anew_is_not_told_that_there_was_no_key_before(self) -> None:
        world = World()
        key_id = world.request()
        world.run(5)
        self.assertTrue(any(isinstance(told, clients.Received) for told in world.told[BOB]))
        world.enrol_anew(ALICE, 2)
        world.run(5)
        for later, status in ((0, wire.OutcomeStatus.SENT), (wire.LONGEST_LIFETIME, wire.OutcomeStatus.UNKNOWN)):
            world.now += later
            world.run(20)
            world.clients[ALICE].command(world.now, wire.Withdraw(key_id))
            world.run(10)
            self.assertEqual(world.outcomes(ALICE)[-1], dict.fromkeys((1, 2, 3), status))

    def test_hubs_have_no_longer_than_the_key_lives(self) -> None:
        """An outcome that comes later is dropped: a hub has forgotten what it delivered."""
        world = World()
        # Nobody confirms, and the commands' outcomes are held back.
        world.is_lost = lengths(("hub", "client 1", SHARE))
        key_id = world.request(lifetime=8)
        world.run(5)
        held: list[Datagram] = []

        def is_held(datagram: Datagram) -> bool:
            if datagram[1] == "client 0" and len(datagram[2]) == ANSWER:
                held.append(datagram)
            return datagram[1].startswith("client")

        world.is_lost = is_held
        world.clients[ALICE].command(world.now, wire.Withdraw(key_id))
        world.run(2.5)
        self.assertEqual({datagram[0] for datagram in held}, {"hub 0", "hub 1", "hub 2"})
        self.assertEqual(world.outcomes(ALICE), [])
        world.now = 8.0
        for datagram in held:
            world.arrives(datagram)
        world.run(1)
        self.assertEqual(world.outcomes(ALICE), [dict.fromkeys((1, 2, 3), None)])


class Revocations(unittest.TestCase):
    def test_a_number_that_was_taken_from_one_client_is_not_another_ones(self) -> None:
        """The configuration is refused, and nothing is erased."""
        world = World()
        world.run(1)
        for hub in world.hubs:
            hub.revoke(world.now, BOB)
        world.deliver()
        config = world.hub_config(0)
        self.assertIn(hubs.Revoked(BOB), hubs.Hub(config, world.stored(0), bytes, world.now).take_effects())
        own = config.clients[BOB]
        other = replace(own, link=replace(own.link, client_tag=b"\xc0" * 16))
        config = replace(config, clients={**config.clients, BOB: other})
        with self.assertRaises(ValueError):
            hubs.Hub(config, world.stored(0), bytes, world.now)


class Answers(unittest.TestCase):
    def upload_again(self, change: Callable[[World], None]) -> set[int]:
        """What hubs say to an upload in another session, whose first answer was lost, after a change."""
        world = World()
        world.is_lost = lengths(("hub", "client 0", ANSWER), ("hub", "client 1", SHARE))
        world.request()
        world.run(3)
        change(world)
        world.run(5)
        world.is_lost = lengths(("hub", "client 1", SHARE))
        for hub in range(3):
            world.clients[ALICE].restart(world.now, hub)
        world.run(5)
        refused = [told.statuses for told in world.told[ALICE] if isinstance(told, clients.Refused)]
        return {status for statuses in refused for status in statuses}

    def test_whom_the_responder_forbids_meanwhile(self) -> None:
        def forbid(world: World) -> None:
            world.clients[BOB].command(world.now, wire.Authorise(False, TAGS[ALICE]))

        self.assertEqual(self.upload_again(forbid), {wire.Status.NOT_AUTHORISED})

    def test_whom_the_responder_forbids_for_a_while(self) -> None:
        def forbid(world: World) -> None:
            for allowed in (False, True):
                world.clients[BOB].command(world.now, wire.Authorise(allowed, TAGS[ALICE]))
                world.run(3)

        self.assertEqual(self.upload_again(forbid), {wire.Status.WITHDRAWN})

    def test_the_responder_is_enrolled_anew_meanwhile(self) -> None:
        """It is another responder of the same key id."""
        statuses = self.upload_again(lambda world: world.enrol_anew(BOB, 2))
        self.assertEqual(statuses, {wire.Status.KEY_ID_IN_USE})

    def test_a_share_that_comes_when_the_key_is_over(self) -> None:
        world = World()
        confirms = ("hub", "client 0", 51 + 25)
        world.is_lost = lengths(confirms, ("client 0", "hub 2", SHARE), ("client 0", "hub 2", SHARE - 112))
        world.request(lifetime=10)
        world.run(5)
        self.assertTrue(world.clients[BOB]._responder.waits_out_of_band(19.0, 2), "for two lifetimes")
        self.assertFalse(world.clients[BOB]._responder.waits_out_of_band(21.0, 2))
        # Hub 2 has the share later than the others, and so keeps it for longer. It does not hear that it came.
        world.is_lost = lengths(confirms, ("client 1", "hub 2", 42 + 25))
        world.run(6)
        self.assertFalse(world.clients[BOB]._responder.waits_out_of_band(world.now, 2))
        world.clients[BOB].restart(world.now, 2)
        seen: list[bytes] = []
        world.is_lost = lambda datagram: bool(datagram[:2] == ("client 1", "hub 2") and seen.append(datagram[2]))
        world.run(3)
        lengths_seen = {len(octets) for octets in seen}
        self.assertIn(ANSWER, lengths_seen)
        self.assertNotIn(42 + 25, lengths_seen, "a confirmation")


    def test_a_key_that_is_worth_less_than_the_responder_demands(self) -> None:
        """A hub has delivered by a table that came over the network: a key that does without its share is computational too."""
        for demanding in (False, True):
            world = World()
            world.demanding = {BOB} if demanding else set()
            world.restart_client(BOB)
            world.run(1)
            at_hub, at_client = world.table(1, 1, ELEMENTS)
            world.hubs[2].retire_table(BOB, 1, 0)
            world.clients[BOB].retire_table(world.now, 2, 1, 0)
            world.hubs[2]._ends[BOB].add_table(1, at_hub)
            world.clients[BOB].add_table(2, 1, at_client)
            world.run(1)
            world.request(lifetime=20)
            world.run(30)
            received = any(isinstance(told, clients.Received) for told in world.told[BOB])
            self.assertEqual(received, not demanding)
            self.assertTrue(world.clients[BOB].ends[2].granted_refilled)


class Refills(unittest.TestCase):
    def test_a_client_that_has_forgotten_what_came_draws_no_window_a_word(self) -> None:
        world = World()
        world.run(5)
        at_hub, _ = world.table(1, 1, 100 * 64)
        hub = world.hubs[0]
        hub._refills[BOB].append(hubs.Refill(1, at_hub))
        parts = 0

        def count(datagram: Datagram) -> bool:
            nonlocal parts
            is_part = datagram[1] == "client 1" and len(datagram[2]) > 1000
            parts += is_part
            return is_part

        # Nothing of the table comes, and the client says what it likes.
        world.is_lost = count
        world.run(0.125)
        self.assertEqual(parts, 16)
        world.clients[BOB].send(0, wire.Refilled(1, 1, 64).encode())
        world.deliver()
        before = parts
        for _ in range(100):
            world.clients[BOB].send(0, wire.Refilled(1, 1, 0).encode())
            world.clients[BOB].send(0, wire.Refilled(1, 1, 64).encode())
            world.deliver()
        self.assertLess(parts - before, 16)
        world.run(8)
        self.assertGreater(parts - before, 16, "repeated in its time")


if __name__ == "__main__":
    unittest.main()
