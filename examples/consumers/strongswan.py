#!/usr/bin/env python3
"""IKEv2 with PPKs (RFC 8784) fed by `skex peer feed` at both ends: strongSwan twice, each in a network namespace of its own."""

import os
import shutil
import socket
import struct
import subprocess
import threading
import time

from harness import World, check, eventually, main, no_secrets_in_sight, rotate_under_traffic, settle, words

INSIDE = {"a": "10.92.1.1", "b": "10.92.2.1"}  # the tunnel must not carry its own messages

# configuration: strongswan
CONNECTION = """
{
  "version": "2",
  "local_addrs": ["LOCAL"],
  "remote_addrs": ["REMOTE"],
  "mobike": "no",
  "proposals": ["aes256-sha384-x25519"],
  "local": { "auth": "psk", "id": "ID.skex.test" },
  "remote": { "auth": "psk" },
  "children": {
    "net": {
      "local_ts": ["LOCAL-NET/32"],
      "remote_ts": ["REMOTE-NET/32"],
      "esp_proposals": ["aes256gcm16-x25519"]
    }
  }
}
"""
# end of configuration
# configuration: strongswan-feed
INITIATOR = """
skex peer --dir DIR feed ... strongswan \\
    --connection CONNECTION --vici SOCKET --initiate net
"""
RESPONDER = """
skex peer --dir DIR feed ... strongswan \\
    --connection CONNECTION --vici SOCKET
"""
# end of configuration


class Charon:
    """charon-systemd on one host, with a data path in user space. It can die and come back."""

    def __init__(self, world, side):
        self.world, self.side, self.other = world, side, "b" if side == "a" else "a"
        self.socket = world.path(f"{side}.vici")
        world.run(side, "ip", "addr", "add", INSIDE[side] + "/32", "dev", "lo")
        with open(world.path(f"{side}.conf"), "w") as file:
            file.write(f"""charon-systemd {{
  load = random nonce openssl kdf pem pkcs1 x509 pubkey kernel-libipsec kernel-netlink socket-default updown vici
  journal {{
    default = -1
  }}
  filelog {{
    log {{
      path = {world.path(side + "-charon.log")}
      default = 1
      esp = 2
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{self.socket}
    }}
  }}
}}
""")
        with open(world.path("swanctl.conf"), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write('secrets {\n  ike-skex {\n    secret = "not from skex: it authenticates, beside the PPK"\n  }\n}\n')
        text = CONNECTION.replace("LOCAL-NET", INSIDE[side]).replace("REMOTE-NET", INSIDE[self.other])
        text = text.replace("LOCAL", world.address[side]).replace("REMOTE", world.address[self.other]).replace("ID", side)
        self.connection = world.path(f"{side}.connection.json")
        with open(self.connection, "w") as file:
            file.write(text)

    def up(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = self.world.start(self.side, shutil.which("charon-systemd"), env={**os.environ, "STRONGSWAN_CONF": self.world.path(f"{self.side}.conf")})
        eventually(f"{self.side}: strongSwan is up", lambda: os.path.exists(self.socket) and not self.swanctl("--version", check=False).returncode)
        self.load_credentials()

    def load_credentials(self):
        self.swanctl("--load-creds", "--file", self.world.path("swanctl.conf"))

    def swanctl(self, *arguments, **options):
        options.setdefault("check", True)
        return subprocess.run(["timeout", "10", "swanctl", arguments[0], "--uri", "unix://" + self.socket, *arguments[1:]], capture_output=True, text=True, **options)

    def sas(self):
        return self.swanctl("--list-sas", "--raw").stdout

    def log(self):
        with open(self.world.path(self.side + "-charon.log"), errors="replace") as file:
            return file.read()

    def die(self):
        self.process.kill()
        self.process.wait()

    def feed(self, options=(), socket=None):
        feed = INITIATOR if self.side == "a" else RESPONDER
        return self.world.feed(self.side, *words(feed, connection=self.connection, socket=socket or self.socket), options=options)


class Unwilling:
    """In front of a daemon's VICI: all passes, but for one command, which is answered with "no" as long as `command` names it."""

    REQUEST, RESPONSE = 0, 1
    NO = bytes([RESPONSE]) + b"".join(b"\3" + bytes([len(name)]) + name + struct.pack(">H", len(value)) + value
                                     for name, value in ((b"success", b"no"), (b"errmsg", b"not today")))

    def __init__(self, path, daemon):
        self.path, self.daemon, self.command, self.refused = path, daemon, None, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            try:
                daemon.connect(self.daemon)
            except OSError:
                connection.close()
                continue
            threading.Thread(target=self._pass, args=(connection, daemon), daemon=True).start()
            threading.Thread(target=self._back, args=(daemon, connection), daemon=True).start()

    def _pass(self, client, daemon):
        """What skex asks, a packet at a time."""
        with client, daemon, client.makefile("rb") as packets:
            while len(head := packets.read(4)) == 4:
                packet = packets.read(struct.unpack(">I", head)[0])
                name = packet[2:2 + packet[1]].decode() if packet[0] == self.REQUEST else None
                if name and name == self.command:
                    self.refused += 1
                    client.sendall(struct.pack(">I", len(self.NO)) + self.NO)
                else:
                    daemon.sendall(head + packet)
            daemon.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _back(daemon, client):
        try:
            while answer := daemon.recv(65536):
                client.sendall(answer)
        except OSError:
            pass


def test(skex):
    with World(skex) as world:
        world.wire()
        world.enrol()
        one, other = Charon(world, "a"), Charon(world, "b")
        one.up()
        other.up()
        run(world, one, other)


def run(world, one, other):
    to, source = INSIDE["b"], INSIDE["a"]

    def flood(seconds, rate=50):
        return world.flood("a", to, seconds, rate, source)

    def runs():
        return flood(0.5, 5).lost() == 0

    b = other.feed(["--grace", "1"])
    a = one.feed(["--grace", "1", "--every", "3600"])
    for feed in (a, b):
        feed.wait("rotated", 1)
    check("a tunnel comes up under the first PPK", runs())
    check("and both say that a PPK was used", "ppk=yes" in one.sas() and "ppk=yes" in other.sas())
    for feed in (a, b):
        feed.wait("in use", 1)

    sent, lost = rotate_under_traffic(world, a, b, flood(60), 5)
    # While IKE_AUTH is under way the responder sends under a CHILD_SA that the initiator has not got yet.
    early = one.log().count("inbound ESP packet does not belong to an installed SA")
    check(f"IKEv2: five rotations: {lost} of {sent} packets lost", lost <= 5 and sent > 100, f"{early} reached the initiator under a CHILD_SA that it did not have yet")
    a.wait("retired", 5)
    eventually("one IKE_SA is left, of the last generation", lambda: one.sas().count("ESTABLISHED") == 1 and "skex-6 " in one.sas())
    check("the responder's log names the PPK", other.log().count("using PPK for PPK_ID 'skex-") >= 6)

    print("  -- swanctl --load-creds, which unloads what is not in its file")
    mark = a.mark()
    one.load_credentials()
    a.wait("installed", after=mark)
    check("the tunnel ran on, and runs", runs())

    print("  -- a consumer that dies in the middle of a rotation, and comes back")
    settle(a, b)
    generation = a.generation() + 1
    mark = b.mark()
    other.die()
    a.rotate()
    b.wait("away", after=mark)
    b.wait("key", generation)
    check("nobody switched", not a.seen("switched", generation))
    other.up()
    b.wait("back", after=mark)
    settle(a, b, generation)
    eventually("the tunnel is back under the new PPK", runs)

    print("  -- a wrong PPK, and a missing one")
    for what in ("wrong", "missing"):
        settle(a, b)
        a.process.send_signal(19)
        b.process.send_signal(19)
        name = next(report["text"] for report in b.reports if report.get("step") == "key" and report["generation"] == a.generation())
        if what == "wrong":
            with open(world.path("wrong.conf"), "w") as file:
                file.write(f'secrets {{\n  ike-skex {{\n    secret = "not from skex: it authenticates, beside the PPK"\n  }}\n  ppk-x {{\n    id = {name}\n    secret = 0x{"17" * 32}\n  }}\n}}\n')
            other.swanctl("--load-creds", "--clear", "--file", world.path("wrong.conf"))
        else:
            other.swanctl("--load-creds", "--clear", "--file", world.path("swanctl.conf"))
        one.swanctl("--terminate", "--ike", f"skex-{a.generation()}", check=False)
        started = one.swanctl("--initiate", "--child", "net", "--ike", f"skex-{a.generation()}", "--timeout", "3", check=False)
        check(f"with a {what} PPK no tunnel comes up", started.returncode != 0 and "ESTABLISHED" not in one.sas())
        count = flood(1, 10)
        sent, lost = count.count()
        check("and nothing comes through", sent == lost, f"{lost} of {sent}")
        if what == "wrong":
            other.swanctl("--load-creds", "--clear", "--file", world.path("swanctl.conf"))
        a.process.send_signal(18)
        b.process.send_signal(18)
        eventually("skex puts it right", runs, 40)

    print("  -- a consumer that refuses an installation")
    settle(a, b)
    b.kill()
    vici = Unwilling(world.path("unwilling.vici"), other.socket)
    b = other.feed(["--grace", "1"], socket=vici.path)
    settle(a, b)
    before, mark = a.generation(), b.mark()
    vici.command = "load-shared"
    a.rotate()
    b.wait("refused", before + 1, after=mark)
    b.wait("given up", before + 1, after=mark)
    check("nobody switches, and the link goes on", not a.seen("switched", before + 1) and runs())
    check("the daemon was not asked over and over", vici.refused < 10, f"{vici.refused} times")
    vici.command = None
    b.rotate()
    eventually("a willing daemon takes another key, and both transmit with it", lambda: a.generation() == b.generation() > before, 90)
    settle(a, b, before + 1)
    check("the tunnel runs under it", runs() and "ppk=yes" in one.sas())
    b.kill()
    b = other.feed(["--grace", "1"])

    print("  -- a consumer that answers garbage")
    settle(a, b)
    b.kill()
    path = world.path("garbage.vici")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)

    def answer():
        while True:
            try:
                connection, _ = listener.accept()
                connection.recv(4096)
                connection.sendall(os.urandom(65536))
                connection.close()
            except OSError:
                return
    threading.Thread(target=answer, daemon=True).start()
    b = other.feed(["--grace", "1"], socket=path)
    b.wait("away")
    generation = a.generation() + 1
    a.rotate()
    b.wait("key", generation)
    check("nobody switches on its word, and the link goes on", not a.seen("switched", generation) and runs())
    listener.close()
    b.kill()
    b = other.feed(["--grace", "1"])
    settle(a, b, generation)

    print("  -- skex is killed in the middle of a rotation, at either end")
    for round in range(2):
        generation = max(a.generation(), b.generation()) + 1
        a.rotate()
        time.sleep(0.04)
        if round:
            a.kill()
            a = one.feed(["--grace", "1"])
        else:
            b.kill()
            b = other.feed(["--grace", "1"])
        time.sleep(0.3)
        a.rotate()
        settle(a, b, generation)
        eventually("and the tunnel runs", lambda: runs() and "ppk=yes" in one.sas())

    print("  -- one end loses its keys")
    b.kill()
    for name in os.listdir(world.path("b/link")):
        if name.endswith(".key"):
            os.unlink(world.path("b/link/" + name))
    other.die()
    other.up()
    generation = a.generation()
    b = other.feed(["--grace", "1"])
    settle(a, b, generation + 1)
    eventually("the tunnel runs under it", runs)
    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "charon-systemd", "swanctl", "ip", "ping", tun=True)
