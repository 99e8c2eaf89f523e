"""What an operator has a hub or client do, while it runs or at its next start: `python3 -m skex_reference order`.

An order is a file in the directory of the end, which carries it out, erases the file, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import disk

WAYS = ("uplink", "downlink")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="the directory of a hub or a client")
    orders = parser.add_subparsers(dest="order", required=True)
    key = orders.add_parser("key", help="give a link another initial key, from a file of 32 octets, which is erased")
    key.add_argument("link", help="the client's name at the hub, or the hub's at the client")
    key.add_argument("file", type=Path)
    retire = orders.add_parser("retire", help="take a table out of service")
    retire.add_argument("link")
    retire.add_argument("way", choices=WAYS)
    retire.add_argument("table", type=int)
    revoke = orders.add_parser("revoke", help="at a hub: end the enrolment of a client")
    revoke.add_argument("link")
    enrol = orders.add_parser("enrol", help="at a hub: enrol a client, one that was revoked anew or one that is new there")
    enrol.add_argument("link")
    enrol.add_argument("out", type=Path, help="the provisioning file to make for it")
    enrol.add_argument("--tag", default="", help="of one that is new; from its own skex.json")


def give(arguments: argparse.Namespace) -> int:
    order: dict[str, Any] = {"order": arguments.order, "link": arguments.link}
    match arguments.order:
        case "key":
            key = arguments.file.read_bytes()
            if len(key) != 32 or not any(key):
                # Zeros are what is left of a file that was erased.
                raise ValueError("an initial key has 32 octets, and not zeros only")
            order["key"] = key.hex()
        case "retire":
            order |= {"direction": WAYS.index(arguments.way), "table": arguments.table}
        case "enrol":
            order |= {"out": str(arguments.out.absolute()), "tag": arguments.tag}
    number = len(list(arguments.dir.glob("*.order")))
    disk.write(arguments.dir / f"{number:06}-{os.getpid()}.order", json.dumps(order).encode())
    if arguments.order == "key":
        disk.erase(arguments.file)
    return 0


def waiting(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """In the order in which they were given. What is carried out is erased by who does it."""
    for path in sorted(folder.glob("*.order")):
        yield path, json.loads(path.read_text())
