ip netns add a; ip netns add b
ip link add e0 netns a type veth peer name e0 netns b
ip -n a addr add 10.0.0.1/24 dev e0; ip -n b addr add 10.0.0.2/24 dev e0
ip -n a link set e0 up; ip -n b link set e0 up; ip -n a link set lo up
for n in a b; do
cat >/run/$n.c <<E
router id 10.0.0.1;
log "/run/$n.log" all;
protocol device {}
protocol bgp skex { 
  local $([ $n = a ] && echo 10.0.0.1 as 65001 || echo 10.0.0.2 as 65002); neighbor $([ $n = a ] && echo 10.0.0.2 as 65002 || echo 10.0.0.1 as 65001);
  include "/run/$n.k";
  connect delay time 1; connect retry time 1; error wait time 1,2;
  ipv4 { import all; export all; };
}
E
done
X=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
Y=00112233445566778899aabbccddeeff
echo "authentication ao;" >/run/a.k
ip netns exec a bird -c /run/a.c -s /run/a.s -P /run/p || echo no keys no start
echo "authentication ao; keys { };" >/run/a.k
ip netns exec a bird -c /run/a.c -s /run/a.s -P /run/p || echo empty keys no start
echo "disabled yes;" >/run/a.k; cp /run/a.k /run/b.k
for n in a b; do ip netns exec $n bird -c /run/$n.c -s /run/$n.s -P /run/$n.p; done
sleep 1
ip netns exec a birdc -s /run/a.s show protocols all skex
ab() { echo "authentication ao; keys { $1 };" | tee /run/a.k; echo "authentication ao; keys { $2 };" >/run/b.k; 
ip netns exec a birdc -s /run/a.s configure; ip netns exec b birdc -s /run/b.s configure; sleep 4
ip netns exec a birdc -s /run/a.s show protocols all skex; }
ab "key { send id 2; recv id 3; secret $X; algorithm hmac sha1; preferred; };" "key { send id 3; recv id 2; secret $X; algorithm hmac sha1; preferred; };"
ab "key { send id 2; recv id 3; secret $X; algorithm hmac sha1; preferred; }; key { send id 4; recv id 5; secret $Y; algorithm cmac aes128;  };" \
 "key { send id 3; recv id 2; secret $X; algorithm hmac sha1; preferred; }; key { send id 5; recv id 4; secret $Y; algorithm cmac aes128;  };"
ab "key { send id 2; recv id 3; secret $X; algorithm hmac sha1; deprecated; }; key { send id 4; recv id 5; secret $Y; algorithm cmac aes128; preferred;  };" \
 "key { send id 3; recv id 2; secret $X; algorithm hmac sha1; preferred; }; key { send id 5; recv id 4; secret $Y; algorithm cmac aes128;  };"
ab "key { send id 2; recv id 3; secret $X; algorithm hmac sha1; deprecated; }; key { send id 4; recv id 5; secret $Y; algorithm cmac aes128; preferred;  };" \
 "key { send id 3; recv id 2; secret $X; algorithm hmac sha1; deprecated; }; key { send id 5; recv id 4; secret $Y; algorithm cmac aes128; preferred; };"
ab "key { send id 4; recv id 5; secret $Y; algorithm cmac aes128; preferred;  };" \
 "key { send id 5; recv id 4; secret $Y; algorithm cmac aes128; preferred; };"
printf 'show protocols all skex\n' | ip netns exec a nc -w 1 local:/run/a.s
printf 'configur\n' | ip netns exec a nc -w 1 local:/run/a.s
cat /run/a.log
cat >/run/w.conf <<E
ctrl_interface=/run/w
eapol_version=3
ap_scan=0
network={
  key_mgmt=NONE
  eapol_flags=0
  macsec_policy=1
  mka_priority=16
  disabled=1
}
E
ip netns exec a wpa_supplicant -Dmacsec_linux -ie0 -c/run/w.conf -t -f/run/w.log -B
sleep 1
w() { ip netns exec a wpa_cli -p/run/w -ie0 "$@"; }
w status
w set_network 0 mka_cak $X; w set_network 0 mka_ckn $X
w get_network 0 mka_ckn
w enable_network 0
w reassociate
sleep 2
w status
ip -n a -br link
cat /run/w.log
