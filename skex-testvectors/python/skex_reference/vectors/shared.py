"""What the files `labels`, `suites`, `key-schedule` and `records` mean."""

from __future__ import annotations

from collections.abc import Callable

from ..dske import entries
from ..octets import Reader
from ..records import Record, read, replay, ruling
from ..schedule import DSKE, EXPORT, SHARED, UNMEDIATED, TooLong, expand, extract, info
from ..suites import equal
from .case import Case, Json, Kind, Unknown, always, flip, layer_of

LABELS = {"skex c1 ": SHARED, "skex u1 ": UNMEDIATED, "skex d1 ": DSKE, "skex x1 ": EXPORT}


# ---- labels


def _label(case: Case) -> Json:
    label = case.test["label"]
    if label not in LABELS.get(case.group["prefix"], ()):
        raise Unknown(f"the label {label!r}")
    return {
        "octets": label.encode("ascii").hex(),
        "info": info(label, case.octets("context"), case.number("length")).hex(),
    }


LABEL = Kind(always("octets", "info"), _label, lambda _: None)


def all_labels_are_there(groups: list[Json]) -> bool:
    found = [test["label"] for group in groups for test in group["tests"]]
    return sorted(found) == sorted(label for labels in LABELS.values() for label in labels)


# ---- suites

HASH = Kind(always("digest"), lambda case: {"digest": case.suite.hash(case.octets("message")).hex()}, lambda _: None)


def _mac_outputs(case: Case) -> list[str]:
    return ["mac", "tag", "message"] if case.flag == "ModifiedMessage" else ["mac", "tag"]


def _mac(case: Case) -> Json:
    key = case.octets("key")
    if case.flag == "ModifiedMessage":
        # The tag is that of the message before; `mac` is that of the message as it stands.
        before = case.before("message")
        message = flip(before, 0)
        return {
            "message": message.hex(),
            "mac": case.suite.hmac(key, message).hex(),
            "tag": case.suite.mac(key, before).hex(),
        }
    mac = case.suite.hmac(key, case.octets("message"))
    tag = flip(mac[:16], -1) if case.flag == "ModifiedTag" else mac[:16]
    return {"mac": mac.hex(), "tag": tag.hex()}


def _judge_mac(case: Case) -> str | None:
    right = equal(case.suite.mac(case.octets("key"), case.octets("message")), case.octets("tag"))
    return None if right else "authenticate"


MAC = Kind(_mac_outputs, _mac, _judge_mac)

_AEAD_INPUTS = {"ModifiedAad": "aad", "ModifiedNonce": "nonce"}


def _aead_outputs(case: Case) -> list[str]:
    changed = _AEAD_INPUTS.get(case.flag)
    return ["ciphertext", "tag", *([changed] if changed else [])]


def _aead(case: Case) -> Json:
    changed = _AEAD_INPUTS.get(case.flag)
    given = {
        path: case.before(path) if path == changed else case.octets(path)
        for path in ("key", "nonce", "aad", "plaintext")
    }
    sealed = case.suite.seal(given["key"], given["nonce"], given["aad"], given["plaintext"])
    ciphertext, tag = sealed[:-16], sealed[-16:]
    if case.flag == "ModifiedTag":
        tag = flip(tag, 0)
    if case.flag == "ModifiedCiphertext":
        ciphertext = flip(ciphertext, 0)
    outputs = {"ciphertext": ciphertext.hex(), "tag": tag.hex()}
    if changed:
        outputs[changed] = flip(given[changed], 0).hex()
    return outputs


def _judge_aead(case: Case) -> str | None:
    def attempt() -> None:
        sealed = case.octets("ciphertext") + case.octets("tag")
        opened = case.suite.open(case.octets("key"), case.octets("nonce"), case.octets("aad"), sealed)
        if opened != case.octets("plaintext"):
            raise ValueError("another plaintext")

    return layer_of(attempt)


AEAD = Kind(_aead_outputs, _aead, _judge_aead)


# ---- key-schedule


def _extract(case: Case) -> Json:
    return {"prk": extract(case.suite, case.octets("salt"), case.octets("ikm")).hex()}


EXTRACT = Kind(always("prk"), _extract, lambda _: None)


def _okm(case: Case) -> bytes:
    return expand(
        case.suite, case.octets("prk"), case.test["label"], case.octets("context"), case.number("length")
    )


def _expand(case: Case) -> Json:
    about = info(case.test["label"], case.octets("context"), case.number("length"))
    try:
        okm = _okm(case).hex()
    except TooLong:
        okm = None
    return {"info": about.hex(), "okm": okm}


EXPAND = Kind(always("info", "okm"), _expand, lambda case: layer_of(lambda: _okm(case)))


# ---- records

# The octets behind a record in these tests: a slot may have a fixed size.
SPARE = b"\xaa"


def _frame(case: Case) -> Json:
    """A good record is made; the octets of a bad one are stated, and give nothing."""
    if not case.valid:
        return {"sequence": None, "body": None}
    record = Record(case.number("kind"), case.octets("machine"), case.number("sequence"), case.octets("body"))
    octets = record.encode()
    return {"octets": octets.ljust(case.lengths["octets"], SPARE).hex()}


def _read(case: Case) -> None:
    record = read(case.octets("octets"), case.number("kind"), case.octets("machine"))
    if (record.sequence, record.body) != (case.number("sequence"), case.octets("body")):
        raise ValueError("another record")


FRAME = Kind(
    lambda case: ["octets"] if case.valid else ["sequence", "body"],
    _frame,
    lambda case: layer_of(lambda: _read(case)),
)


def _ruling(case: Case) -> tuple[int, Record] | None:
    slots = [bytes.fromhex(slot) for slot in case.test["slots"]]
    return ruling(slots, case.number("kind"), case.octets("machine"))


def _slots(case: Case) -> Json:
    found = _ruling(case) if case.valid else None
    if found is None:
        return {"rules": None, "sequence": None, "body": None}
    number, record = found
    return {"rules": number, "sequence": record.sequence, "body": record.body.hex()}


SLOTS = Kind(always("rules", "sequence", "body"), _slots, lambda case: layer_of(lambda: _ruling(case)))


def _replay(case: Case) -> dict[bytes, bytes]:
    records = [bytes.fromhex(record) for record in case.test["records"]]
    return replay(records, case.number("kind"), case.octets("machine"))


def _log(case: Case) -> Json:
    if not case.valid:
        return {"entries": None}
    return {"entries": {name.hex(): value.hex() for name, value in sorted(_replay(case).items())}}


LOG = Kind(always("entries"), _log, lambda case: layer_of(lambda: _replay(case)))


# ---- values of DSKE machines ("Records", informative)

def _same(case: Case, form: Callable[[Reader], entries.Fields]) -> None:
    """The value says what the test states."""
    for name, found in entries.value(form, case.octets("value")).items():
        if (found.hex() if isinstance(found, bytes) else found) != case.test[name]:
            raise ValueError(f"another {name}")


def _marks_value(tables: list[Json]) -> bytes:
    value = b""
    for table in tables:
        value += bytes([table["direction"] | (entries.REFILLED if table["refilled"] else 0)])
        value += table["number"].to_bytes(2)
        value += b"".join(table[count].to_bytes(4) for count in ("mark", "erased", "elements"))
    return value


def _marks(case: Case) -> Json:
    if not case.valid:
        return {"tables": None}
    return {"value": _marks_value(case.test["tables"]).hex()}


def _judge_marks(case: Case) -> str | None:
    return layer_of(lambda: _same(case, entries.marks))


MARKS = Kind(lambda case: ["value"] if case.valid else ["tables"], _marks, _judge_marks)


def _relay(case: Case) -> Json:
    test = case.test
    value = test["responder"].to_bytes(4) + test["left"].to_bytes(4)
    value += bytes([test["suite"], test["threshold"], len(case.octets("coordinates"))])
    value += test["keyLength"].to_bytes(4) + test["lifetime"].to_bytes(2)
    value += case.octets("coordinates") + case.octets("origins") + case.octets("secretTag")
    head, confirmation = 0, b""
    if test["withdrawn"] is not None:
        head = entries.WITHDRAWN | test["withdrawn"]
    elif test["confirmedOrigins"] is not None:
        head = len(case.octets("confirmedOrigins"))
        confirmation = b"".join(case.octets("confirmed" + part) for part in ("Origins", "Lying", "Tag"))
    head |= entries.REFILLED if test["refilled"] else 0
    return {"value": (value + bytes([head]) + confirmation + case.octets("share")).hex()}


RELAY = Kind(always("value"), _relay, lambda case: layer_of(lambda: _same(case, entries.relay)))

FILES = {
    "labels": {"Label": LABEL},
    "suites": {"Hash": HASH, "Mac": MAC, "Aead": AEAD},
    "key-schedule": {"Extract": EXTRACT, "Expand": EXPAND},
    "records": {"Frame": FRAME, "Slots": SLOTS, "Log": LOG, "Marks": MARKS, "Relay": RELAY},
}

