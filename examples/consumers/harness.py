"""What the tests against real consumers share: two hosts as network namespaces, `skex` at both, and counted packets."""

import atexit
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30  # seconds, after which a thing that should have happened will not


class Missing(Exception):
    """What this machine cannot do: a test that needs it is skipped, by name."""


def need(*programs, root=True, tun=False):
    """Raises Missing where a test cannot run here."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    absent = [program for program in programs if not shutil.which(program)]
    if absent:
        raise Missing("no " + ", ".join(absent))
    if root and os.geteuid() != 0:
        raise Missing("not root, so no network namespaces")
    if tun and not os.path.exists("/dev/net/tun"):
        raise Missing("no /dev/net/tun")
    if root:
        probe = "skexprobe%d" % os.getpid()
        if subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode:
            raise Missing("network namespaces cannot be made here")
        subprocess.run(["ip", "netns", "del", probe], check=True)


def check(what, holds, detail=""):
    """One line a fact; the first that does not hold ends the test."""
    print(f"  {'ok  ' if holds else 'FAIL'} {what}" + (f" ({detail})" if detail else ""), flush=True)
    if not holds:
        raise AssertionError(what)


def eventually(what, condition, patience=PATIENCE):
    """Waits until something holds, and says so."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return check(what, True)
        time.sleep(0.05)
    check(what, False, f"not within {patience} s")


class World:
    """Two hosts, a and b, on one wire. Everything of it is gone when it is closed, whatever happened."""

    def __init__(self, skex):
        self.skex = os.path.abspath(skex)
        self.directory = tempfile.mkdtemp(prefix="skex-consumers-")
        os.chmod(self.directory, 0o700)
        self.tag = secrets.token_hex(3)
        self.host = {side: f"skex{self.tag}{side}" for side in "ab"}
        self.address = {"a": "10.90.0.1", "b": "10.90.0.2"}
        self.port = {"a": 4700, "b": 4800}
        self.processes = []
        self.feeds = []
        atexit.register(self.close)

    def path(self, name):
        return os.path.join(self.directory, name)

    def loopback(self):
        """Without namespaces, and so without privileges: both hosts are here."""
        free = 20000 + secrets.randbelow(8000)
        self.address = {"a": "127.0.0.1", "b": "127.0.0.1"}
        self.port = {"a": free, "b": free + 10}
        return self

    def wire(self):
        for side in "ab":
            sh("ip", "netns", "add", self.host[side])
        sh("ip", "link", "add", "wire", "netns", self.host["a"], "type", "veth", "peer", "name", "wire", "netns", self.host["b"])
        for side in "ab":
            self.run(side, "ip", "addr", "add", self.address[side] + "/24", "dev", "wire")
            self.run(side, "ip", "link", "set", "wire", "up")
            self.run(side, "ip", "link", "set", "lo", "up")
        return self

    def on(self, side, *command):
        """A command line on a host; without a wire, here."""
        return ["ip", "netns", "exec", self.host[side], *command] if os.path.exists("/run/netns/" + self.host[side]) else [*command]

    def run(self, side, *command, **options):
        options.setdefault("check", True)
        return subprocess.run(self.on(side, *command), **options)

    def start(self, side, *command, log=None, **options):
        """A process that ends with the test."""
        out = open(self.path(log), "ab") if log else subprocess.DEVNULL
        process = subprocess.Popen(self.on(side, *command), stdin=options.pop("stdin", subprocess.DEVNULL), stdout=options.pop("stdout", out), stderr=subprocess.STDOUT, **options)
        self.processes.append(process)
        return process

    def enrol(self):
        """A pair of peers: end A of the pair is on host a."""
        with open(self.path("secret"), "wb", opener=private) as file:
            file.write(secrets.token_bytes(32))
        for side, name, other in (("a", "alice", "bob"), ("b", "bob", "alice")):
            sh(self.skex, "peer", "--dir", self.path(side), "enrol", "--role", side, "--id", name, "--peer-id", other, "--secret-file", self.path("secret"), stdout=subprocess.DEVNULL)
        os.unlink(self.path("secret"))

    def provision(self, hubs=3):
        """Two clients and hubs, which run on host a."""
        addresses = [argument for number in range(hubs) for argument in ("--hub-address", f"{self.address['a']}:{47100 + number}")]
        sh(self.skex, "provision", "--out", self.path("net"), "--hubs", str(hubs), "--clients", "alice,bob", "--table-size", "64KiB", *addresses, stdout=subprocess.DEVNULL)
        for side, name in (("a", "alice"), ("b", "bob")):
            os.rename(self.path("net/" + name), self.path(side))
        return [self.start("a", self.skex, "hub", "--dir", self.path(f"net/hub-{number + 1}"), log=f"hub-{number + 1}.log") for number in range(hubs)]

    def feed(self, side, *consumer, options=()):
        """`skex peer feed` on a host, or `skex client feed`, where it was provisioned as one. Both know where the other is."""
        other = "b" if side == "a" else "a"
        port = self.port
        if os.path.exists(self.path("net")):
            name = {"a": "alice", "b": "bob"}
            source = ["client", "--dir", self.path(side), "feed", name[other], "-k", "2"]
        else:
            source = ["peer", "--dir", self.path(side), "feed", "--bind", f"{self.address[side]}:{port[side]}", "--peer", f"{self.address[other]}:{port[other]}"]
        feed = Feed(self, side, [
            self.skex, *source, "--steered",
            "--link-bind", f"{self.address[side]}:{port[side] + 1}", "--link-peer", f"{self.address[other]}:{port[other] + 1}",
            *options, *consumer])
        self.feeds.append(feed)
        return feed

    def flood(self, side, to, seconds, per_second=50, source=None):
        """Packets for so long, counted when asked."""
        return Flood(self, side, to, seconds, per_second, source)

    def pings(self, side, to, count=3):
        """How many of some pings are answered."""
        return self.flood(side, to, count * 0.2, 5).lost() == 0

    def close(self):
        atexit.unregister(self.close)
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        for side in "ab":
            name = self.host[side]
            if os.path.exists("/run/netns/" + name):
                left = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
                for pid in left:
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                subprocess.run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            for feed in self.feeds:
                print(f"---- what skex on {feed.side} said\n" + "\n".join(feed.lines[-40:]))
            for name in sorted(os.listdir(self.directory)):
                if name.endswith(".log"):
                    with open(self.path(name), errors="replace") as log:
                        print(f"---- {name}\n" + "".join(log.readlines()[-25:]))
        self.close()


class Feed:
    """A `skex` that feeds a consumer: its reports, in JSON, and orders to it."""

    def __init__(self, world, side, command):
        self.world, self.side, self.lines, self.reports = world, side, [], []
        self.news = threading.Condition()
        self.process = subprocess.Popen(world.on(side, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        world.processes.append(self.process)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip())
                try:
                    self.reports.append(json.loads(line))
                except ValueError:
                    pass
                self.news.notify_all()

    def rotate(self):
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()

    def seen(self, step, generation=None, after=0, text=""):
        """Whether it reported a step, since so many reports."""
        return any(report.get("event") == "rotation" and report["step"] == step and generation in (None, report["generation"]) and text in report["text"] for report in self.reports[after:])

    def wait(self, step, generation=None, after=0, text="", patience=PATIENCE):
        with self.news:
            came = self.news.wait_for(lambda: self.seen(step, generation, after, text), patience)
        check(f"{self.side}: {step}" + (f" generation {generation}" if generation else "") + (f": {text}" if text else ""), came)

    def mark(self):
        """For `after`."""
        return len(self.reports)

    def kill(self):
        """As a loss of power would."""
        self.process.kill()
        self.process.wait()

    def generation(self):
        """The highest one that both ends transmitted with."""
        return max((report["generation"] for report in self.reports if report.get("step") == "rotated"), default=0)


def words(command, **values):
    """A command as a document shows it, behind `skex peer --dir DIR feed ...` if it begins so, with its values put in."""
    text = command.replace("\\\n", " ").split(" feed ... ")[-1]
    for name, value in values.items():
        text = text.replace(name.upper().replace("_", "-"), value)
    return text.split()


class Flood:
    """Pings at a steady rate. A packet is lost if no answer ever came."""

    def __init__(self, world, side, to, seconds, per_second, source):
        count = max(1, int(seconds * per_second))
        bind = ["-I", source] if source else []
        command = world.on(side, "ping", "-i", str(1 / per_second), "-c", str(count), "-W", "2", *bind, to)
        # An interface that is being set up anew, as MKA does with each key, has no route at that moment: nothing was sent then.
        for _ in range(10):
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                if self.process.wait(timeout=0.3) != 2:
                    break
                time.sleep(0.3)
            except subprocess.TimeoutExpired:
                break
        world.processes.append(self.process)
        self.said, self.stopped = [], False
        # As it comes: a pipe holds only so much.
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def stop(self):
        """Ends it early; what was sent by then counts, but for a last packet that was still under way."""
        time.sleep(0.5)
        if self.process.poll() is None:
            self.stopped = True
            os.kill(self.process.pid, signal.SIGINT)

    def count(self):
        """Sent, lost."""
        self.process.wait(timeout=120)
        self.reader.join(timeout=10)
        said = "".join(self.said)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        if not found:
            raise AssertionError("ping said: " + said[-2000:])
        self.sent, self.received = map(int, found.groups())
        if self.stopped and self.sent > 1 and f"icmp_seq={self.sent} " not in said:
            self.sent -= 1
        return self.sent, self.sent - self.received

    def lost(self):
        return self.count()[1]


def private(path, flags):
    return os.open(path, flags, 0o600)


def sh(*command, **options):
    return subprocess.run(command, check=True, **options)


def rotate_under_traffic(world, a, b, flood, times, pause=1.0):
    """`times` rotations, each seen to be finished at both ends before the next; then the packets of `flood`."""
    for _ in range(times):
        generation = a.generation() + 1
        a.rotate()
        for feed in (a, b):
            feed.wait("rotated", generation)
        time.sleep(pause)
    flood.stop()
    return flood.count()


def settle(a, b, at_least=1, patience=60):
    """Waits until both transmit with one generation and have nothing more to do. A consumer that lost its keys makes the other
    end ask for another, so there may be one more than was ordered."""
    def is_calm():
        marks = (a.mark(), b.mark())
        time.sleep(1.5)
        return marks == (a.mark(), b.mark()) and a.generation() == b.generation() >= at_least

    eventually(f"both ends come to rest with generation {at_least} or a later one", is_calm, patience)


def no_secrets_in_sight(world):
    """Neither logs nor arguments hold an octet string of a key file of the link, in hex or base64."""
    import base64
    found = []
    hidden = []
    for side in "ab":
        link = world.path(f"{side}/link")
        for name in os.listdir(link):
            if name.endswith(".key"):
                with open(os.path.join(link, name), "rb") as file:
                    octets = file.read()
                # The consumer's octets stand last, behind their length.
                hidden.append(octets[-32:])
                check(f"{side}: {name} is its owner's alone", os.stat(os.path.join(link, name)).st_mode & 0o777 == 0o600)
    shown = "\n".join(line for feed in world.feeds for line in feed.lines).encode()
    for name in os.listdir(world.directory):
        if name.endswith(".log"):
            with open(world.path(name), "rb") as file:
                shown += file.read()
    for secret in hidden:
        for form in (secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)):
            if form in shown:
                found.append(form)
    check("no key in any log", hidden and not found)


def main(test, *programs, **needs):
    """Runs a test: 0 well, 1 badly, 77 not here."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} SKEX-PROGRAM")
    try:
        need(*programs, **needs)
        began = time.monotonic()
        test(sys.argv[1])
        print(f"  done in {time.monotonic() - began:.0f} s")
    except Missing as missing:
        print(f"  cannot run here: {missing}")
        sys.exit(77)
