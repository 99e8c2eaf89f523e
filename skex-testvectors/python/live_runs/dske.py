"""Keys through hubs, and what a client asks of them."""

from __future__ import annotations

from collections.abc import Callable

from .network import Network
from .process import Process, one_in_four


class Dske(Network):
    def test_client_asks_through_hubs_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=False)
        self.make_key(True, False, "--threshold", "2")

    def test_client_is_asked_through_hubs_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=False)
        self.make_key(False, True, "--threshold", "2")

    def test_hubs_serve_clients_of_the_program(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=True)
        self.make_key(False, False, "--threshold", "2")

    def test_hubs_of_both_serve_one_client_of_each(self) -> None:
        for alice, threshold, length in ((True, "3", "16"), (False, "4", "1000")):
            self.provision(5)
            hubs = [self.hub(number, ours=number % 2 == 0) for number in range(1, 6)]
            self.make_key(alice, not alice, "--threshold", threshold, "--key-len", length, out=f"-{threshold}")
            self.stop(hubs)

    def test_a_lying_hub_of_the_reference_is_named_by_the_program(self) -> None:
        self.provision(5)
        for number in range(1, 6):
            self.hub(number, number < 3, *(["--lie"] if number == 2 else []))
        _, waits = self.make_key(True, False)
        self.assertRegex(waits.output, r"(?m)^ +lying +hub-2$")

    def test_a_lying_hub_of_the_program_is_named_by_the_reference(self) -> None:
        self.provision(5)
        for number in range(1, 6):
            self.hub(number, False, *(["--lie"] if number == 1 else []))
        _, waits = self.make_key(False, True)
        self.assertRegex(waits.output, r"(?m)^report [0-9a-f]{32} lying 1$")

    def test_two_hubs_of_five_are_silent(self) -> None:
        for alice in (True, False):
            self.provision(5)
            hubs = [self.hub(number, ours=number != 1) for number in (1, 3, 5)]
            self.make_key(alice, not alice, "--threshold", "3", out=f"-{alice}")
            self.stop(hubs)

    def test_computational_suites_in_every_role(self) -> None:
        """Two keys in a row, so that the second takes the next number of each epoch where a process lives on."""
        for alice in (True, False):
            self.provision()
            hubs = [self.hub(number, ours=number == 2) for number in (1, 2, 3)]
            for round_number, suite in enumerate(("aes-256-gcm", "chacha20-poly1305") * 2):
                out = f"-{alice}-{round_number}"
                self.make_key(alice, not alice, "--threshold", "2", "--suite", suite, out=out)
            self.stop(hubs)

    def test_computational_keys_of_one_start_share_epochs(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=number == 3)
        waits = self.client("bob", False, "bob", "wait", "--count", "3")
        gets = self.client("alice", True, "alice", "get", "bob", "--threshold", "2", "--count", "3", "--suite", "aes-256-gcm")
        self.assertEqual(gets.ended(), 0, gets.output + waits.output)
        self.assertEqual(waits.ended(), 0, waits.output)
        self.same_fingerprints(gets, waits, 3)

    def test_many_keys_at_once_share_datagrams(self) -> None:
        """Who asks is the reference. Both programs put messages together, and take what the other has put together."""
        many = ("--threshold", "2", "--count", "12", "--at-once")
        for bob, suite in ((True, "one-time"), (False, "one-time"), (True, "chacha20-poly1305"), (False, "aes-256-gcm")):
            self.provision()
            hubs = [self.hub(number, ours=number == 1) for number in (1, 2, 3)]
            taps = {(client, number): self.tap(client, number) for client in ("alice", "bob") for number in (1, 2)}
            waits = self.client("bob", bob, f"bob-{bob}-{suite}", "wait", "--count", "12")
            gets = self.client("alice", True, f"alice-{bob}-{suite}", "get", "bob", *many, "--suite", suite)
            self.assertEqual(gets.ended(), 0, gets.output + waits.output)
            self.assertEqual(waits.ended(), 0, waits.output)
            keys = self.keys(f"alice-{bob}-{suite}").values()
            self.assertEqual(set(keys), set(self.keys(f"bob-{bob}-{suite}").values()))
            self.assertEqual(len(set(keys)), 12)
            for (client, number), tap in taps.items():
                self.assertEqual(tap.faults, [])
                for there in (True, False):
                    self.assertGreater(len(tap.several[there]), 0, f"{client}, hub {number}, to the hub: {there}")
            self.stop(hubs)

    def commands(self, ours: bool, hubs_ours: Callable[[int], bool]) -> None:
        """Everything that a client of one program can ask of hubs of the other."""
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=hubs_ours(number))
        tag = self.tag_of("bob")
        for action in (["publish"], ["lookup", "bob"], ["authorise", "bob", "--no"], ["authorise", "bob"]):
            asked = self.command("alice", ours, *action)
            self.assertEqual(asked.ended(), 0, asked.output)
            if action[0] == "lookup":
                self.assertIn(tag, asked.output)
        nobody = self.command("alice", ours, "lookup", "carol")
        self.assertNotEqual(nobody.ended(), 0, nobody.output)
        taken = self.command("alice", ours, "withdraw", "00" * 16)
        taken.ended()
        self.assertRegex(taken.output, r"nothing of it is there|:1\b")

    def test_commands_of_the_reference_at_hubs_of_the_program(self) -> None:
        self.commands(True, lambda _: False)

    def test_commands_of_the_program_at_hubs_of_the_reference(self) -> None:
        self.commands(False, lambda _: True)

    def test_a_client_that_is_not_authorised_gets_no_key(self) -> None:
        """Bob says so at hubs of both programs; alice is refused at once, and gets a key when he allows her again."""
        for bob in (True, False):
            self.provision()
            hubs = [self.hub(number, ours=number == 1) for number in (1, 2, 3)]
            said = self.command("bob", bob, "authorise", "alice", "--no")
            self.assertEqual(said.ended(), 0, said.output)
            refused = self.client("alice", True, f"none-{bob}", "get", "bob", "--threshold", "2", seconds=5)
            self.assertEqual(refused.ended(), 1, refused.output)
            self.assertIn("refused", refused.output)
            said = self.command("bob", bob, "authorise", "alice")
            self.assertEqual(said.ended(), 0, said.output)
            self.make_key(True, bob, "--threshold", "2", out=f"-{bob}")
            self.stop(hubs)

    def test_all_restart_and_no_table_is_used_twice(self) -> None:
        """Hubs are killed between keys, and clients start for each key anyhow."""
        self.provision()
        for round_number in (1, 2):
            hubs = [self.hub(number, ours=number != 2) for number in (1, 2, 3)]
            self.make_key(True, False, "--threshold", "2", out=f"-{round_number}")
            self.stop(hubs)

    def test_one_datagram_in_four_is_lost(self) -> None:
        self.provision()
        for number in (1, 2, 3):
            self.hub(number, ours=number == 1)
        self.relayed["alice"] = {
            number: self.relay(port, one_in_four(number)).port for number, port in self.addresses.items()
        }
        self.make_key(True, False, "--threshold", "2")
