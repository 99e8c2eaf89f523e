//! TLS with preshared keys, as OpenSSL's own client has it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::https::answer;
use super::{Kmes, dec, enc, id_of};
use crate::support::run;

/// Keys of sae-a and sae-c.
const KEYS: [&str; 2] = [
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
];

/// Puts keys beside the settings of alice's KME.
fn give(kmes: &Kmes, lines: &str, mode: u32) {
    let path = kmes.settings_of("alice");
    let mut settings: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    settings["preshared_keys"] = json!({ "https": "127.0.0.1:0", "file": "kme.psk" });
    fs::write(&path, settings.to_string()).unwrap();
    let path = path.with_file_name("kme.psk");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the server answers to one request, or nothing.
fn ask(address: &str, options: &[&str], target: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", address, "-quiet"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: kme\r\nConnection: close\r\n\r\n");
    // One that was refused has ended.
    let _sent = client.stdin.as_mut().unwrap().write_all(request.as_bytes());
    String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn an_sae_with_a_preshared_key_is_heard_as_itself_and_whoever_has_none_is_not() {
    let kmes = Kmes::new(8);
    give(&kmes, &format!("sae-a:{}\n\nsae-c:{}\n", KEYS[0], KEYS[1]), 0o600);
    let (mut a, b) = (kmes.start("alice"), kmes.start("bob"));
    let line = a.process.line_with("with preshared keys on https://");
    let address = line.rsplit("https://").next().unwrap();
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 8);

    let own = ["-psk_identity", "sae-a", "-psk", KEYS[0]];
    for tls in [
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"][..],
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        &["-tls1_2", "-cipher", "DHE-PSK-AES256-GCM-SHA384"],
        &["-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305"],
        // What SKIP recommends for TLS 1.2.
        &["-tls1_2", "-cipher", "DHE-PSK-AES256-CBC-SHA384"],
    ] {
        let (status, at_a) = answer(&ask(address, &[&own[..], tls].concat(), &enc("sae-b")));
        assert_eq!(status, 200, "{tls:?}: {at_a}");
        assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&at_a))), (200, at_a), "{tls:?}");
    }
    let (status, capabilities) = answer(&ask(address, &own, "/capabilities"));
    assert_eq!((status, &capabilities["localSystemID"]), (200, &json!("sae-a")));
    // Another's links are not its own.
    assert_eq!(answer(&ask(address, &own, &enc("sae-d"))).0, 401);
    let other = ["-psk_identity", "sae-c", "-psk", KEYS[1]];
    assert_eq!(answer(&ask(address, &other, "/capabilities")).1["localSystemID"], json!("sae-c"));

    for options in [
        &["-psk_identity", "sae-a", "-psk", KEYS[1]][..],
        &["-psk_identity", "sae-b", "-psk", KEYS[0]],
        &["-psk_identity", "sae-a\u{e9}", "-psk", KEYS[0]],
        &["-psk_identity", "sae-a", "-psk", KEYS[1], "-tls1_2"],
        // Without an ephemeral exchange, below TLS 1.2, and without a key.
        &["-psk_identity", "sae-a", "-psk", KEYS[0], "-tls1_2", "-cipher", "PSK-AES256-GCM-SHA384"],
        &["-psk_identity", "sae-a", "-psk", KEYS[0], "-tls1_1"],
        &["-tls1_3"],
        &["-tls1_2"],
    ] {
        assert_eq!(ask(address, options, "/capabilities"), "", "{options:?}");
    }
    // Nor is one with a certificate, here.
    let certificate = kmes.network.beside("sae.pem");
    fs::write(&certificate, format!("{}{}", sae_a.certificate, sae_a.key)).unwrap();
    assert_eq!(ask(address, &["-cert", certificate.to_str().unwrap()], "/capabilities"), "");
    assert_eq!(a.https.get(&sae_a, "/capabilities").0, 200, "with certificates all is as it was");
}

#[test]
fn a_file_of_keys_that_cannot_be_meant_is_refused_and_none_of_its_keys_is_said() {
    let kmes = Kmes::new(4);
    let good = format!("sae-a:{}\n", KEYS[0]);
    for (lines, mode, says) in [
        (good.clone(), 0o640, "chmod 600"),
        (String::new(), 0o600, "there is no key in it"),
        (format!("{good}sae-a:{}\n", KEYS[1]), 0o600, "sae-a has two keys"),
        (format!("sae-b:{}\n", KEYS[0]), 0o600, "sae-b in line 1 is no local SAE"),
        (format!("{good}{}\n", KEYS[1]), 0o600, "line 2 is no SAE:KEY"),
        (format!("sae a:{}\n", KEYS[0]), 0o600, "line 1 does not begin with the name"),
        (format!("sae-a:{}\n", &KEYS[0][..62]), 0o600, "has not 32 to 64 octets"),
        (format!("sae-a:{}x\n", &KEYS[0][..63]), 0o600, "has not 32 to 64 octets"),
        (format!("sae-a:{}{}00\n", KEYS[0], KEYS[1]), 0o600, "has not 32 to 64 octets"),
    ] {
        give(&kmes, &lines, mode);
        let refused = run(kmes.arguments("alice")).refused(&["kme.psk", says]);
        assert!(
            !refused.err.contains(&KEYS[0][..16]) && !refused.err.contains(&KEYS[1][..16]),
            "{}",
            refused.err
        );
    }
}
