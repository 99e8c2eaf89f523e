"""Holds the decoders in Python against those in Rust: python3 differential.py CORPUS... (after `fuzz/run`, which fills corpora).

Both accept and refuse the same octets, and what they accept, Python writes again to the same octets; that Rust does, the targets
assert.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "skex-testvectors" / "python"))

from skex_reference.dske import epochs, link  # noqa: E402
from skex_reference.dske import wire as dske  # noqa: E402
from skex_reference.octets import DecodeError  # noqa: E402
from skex_reference.unmediated import wire as unmediated  # noqa: E402



class Inner:
    """An inner message, with its number if it is sealed in an epoch."""

    def __init__(self, octets: bytes) -> None:
        self._number, self._message = link.decode_inner(octets)

    def encode(self) -> bytes:
        octets = self._message.encode()
        return octets if self._number is None else epochs.head(octets, self._number)


DECODERS = {"outer": dske.decode_outer, "inner": Inner, "unmediated": unmediated.decode}


def main() -> int:
    files = sorted(str(path) for folder in sys.argv[1:] for path in Path(folder).iterdir())
    command = ["cargo", "run", "-q", "--release", "--manifest-path", str(HERE / "Cargo.toml"), "--example", "accepts"]
    told = subprocess.run(command, input="\n".join(files), capture_output=True, text=True, check=True).stdout
    wrong, accepted = 0, dict.fromkeys(DECODERS, 0)
    for line in told.splitlines():
        name, verdicts = line.rsplit(" ", 1)
        octets = Path(name).read_bytes()
        for (kind, decode), verdict in zip(DECODERS.items(), verdicts):
            try:
                message = decode(octets)
            except DecodeError as problem:
                message, why = None, str(problem)
            if (message is not None) != (verdict == "1"):
                wrong += 1
                reason = "Rust refuses it" if message is not None else f"Python refuses it: {why}"
                print(f"{kind} {octets.hex()[:160]}: {reason}")
            elif message is not None:
                accepted[kind] += 1
                if message.encode() != octets:
                    wrong += 1
                    print(f"{kind} {octets.hex()[:160]}: Python writes {message.encode().hex()[:160]}")
    print(f"{len(files)} inputs, accepted by both: {accepted}; {wrong} differences")
    return 1 if wrong or not files or not all(accepted.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
