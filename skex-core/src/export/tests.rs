extern crate std;

use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::{Assurance, KeyBytes, KeyId};

/// Hex digits, spaces aside.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(super) fn exporter(end: End) -> Exporter {
    Exporter::new(key(1, 0, 7).confirmed(), end).unwrap()
}

fn key(id: u8, index: u64, secret: u8) -> OutputKey {
    let secret = KeyBytes::copied_from(&[secret; 32]).unwrap();
    OutputKey::new(KeyId::new([id; 16]), index, Assurance::InformationTheoretic, secret)
}

#[test]
fn a_key_that_is_not_confirmed_comes_back_and_nothing_is_derived_from_it() {
    let refused = Exporter::new(key(1, 0, 7), End::A).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::Unconfirmed);
    let kept = refused.into_key();
    assert!(!kept.is_confirmed());
    assert!(Exporter::new(kept.confirmed(), End::A).is_ok(), "the same key, once it is confirmed");
}

#[test]
fn a_key_of_less_than_256_bits_is_not_exported() {
    for (len, refusal) in [(16, Some(Refusal::Short)), (31, Some(Refusal::Short)), (32, None), (64, None)] {
        let secret = KeyBytes::from_fn(len, |octets| octets.fill(7)).unwrap();
        let key = OutputKey::new(KeyId::new([1; 16]), 0, Assurance::Computational, secret).confirmed();
        assert_eq!(Exporter::new(key, End::A).err().map(|refused| refused.refusal()), refusal, "{len}");
    }
}

#[test]
fn a_number_is_given_once_a_consumer_and_no_lower_one_after_it() {
    let mut exporter = exporter(End::A);
    exporter.raw(3, b"", 32).unwrap();
    for used in [3, 0, 2] {
        assert_eq!(exporter.raw(used, b"other", 32), Err(ExportError::Used));
    }
    exporter.raw(4, b"", 32).unwrap();
    exporter.raw(u32::MAX, b"", 32).unwrap();
    assert_eq!(exporter.raw(u32::MAX, b"", 32), Err(ExportError::Used));
}

#[test]
fn a_refused_length_takes_no_number() {
    let mut exporter = exporter(End::A);
    assert_eq!(exporter.raw(0, b"", 0), Err(ExportError::Length));
    assert_eq!(exporter.raw(0, b"", 8161), Err(ExportError::Length));
    assert_eq!(exporter.raw(0, &std::vec![0; 65471], 32), Err(ExportError::Length));
    assert_eq!(exporter.raw(0, b"", 65).is_ok(), cfg!(feature = "alloc"));
    exporter.raw(1, &std::vec![0; 65470], 64).unwrap();
}

/// What every export gives at one end: its public octets and its secret ones.
#[cfg(feature = "all-exports")]
fn everything(mut exporter: Exporter, number: u32, generation: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |public: &[u8], secret: &[u8]| all.push((public.to_vec(), secret.to_vec()));
    let raw = exporter.raw(number, b"context", 32).unwrap();
    add(raw.name().as_bytes(), raw.key().expose());
    let ike = exporter.ikev2_ppk(number).unwrap();
    add(&ike.id().as_bytes()[5..37], ike.ppk().expose());
    for client in [End::A, End::B] {
        let tls = exporter.tls13_psk(number, client, TlsHash::Sha256, TlsUse::KeyAlone).unwrap();
        add(&tls.identity().as_bytes()[5..], tls.psk().expose());
        let tls = exporter.tls13_importable_psk(number, client, TlsUse::KeyAlone).unwrap();
        add(&tls.external_identity().as_bytes()[5..], tls.epsk().expose());
        let edhoc = exporter.edhoc_psk(number, client).unwrap();
        add(edhoc.kid(), edhoc.psk().expose());
    }
    let cak = exporter.macsec_cak(number, MacsecKeyLen::Octets32).unwrap();
    add(cak.ckn(), cak.expose_cak());
    let saks = exporter.macsec_saks(number, generation, MacsecKeyLen::Octets32).unwrap();
    let mut both = [saks.transmit(), saks.receive()];
    if exporter.end() == End::B {
        both.reverse();
    }
    for sak in both {
        add(sak.ki().as_bytes(), sak.expose_sak());
    }
    let mkt = exporter.tcp_ao(number, generation, TcpAoAlgorithm::HmacSha1).unwrap();
    add(mkt.name().as_bytes(), mkt.expose_master_key());
    let wireguard = exporter.wireguard(number).unwrap();
    add(wireguard.name().as_bytes(), wireguard.psk().expose());
    all
}

#[cfg(feature = "all-exports")]
#[test]
fn both_ends_get_the_same_for_every_consumer() {
    assert_eq!(everything(exporter(End::A), 5, 9), everything(exporter(End::B), 5, 9));
}

#[cfg(feature = "all-exports")]
#[test]
fn no_two_exports_share_eight_octets_in_a_row() {
    let mut seen = BTreeSet::new();
    let mut add = |octets: &[u8]| {
        for window in octets.windows(8) {
            assert!(seen.insert(window.to_vec()), "{window:02x?} twice");
        }
    };
    let secret = [7; 32];
    add(&secret[..8]);
    // Other numbers, another id, another index, another secret.
    let keys = [(1, 0, 7, 0), (1, 0, 7, 1), (2, 0, 7, 0), (1, 1, 7, 0), (1, 0, 8, 0)];
    for (id, index, secret, number) in keys {
        let exporter = Exporter::new(key(id, index, secret).confirmed(), End::A).unwrap();
        for (public, secret) in everything(exporter, number, u64::from(number)) {
            add(&public);
            add(&secret);
        }
    }
}

/// Parameters that differ at the two ends give another name too, so that the consumer finds no key and does not fail on a
/// wrong one.
#[cfg(feature = "all-exports")]
#[test]
fn ends_that_disagree_get_other_names_as_well_as_other_keys() {
    let fresh = || exporter(End::A);
    let (one, two) = (fresh().raw(0, b"one", 32).unwrap(), fresh().raw(0, b"two", 32).unwrap());
    assert!(one.name() != two.name() && one.key() != two.key());
    let [one, two] =
        [MacsecKeyLen::Octets16, MacsecKeyLen::Octets32].map(|len| fresh().macsec_cak(0, len).unwrap());
    assert!(one.ckn() != two.ckn() && one.expose_cak() != &two.expose_cak()[..16]);
    let [one, two] =
        [0, 128].map(|generation| fresh().tcp_ao(0, generation, TcpAoAlgorithm::HmacSha1).unwrap());
    assert!(one.name() != two.name() && one.expose_master_key() != two.expose_master_key());
    assert_eq!(one.send_id(), two.send_id(), "the ids alone come round");
    let [one, two] = [TcpAoAlgorithm::HmacSha1, TcpAoAlgorithm::Aes128Cmac]
        .map(|which| fresh().tcp_ao(0, 0, which).unwrap());
    assert!(one.name() != two.name() && one.expose_master_key()[..16] != *two.expose_master_key());
    let [one, two] = [TlsUse::KeyAlone, TlsUse::WithCertificates]
        .map(|usage| fresh().tls13_importable_psk(0, End::A, usage).unwrap());
    assert!(one.external_identity() != two.external_identity() && one.epsk() != two.epsk());
}

#[cfg(feature = "all-exports")]
#[test]
fn debug_of_an_export_shows_no_secret() {
    let mut exporter = exporter(End::A);
    let ppk = exporter.ikev2_ppk(0).unwrap();
    let shown =
        std::format!("{ppk:?} {exporter:?} {:?}", exporter.macsec_cak(0, MacsecKeyLen::Octets16).unwrap());
    let secret: std::string::String =
        ppk.ppk().expose()[..4].iter().map(|octet| std::format!("{octet:02x}")).collect();
    assert!(shown.contains(ppk.id().as_str()) && !shown.contains(&secret), "{shown}");
    assert!(shown.contains("SecretBytes<32>(..)"), "{shown}");
}
