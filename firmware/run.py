#!/usr/bin/env python3
"""Builds the images, runs them under QEMU, and holds what they print to their bounds: python3 firmware/run.py

Needs a rustc with the source of the core library (SKEX_RUSTC, SKEX_CARGO: by default Debian's in /usr/bin), qemu-system-arm, and a
rust-lld, which rustup's toolchains bring along. Bounds are what the images reach today, rounded up: a rise is noticed. The goals are in
README.md, which says which of them are not reached.
"""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = HERE / "target/thumbv7em-none-eabi/release"

# The compiler's own libraries are built as the images are, and where they have two ways, the small one.
STANDARD = ["-Zbuild-std=core,alloc", "-Zbuild-std-features=optimize_for_size"]

# What is printed, in octets, and the most that it may be.
BOUNDS = {
    "peer_ram": 1024,
    "stack_enrolment": 6272,
    "stack_handshake": 2048,
    "stack_export": 2176,
    "stack_restart": 1920,
    "heap_initiator": 12288,
    "heap_responder": 18432,
    "stack_start": 7552,
    "stack_connecting": 7552,
    "stack_key": 8448,
    "flash_parts": 5632,
    "flash_peer": 25536,
    "flash_both_parts": 19200,
    "flash_both": 126208,
}


def linker():
    found = shutil.which("rust-lld")
    if found and subprocess.run([found, "-flavor", "gnu", "--version"], capture_output=True).returncode == 0:
        return found
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    return next(Path(sysroot).glob("lib/rustlib/*/bin/rust-lld"))


def build(*arguments):
    environment = os.environ | {
        "RUSTC": os.environ.get("SKEX_RUSTC", "/usr/bin/rustc"),
        # Debian's stable compiler builds its own core library.
        "RUSTC_BOOTSTRAP": "1",
        "CARGO_TARGET_THUMBV7EM_NONE_EABI_LINKER": str(linker()),
    }
    environment.pop("CARGO_TARGET_DIR", None)
    cargo = os.environ.get("SKEX_CARGO", "/usr/bin/cargo")
    command = [cargo, "build", "-q", "--release", *STANDARD, *arguments]
    subprocess.run(command, cwd=HERE, env=environment, check=True)


def run(image):
    """Runs an image to its end, and gives what it printed."""
    command = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        [*command, "-kernel", RELEASE / image], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    figures = {}
    for line in done.stdout.splitlines():
        name, value = line.split()
        figures[name] = int(value)
    if done.returncode != 0:
        sys.exit(f"{image} failed after {figures}")
    return figures


def flash(image):
    """Octets of an image's loaded segments that are not zero at the start (ELF32, little-endian)."""
    octets = (RELEASE / image).read_bytes()
    table, = struct.unpack_from("<I", octets, 28)
    size, count = struct.unpack_from("<HH", octets, 42)
    loaded = 0
    for number in range(count):
        kind, _, _, _, in_file = struct.unpack_from("<IIIII", octets, table + number * size)
        loaded += in_file if kind == 1 else 0
    return loaded


def main():
    figures = {}
    build("--bin", "floor", "--bin", "pair", "--bin", "parts", "--bin", "peer")
    figures |= run("floor")
    figures |= run("pair")
    figures |= run("parts")
    figures |= run("peer")
    figures["flash_parts"] = flash("parts") - flash("floor")
    figures["flash_peer"] = flash("peer") - flash("floor")
    build("--features", "dske")
    figures |= run("floor")
    figures |= run("client_parts")
    figures |= run("client")
    figures["flash_both_parts"] = flash("client_parts") - flash("floor")
    figures["flash_both"] = flash("client") - flash("floor")
    figures |= run("keys")
    wrong = 0
    for name, value in figures.items():
        bound = BOUNDS.get(name)
        over = bound is not None and value > bound
        wrong += over
        print(f"{name:18} {value:8}" + (f"  at most {bound}" if bound else "") + ("  WRONG" if over else ""))
    missing = BOUNDS.keys() - figures.keys()
    if missing:
        sys.exit(f"not printed: {sorted(missing)}")
    sys.exit(1 if wrong else 0)


main()
