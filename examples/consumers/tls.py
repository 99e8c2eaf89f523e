#!/usr/bin/env python3
"""TLS 1.3 with external preshared keys fed by `skex peer feed` at both ends: OpenSSL and GnuTLS, each as client and as server."""

import os
import secrets
import shutil
import subprocess
import threading
import time

from harness import Missing, World, check, eventually, main, no_secrets_in_sight, settle, words

HERE = os.path.dirname(os.path.abspath(__file__))
# configuration: gnutls
GNUTLS = """
gnutls-serv --port PORT --echo --pskpasswd FILE --priority \\
    NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:-VERS-ALL:+VERS-TLS1.3
"""
# end of configuration
# configuration: gnutls-client
GNUTLS_CLIENT = """
gnutls-cli --port PORT --pskusername IDENTITY --pskkey KEY --priority \\
    NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:-VERS-ALL:+VERS-TLS1.3 HOST
"""
# end of configuration
# configuration: openssl
SERVER = """
skex-tls server FILE ADDRESS USED
"""
CLIENT = """
skex-tls client FILE ADDRESS USED
"""
# end of configuration
# configuration: tls-feed
FEED = """
skex peer --dir DIR feed ... psk-file \\
    --file FILE --role ROLE --used USED
"""
# end of configuration


def build():
    """The program with the callbacks of OpenSSL."""
    target = os.environ.get("SKEX_TLS_TARGET") or os.path.join(HERE, "../../target/skex-tls")
    made = subprocess.run(["cargo", "build", "--locked", "-q", "--manifest-path", os.path.join(HERE, "openssl", "Cargo.toml"), "--target-dir", target])
    if made.returncode:
        raise Missing("skex-tls cannot be built: no libssl-dev, or no crates")
    return os.path.join(target, "debug", "skex-tls")


class Server:
    def __init__(self, world, start, port):
        self.world, self.start, self.port = world, start, port

    def up(self):
        self.process = self.world.start("b", *self.start, log="server.log", stdin=subprocess.PIPE)
        eventually(f"{os.path.basename(self.start[0])} serves", lambda: self.process.poll() is None and listens(self.port))

    def die(self):
        self.process.kill()
        self.process.wait()


def listens(port):
    return f":{port} " in subprocess.run(["ss", "-tlnH"], capture_output=True, text=True).stdout


def test(skex):
    tls = build()
    with World(skex) as world:
        world.loopback()
        world.enrol()
        for side in "ab":
            os.mkdir(world.path(side + ".tls"), 0o700)
        file = {side: world.path(side + ".tls/psk") for side in "ab"}
        used = {side: world.path(side + ".tls/used") for side in "ab"}
        port = world.port["a"] + 5
        server = Server(world, words(SERVER.replace("skex-tls", tls), file=file["b"], address=f"127.0.0.1:{port}", used=used["b"]), port)
        other_port = port + 1
        gnutls = Server(world, words(GNUTLS, port=str(other_port), file=file["b"]), other_port)
        run(world, tls, server, gnutls, file, used)


def run(world, tls, server, gnutls, file, used):
    def client(to):
        return words(CLIENT.replace("skex-tls", tls), file=file["a"], address=f"127.0.0.1:{to.port}", used=used["a"])

    def connects(to=server, lines=1):
        said = "".join(f"hello {number}\n" for number in range(lines))
        done = subprocess.run(client(to), input=said, capture_output=True, text=True, timeout=20)
        return done.returncode == 0 and done.stdout == said

    def gnutls_connects(to=server):
        """As client, with what the file offers first. The key is an argument, as gnutls-cli has it: for a test alone."""
        identity, key = first_line("a").strip().split(":")
        done = subprocess.run(words(GNUTLS_CLIENT, port=str(to.port), identity=identity, key=key, host="127.0.0.1"), input="hello\n",
                              capture_output=True, text=True, timeout=20)
        return done.returncode == 0 and "\nhello\n" in done.stdout and "TLS1.3" in done.stdout

    def feed(side):
        role = {"a": "client", "b": "server"}[side]
        options = ["--grace", "2"] + (["--every", "3600"] if side == "a" else [])
        return world.feed(side, *words(FEED, file=file[side], role=role, used=used[side]), options=options)

    def first_line(side):
        with open(file[side]) as text:
            return text.readline()

    b, a = feed("b"), feed("a")
    for end in (a, b):
        end.wait("rotated", 1)
    server.up()
    gnutls.up()
    check("OpenSSL takes the first key", connects())
    check("GnuTLS takes it too", connects(gnutls))
    check("and GnuTLS as the client, with either", gnutls_connects() and gnutls_connects(gnutls))
    for end in (a, b):
        end.wait("in use", 1)

    print("  -- five rotations; connections all the while, and one that lasts")
    lasting = world.start("a", *client(server)[:-1], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    counts, over = {"made": 0, "lost": 0}, threading.Event()

    def traffic():
        while not over.is_set():
            for to in (server, gnutls):
                for attempt in (connects, gnutls_connects):
                    counts["made"] += 1
                    counts["lost"] += not attempt(to)

    thread = threading.Thread(target=traffic)
    thread.start()
    for _ in range(5):
        generation = a.generation() + 1
        a.rotate()
        for end in (a, b):
            end.wait("rotated", generation)
        lasting.stdin.write(b"still there\n")
        lasting.stdin.flush()
        time.sleep(2.5)
    over.set()
    thread.join()
    check(f"TLS: five rotations: {counts['lost']} of {counts['made']} connections lost", not counts["lost"] and counts["made"] > 50)
    check("the connection that lasted went on", lasting.communicate(timeout=20)[0] == b"still there\n" * 5)
    eventually("both offer one key", lambda: first_line("a") == first_line("b"))
    eventually("the old keys are gone", lambda: len(open(file["b"]).read().splitlines()) == 1)
    check("OpenSSL was seen to use the last one", connects())
    for end in (a, b):
        end.wait("in use", a.generation())

    print("  -- a wrong key, and a missing one")
    for what in ("wrong", "missing"):
        settle(a, b)
        a.process.send_signal(19)
        b.process.send_signal(19)
        identity = first_line("b").split(":")[0]
        with open(file["b"], "w") as text:
            text.write(f"{identity if what == 'wrong' else 'skex-unknown'}:{secrets.token_hex(32)}\n")
        check(f"with a {what} key OpenSSL refuses", not connects())
        check(f"with a {what} key GnuTLS refuses", not connects(gnutls))
        check(f"with a {what} key GnuTLS as the client is refused by either", not gnutls_connects() and not gnutls_connects(gnutls))
        a.process.send_signal(18)
        b.process.send_signal(18)
        eventually("skex puts it right", lambda: connects() and connects(gnutls))

    print("  -- a consumer that dies in the middle of a rotation, and comes back")
    settle(a, b)
    generation = a.generation() + 1
    a.rotate()
    server.die()
    for end in (a, b):
        end.wait("rotated", generation)
    server.up()
    check("it comes back to the new key", connects())

    print("  -- a file that is made a link, and a directory that others may write to")
    settle(a, b)
    generation = a.generation() + 1
    precious = world.path("precious")
    with open(precious, "w") as text:
        text.write("precious")
    mark = b.mark()
    os.rename(file["b"], file["b"] + ".kept")
    os.symlink(precious, file["b"])
    a.rotate()
    b.wait("away", after=mark)
    check("nobody switches", not a.seen("switched", generation))
    with open(precious) as text:
        check("what the link names is left alone", text.read() == "precious")
    os.unlink(file["b"])
    os.rename(file["b"] + ".kept", file["b"])
    settle(a, b, generation)
    generation = a.generation() + 1
    mark = b.mark()
    os.chmod(world.path("b.tls"), 0o777)
    a.rotate()
    b.wait("key", generation, after=mark)
    check("nobody switches", not a.seen("switched", generation) and connects())
    os.chmod(world.path("b.tls"), 0o700)
    settle(a, b, generation)
    check("the link goes on", connects())

    print("  -- skex is killed in the middle of a rotation, at either end; and loses its keys")
    for victim in "ab":
        generation = max(a.generation(), b.generation()) + 1
        a.rotate()
        time.sleep(0.05)
        if victim == "a":
            a.kill()
            a = feed("a")
        else:
            b.kill()
            b = feed("b")
        check("connections go on", connects())
        a.rotate()
        settle(a, b, generation)
        check("and after it", connects() and connects(gnutls))
    b.kill()
    generation = a.generation()
    for name in os.listdir(world.path("b/link")):
        if name.endswith(".key"):
            os.unlink(world.path("b/link/" + name))
    with open(file["b"], "w"):
        pass
    b = feed("b")
    settle(a, b, generation + 1)
    check("another key is made", connects() and connects(gnutls))
    check("the files are their owner's alone", all(os.stat(path).st_mode & 0o777 == 0o600 for path in file.values()))
    no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "gnutls-serv", "cargo", "ss", root=False)
