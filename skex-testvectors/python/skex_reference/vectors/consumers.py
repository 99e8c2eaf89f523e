"""What the file `consumers` means (draft-skex-integration, "Exported Keys", "Consumers")."""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from ..octets import u8, u16, u32, u64
from ..schedule import expand, extract
from ..suites import SUITES
from .case import Case, Json, Kind, Unknown, always

SUITE = SUITES[1]
LONGEST = 255 * 32


def _prk(case: Case) -> bytes:
    return extract(SUITE, b"skex x1 salt", case.octets("secret"))


def _export(
    case: Case, label: str, direction: int, parameters: bytes, length: int, name_length: int
) -> tuple[bytes, bytes]:
    """The key and its name."""
    context = case.octets("keyId") + u64(case.number("index")) + u8(direction) + u32(case.number("number")) + parameters
    about = u8(len(label)) + label.encode("ascii") + context
    prk = _prk(case)
    return expand(SUITE, prk, label, context, length), expand(SUITE, prk, "skex x1 name", about, name_length)


def _text(name: bytes, suffix: str = "") -> bytes:
    return f"skex-{name.hex()}{suffix}".encode("ascii")


# Octets of the name, and its form, by label.
NAMES = {
    "skex x1 raw": (16, lambda name: name),
    "skex x1 ike ppk": (16, lambda name: u8(2) + _text(name, "@skex.invalid")),
    "skex x1 tls psk": (16, _text),
    "skex x1 tls epsk": (16, _text),
    "skex x1 mac cak": (32, lambda name: name),
    "skex x1 mac sak": (16, lambda name: name),
    "skex x1 tcp ao": (16, lambda name: name),
    "skex x1 wg psk": (16, lambda name: name),
    "skex x1 edhoc": (8, lambda name: name),
}

OUTPUTS = ("prk", "key", "nameOctets", "identifier")


def _judge(case: Case) -> str | None:
    if not case.test["confirmed"] or len(case.octets("secret")) < 32:
        return "key"
    if not 1 <= case.number("length") <= LONGEST:
        return "argument"
    return None


def _exported(case: Case) -> Json:
    label = case.group["label"]
    if label not in NAMES:
        raise Unknown(f"the consumer {label!r}")
    if _judge(case) is not None:
        return dict.fromkeys(OUTPUTS)
    length, form = NAMES[label]
    key, name = _export(
        case, label, case.number("direction"), case.octets("parameters"), case.number("length"), length
    )
    return {
        "prk": _prk(case).hex(),
        "key": key.hex(),
        "nameOctets": name.hex(),
        "identifier": form(name).hex(),
    }


def _imported(case: Case) -> Json:
    epsk, name = _export(case, "skex x1 tls epsk", case.number("direction"), u8(case.number("usage")), 32, 16)
    external, context = _text(name), case.octets("context")
    protocol, kdf = case.number("protocol"), case.number("kdf")
    identity = u16(len(external)) + external + u16(len(context)) + context + u16(protocol) + u16(kdf)
    prefix = {0x0304: b"tls13 ", 0xFEFC: b"dtls13"}[protocol]
    length = {1: 32, 2: 48}[kdf]
    label = prefix + b"derived psk"
    about = u16(length) + u8(len(label)) + label + u8(32) + sha256(identity).digest()
    epskx = hmac.digest(bytes(32), epsk, "sha256")
    output, block = b"", b""
    for number in (1, 2):
        block = hmac.digest(epskx, block + about + u8(number), "sha256")
        output += block
    return {"epsk": epsk.hex(), "identity": identity.hex(), "ipsk": output[:length].hex()}


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def _mka(case: Case) -> Json:
    length = case.number("length")
    cak, ckn = _export(case, "skex x1 mac cak", 0, u8(length), length, 32)

    def derived(label: bytes) -> str:
        blocks = range(1, length // 16 + 1)
        return b"".join(_cmac(cak, u8(i) + label + u8(0) + ckn[:16] + u16(8 * length)) for i in blocks).hex()

    return {"cak": cak.hex(), "ckn": ckn.hex(), "kek": derived(b"IEEE8021 KEK"), "ick": derived(b"IEEE8021 ICK")}


def _tcp_ao(case: Case) -> Json:
    generation, algorithm = case.number("generation"), case.number("algorithm")
    key, _ = _export(case, "skex x1 tcp ao", 0, u8(algorithm) + u64(generation), 32, 16)
    master = key if algorithm == 1 else key[:16]
    bits = {1: 160, 2: 128}[algorithm]
    message = (
        b"\x01TCP-AO"
        + case.octets("source")
        + case.octets("destination")
        + u16(case.number("sourcePort"))
        + u16(case.number("destinationPort"))
        + u32(case.number("sourceIsn"))
        + u32(case.number("destinationIsn"))
        + u16(bits)
    )
    traffic = hmac.digest(master, message, "sha1") if algorithm == 1 else _cmac(master, message)
    send = 2 * (generation % 128)
    return {"sendId": send, "recvId": send + 1, "masterKey": master.hex(), "trafficKey": traffic.hex()}


def _edhoc(case: Case) -> Json:
    _, kid = _export(case, "skex x1 edhoc", case.number("direction"), b"", 32, 8)
    subject = case.test["subject"].encode()
    head = u8(0x60 + len(subject)) if len(subject) < 24 else b"\x78" + u8(len(subject))
    compact = b"\x48" + kid
    credential = b"\xa2\x02" + head + subject + bytes.fromhex("08a101a2010402") + compact
    return {"idCred": (b"\xa1\x04" + compact).hex(), "idCredCompact": compact.hex(), "credential": credential.hex()}


def _status_datagram(case: Case) -> Json:
    context = case.octets("keyId") + u64(case.number("index")) + u8(0) + u32(0) + b"skex link status"
    prk, label = _prk(case), b"skex x1 raw"
    key = expand(SUITE, prk, "skex x1 raw", context, 32)
    name = expand(SUITE, prk, "skex x1 name", u8(len(label)) + label + context, 16)
    signed = u8(1) + u8(case.number("end")) + bytes(2) + u64(case.number("generation")) + name + case.octets("status")
    return {"keyName": name.hex(), "datagram": (signed + hmac.digest(key, signed, "sha256")[:16]).hex()}


def _accept(_: Case) -> None:
    return None


FILES: dict[str, dict[str, Kind]] = {
    "consumers": {
        "Export": Kind(always(*OUTPUTS), _exported, _judge),
        "Import": Kind(always("epsk", "identity", "ipsk"), _imported, _accept),
        "Mka": Kind(always("cak", "ckn", "kek", "ick"), _mka, _accept),
        "TcpAo": Kind(always("sendId", "recvId", "masterKey", "trafficKey"), _tcp_ao, _accept),
        "Edhoc": Kind(always("idCred", "idCredCompact", "credential"), _edhoc, _accept),
        "StatusDatagram": Kind(always("keyName", "datagram"), _status_datagram, _accept),
    }
}
