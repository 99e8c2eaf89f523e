"""What the specifications name: types, statuses, and the fields of messages. Read from their text, so that a name that is added there
is missed here."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def section(draft: str, heading: str) -> str:
    """From this heading up to the next one of its level or above."""
    text = (DOCS / f"draft-skex-{draft}.md").read_text()
    begin = re.search(rf"^(#+) {re.escape(heading)}( |$).*\n", text, re.MULTILINE)
    assert begin, heading
    end = re.compile(rf"^#{{1,{len(begin[1])}}} ", re.MULTILINE).search(text, begin.end())
    return text[begin.end() : end.start() if end else len(text)]


def inner_types() -> dict[int, str]:
    """draft-skex-dske, "Inner messages"."""
    return {int(code): name for name, code in re.findall(r"\b([A-Z][A-Z_]{3,}) \((\d+)\)", section("dske", "Inner messages"))}


def outer_types() -> dict[int, str]:
    return {int(code): name for name, code in re.findall(r"^([A-Z_]+) \(type (\d+)", section("dske", "Outer messages"), re.MULTILINE)}


def _rows(text: str) -> dict[int, str]:
    return {int(value): name for value, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text, re.MULTILINE)}


def answer_statuses() -> dict[int, str]:
    return _rows(section("dske", "Answer statuses"))


def outcome_statuses() -> dict[int, str]:
    # The table before the first section below.
    return _rows(section("dske", "Commands").split("\n## ")[0])


# How the dissector calls what draft-skex-unmediated names in the tables of its messages, by how the name there begins.
UNMEDIATED_NAMES = {
    "0x": ("version", "type"),
    "flags": ("flags",),
    "attempt": ("attempt",),
    "pseudonym of I": ("pseudonym",),
    "nonce Ni": ("initiator_nonce",),
    "Ni": ("initiator_nonce",),
    "nonce Nr": ("responder_nonce",),
    "Nr": ("responder_nonce",),
    "n suites": ("suite_count",),
    "suite": ("suite",),
    "... suite n": ("suite",),
    "ext len, extension block": ("extension_length", "extension"),
    "ext len": ("extension_length",),
    "extension block": ("extension",),
    "status": ("status",),
    "cookie": ("cookie",),
    "guard tag": ("guard",),
    "MAC": ("tag",),
}


def _called(text: str) -> tuple[str, ...]:
    beginnings = [name for name in UNMEDIATED_NAMES if text.startswith(name)]
    assert beginnings, f"draft-skex-unmediated names {text!r}, which nobody here knows"
    return UNMEDIATED_NAMES[max(beginnings, key=len)]


def unmediated_fields() -> dict[int, list[tuple[str, int | None]]]:
    """By type: the fields in order, and their octets where the table has one number."""
    blocks = re.findall(r"~~~\n(.*?)~~~", section("unmediated", "Messages"), re.DOTALL)
    found: dict[int, list[tuple[str, int | None]]] = {}
    first = [("version", None), ("type", None)]
    # The cells of the diagram of the first message, but for the two nibbles of octet 0.
    for cell in re.findall(r"[|+]\s{1,}([A-Za-z.][\w. ]*?(?: \([^)]*\))?) +(?=[|+])", blocks[0]):
        name, length = re.fullmatch(r"(.*?)(?: \((.*)\))?", cell).groups()
        octets = int(length) if length and length.isdigit() else None
        first += [(called, octets) for called in _called(name)]
    # What an initiator appends that got a cookie stands below the diagram.
    found[1] = [*first, ("cookie_length", 1), ("cookie", 16)]
    for block in blocks[1:]:
        rows = re.findall(r"^ +([\d.,]+)  (\S.*)$", block, re.MULTILINE)
        kind, fields = int(rows[0][1], 16) & 15, []
        for octets, text in rows:
            if text.startswith("the short form from its octet 1 on"):
                fields += [field for field in found[3] if field[0] not in ("version", "type")]
                continue
            called = _called(text)
            length = int(octets) if octets.isdigit() and len(called) == 1 else None
            fields += [(name, length) for name in called]
        found[kind] = fields
    return found
