#!/usr/bin/env python3
"""WireGuard fed by `skex client feed` at both ends: keys come through three hubs, any two of which are enough."""

from harness import World, check, eventually, main, no_secrets_in_sight, rotate_under_traffic, settle
from wireguard import Tunnel


def test(skex):
    with World(skex) as world:
        world.wire()
        hubs = world.provision()
        one, other = Tunnel(world, "a"), Tunnel(world, "b")
        one.up(other)
        other.up(one)
        b = other.feed()
        a = one.feed(options=["--every", "3600"])
        settle(a, b)
        check("a tunnel comes up under the first key", world.pings("a", one.inside["b"]))
        check("both hold one key, and it is not none", one.preshared() == other.preshared() != "(none)")
        sent, lost = rotate_under_traffic(world, a, b, world.flood("a", one.inside["b"], 60), 5)
        check(f"WireGuard by DSKE: five rotations: {lost} of {sent} packets lost", lost == 0 and sent > 100)

        print("  -- one hub dies; an end is killed in the middle of a rotation; the other end asks")
        hubs[2].kill()
        generation = a.generation() + 1
        a.rotate()
        a.kill()
        a = one.feed()
        b.rotate()
        settle(a, b, generation)
        check("both hold one key", one.preshared() == other.preshared())
        one.handshake_anew()
        eventually("the tunnel runs under it", lambda: world.pings("a", one.inside["b"], 1))

        print("  -- too few hubs: the link goes on under the key that it has")
        hubs[1].kill()
        generation, psk = a.generation(), one.preshared()
        a.rotate()
        sent, lost = world.flood("a", one.inside["b"], 3).count()
        check("no key, no change, nothing lost", lost == 0 and one.preshared() == other.preshared() == psk and a.generation() == generation, f"{lost} of {sent}")
        no_secrets_in_sight(world)


if __name__ == "__main__":
    main(test, "wg", "wireguard-go", "ip", "ping", tun=True)
