#!/usr/bin/env python3
"""Computes the tables of docs/capacity.md from what `skex load --json` measured.

    skex load --json docs/capacity.json     measure this machine
    python3 docs/capacity.py                write the tables into docs/capacity.md
    python3 docs/capacity.py --check        fail where the page is not what the numbers give
    python3 docs/capacity.py --json FILE    print the tables for other numbers
"""

import argparse
import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
BEGIN, END = "<!-- computed by capacity.py: begin -->", "<!-- computed by capacity.py: end -->"

# What is supposed of a network. The page says the same in words.
ENDPOINTS = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
PEERS = 10  # with which each endpoint keeps a key
KEY_LIFE = 3600  # seconds until a key is replaced
HUBS, THRESHOLD = 5, 3  # of one set of hubs
BUSY = 0.5  # part of a core that a hub may use on the average
HUB_MEMORY = 8e9  # octets that a hub's process may take
FETCH = 15  # seconds between two questions of a client for what waits: the default
HEADERS = 28  # octets of UDP and IPv4 a datagram

ELEMENT = 16
SHARE = 11 * ELEMENT  # a 256-bit key's block of a table: draft-skex-dske, "Blocks"
EPOCH = 4 * ELEMENT / 256  # the same under a computational suite: one block for 256 keys
REFILL_HEAD, ENVELOPE, PART = 12, 25, 64 * ELEMENT  # of a refill's message: draft-skex-dske, "Refills"
YEAR = 365.25 * 86400


def size(octets):
    for unit in ["B", "kB", "MB", "GB", "TB", "PB"]:
        if octets < 999.5 or unit == "PB":
            return f"{octets:.3g} {unit}" if octets < 99.5 else f"{octets:.0f} {unit}"
        octets /= 1000


def number(value):
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def duration(seconds):
    for unit, length in [("d", 86400), ("h", 3600), ("min", 60)]:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def of_key(report, phase="full"):
    """What a key costs a hub: nanoseconds, datagrams and octets, without what clients cost that were idle meanwhile."""
    idle, phase, hubs = report["udp"]["idle"], report["udp"][phase], report["hubs"]
    idle_seconds = report["clients"] * phase["seconds"] / phase["keys"]
    return (
        phase["hub_nanos_a_relay"] - idle["hub_nanos_a_client_second"] * idle_seconds,
        phase["datagrams_a_key"] / hubs - idle["datagrams_a_client_second"] * idle_seconds,
        phase["octets_a_key"] / hubs - idle["octets_a_client_second"] * idle_seconds,
    )


def of_idle(report):
    """What an idle client costs a hub a second, with the pause between two questions that is the default."""
    idle = report["udp"]["idle"]
    slower = idle["fetch_seconds"] / FETCH
    return tuple(idle[f"{what}_a_client_second"] * slower for what in ("hub_nanos", "datagrams", "octets"))


def measured(report):
    udp, memory, floor = report["udp"], report["memory"], report["datagram"]
    full = udp["full"]
    nanos, datagrams, octets = of_key(report)
    idle_nanos, _, idle_octets = of_idle(report)
    best = memory["steady"]["best_nanos_a_relay"] or memory["steady"]["hub_nanos_a_relay"]
    rows = [
        ["a relay costs a hub, over UDP, durable", f"{nanos / 1000:.1f} us of CPU"],
        ["a relay costs a hub, in memory (best slice)", f"{best / 1000:.1f} us of CPU"],
        ["a datagram over loopback, to send and to receive",
         f"{floor['send_nanos'] / 1000:.2f} us and {floor['receive_nanos'] / 1000:.2f} us"],
        ["a client at work takes in a hub's process, at an IPv4 address, beside open files", size(udp["octets_a_client_at_work"])],
        [f"a client that makes no key, its last ones still alive, costs a hub with a question every {FETCH} s",
         f"{idle_nanos / 1000:.2f} us of CPU and {idle_octets:.1f} octets a second"],
        ["datagrams a key and hub, both ways", f"{datagrams:.1f}"],
        ["octets a key and hub, both ways, without UDP and IP", f"{octets:.0f}"],
        [f"the same with {report['loss_per_mille'] / 10:.0f} % loss, and what clients that make no key ask again for that reason",
         f"{of_key(report, 'loss')[2]:.0f}"],
        ["messages of a hub for each sync, many keys at once", f"{full['messages_a_sync']:.0f}"],
        ["a key alone, request to confirmation, median", f"{udp['alone']['latency_micros']['p50'] / 1000:.1f} ms"],
        ["a table, made, stored, carried and taken in",
         f"{report['provisioning']['nanos_a_kibioctet'] / 1000:.1f} us of CPU a KiB"],
    ]
    return table(["measured", ""], rows)


def hubs_table(report):
    client = report["udp"]["octets_a_client_at_work"]
    nanos, datagrams, octets = of_key(report)
    idle_nanos, idle_datagrams, idle_octets = of_idle(report)
    rows = []
    for endpoints in ENDPOINTS:
        keys = endpoints * PEERS / 2 / KEY_LIFE
        core = (keys * nanos + endpoints * idle_nanos) / 1e9
        sets = max(1, math.ceil(core / BUSY), math.ceil(endpoints * client / HUB_MEMORY))
        each, rate = endpoints / sets, keys / sets
        traffic = rate * (octets + HEADERS * datagrams) + each * (idle_octets + HEADERS * idle_datagrams)
        rows.append([
            f"{endpoints:,}", number(keys), f"{sets * HUBS:,}", f"{100 * core / sets:.2g} %",
            size(each * client), size(traffic * 8).replace("B", "bit/s"),
            size(each * PEERS / KEY_LIFE * SHARE * YEAR),
        ])
    head = ["endpoints", "keys a second", "hubs", "core, each hub", "memory, each hub", "traffic, each hub",
            "tables a year, each hub"]
    return table(head, rows)


def tables_table(report):
    kibioctet = report["provisioning"]["nanos_a_kibioctet"] / 1e9
    rows = []
    for name, life in [("a day", 86400), ("an hour", 3600), ("a minute", 60), ("a second", 1)]:
        keys = YEAR / life
        rows.append([
            name, number(keys * PEERS), size(keys * PEERS * SHARE), size(keys * PEERS * SHARE * HUBS),
            size(keys * PEERS * EPOCH * HUBS), duration(keys * PEERS * SHARE * HUBS / 1024 * kibioctet),
        ])
    head = [f"each of {PEERS} keys is replaced after", "keys a year", "a hub", f"{HUBS} hubs",
            f"{HUBS} hubs, computational suite", "CPU to make and take in"]
    return table(head, rows)


def refill_table(report):
    kibioctet = report["provisioning"]["nanos_a_kibioctet"] / 1e9
    overhead = (REFILL_HEAD + ENVELOPE + HEADERS) / PART
    rows = []
    for octets in [1 << 20, 64 << 20, 1 << 30]:
        rows.append([
            size(octets), number(octets / SHARE), duration(octets / SHARE * KEY_LIFE / PEERS),
            duration(octets / 1024 * kibioctet), size(octets * (1 + overhead)),
        ])
    head = ["table", "256-bit keys", f"lasts, {PEERS} peers, a key an hour", "CPU, out of band",
            "on the wire, over the network"]
    return table(head, rows)


def page_part(report):
    parts = [
        "### What was measured\n", measured(report),
        "\n\n### From ten endpoints to a million\n", hubs_table(report),
        "\n\n### Tables of one endpoint a year\n", tables_table(report),
        "\n\n### A refill\n", refill_table(report),
    ]
    return "\n".join(parts)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="fail where the page is not what the numbers give")
    arguments.add_argument("--json", type=pathlib.Path, help="print the tables for these numbers instead")
    chosen = arguments.parse_args()
    report = json.loads((chosen.json or HERE / "capacity.json").read_text(encoding="utf-8"))
    part = page_part(report)
    if chosen.json:
        print(part)
        return
    page = HERE / "capacity.md"
    old = page.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"
    if chosen.check:
        if old != new:
            sys.exit("docs/capacity.md is not what docs/capacity.json gives: run docs/capacity.py")
        print("docs/capacity.md is what docs/capacity.json gives")
    else:
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
