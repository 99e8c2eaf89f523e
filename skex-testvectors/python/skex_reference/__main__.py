"""`python3 -m skex_reference`: see `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .dske import distributor, orders
from .dske import run as dske
from .unmediated import run as unmediated

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="skex_reference", description="A readable reference of the SKEX protocols. For tests, and nothing else."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    verify = commands.add_parser("verify", help="hold this implementation against test vectors")
    verify.add_argument("folder", type=Path, nargs="?", default=VECTORS)

    generate = commands.add_parser("generate", help="compute the test vectors anew")
    generate.add_argument("out", type=Path)
    generate.add_argument("--cases", type=Path, default=VECTORS, help="where names and stated inputs come from")

    peer = commands.add_parser("peer", help="make keys with another peer, over UDP")
    unmediated.add_arguments(peer)

    hub = commands.add_parser("hub", help="run a hub, over UDP")
    dske.add_hub_arguments(hub)
    client = commands.add_parser("client", help="make keys with other clients, over UDP")
    dske.add_client_arguments(client)

    order = commands.add_parser("order", help="have a hub or client do what its operator wants")
    orders.add_arguments(order)

    portion = commands.add_parser("portion", help="cut the next portion from a provisioning file, as a distributor does")
    distributor.add_arguments(portion)

    arguments = parser.parse_args()
    if arguments.command == "hub":
        return dske.run_hub(arguments)
    if arguments.command == "client":
        return dske.run_client(arguments)
    if arguments.command == "order":
        return orders.give(arguments)
    if arguments.command == "portion":
        return distributor.run(arguments)
    if arguments.command == "peer":
        return unmediated.run(arguments)
    # What only these need takes a while to load.
    from .vectors import files

    if arguments.command == "verify":
        return 0 if files.verify(arguments.folder) else 1
    files.generate(arguments.cases, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
