//! All that is measured in one run: ours, and the peers.

use skex_core::Suite;
use skex_wire::SuiteId;

use crate::keystream::Keystream;
use crate::ours::{Combine, Decode, DskeKey, Export, FirstMessage, Handshake, Split};
use crate::peers::{Blahaj, RustCryptoMlKem, Sharks, Snow, Vsss, X25519};
use crate::work::Subject;

/// A name.
pub const HANDSHAKE: &str = "unmediated handshake, SHA-256";
/// A name.
pub const HANDSHAKE_SHA3: &str = "unmediated handshake, SHA3-256";
/// A name.
pub const EXPORT: &str = "unmediated, one exported key";
/// A name.
pub const DSKE: &str = "DSKE 3 of 5, all seven parties";
/// A name.
pub const DSKE_AT_ONCE: &str = "DSKE 3 of 5, all seven parties, 16 keys at once";

/// A name.
pub const DSKE_LARGE: &str = "DSKE 16 of 31, all 33 parties";
/// A name.
pub const SNOW: &str = "snow NNpsk0";
/// A name.
pub const AWS_ML_KEM: &str = "ML-KEM-768, aws-lc-rs";
/// A name.
pub const RUST_ML_KEM: &str = "ML-KEM-768, RustCrypto";

/// A name.
pub const X25519_DALEK: &str = "X25519, x25519-dalek";

/// What one of them came to.
#[derive(Debug)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Processor time for once.
    pub nanoseconds: f64,
    /// Octets on the wire; 0 for what puts none there.
    pub octets: usize,
    /// Of Rust's allocator.
    pub allocations: u64,
}

fn suite(id: SuiteId) -> Suite {
    Suite::from_id(id).unwrap()
}

/// All, made ready, each for the first time.
#[must_use]
pub fn subjects() -> Vec<Subject> {
    let mut all = vec![
        Subject::new(HANDSHAKE, Handshake::new(suite(SuiteId::SHA256_AES256GCM))),
        Subject::new(HANDSHAKE_SHA3, Handshake::new(suite(SuiteId::SHA3_256_AES256GCM))),
        Subject::new(EXPORT, Export::new(suite(SuiteId::SHA256_AES256GCM))),
        Subject::new(DSKE, DskeKey::new(3, 5)),
        Subject::new(DSKE_AT_ONCE, DskeKey::new(3, 5).at_once(16)),
        Subject::new(DSKE_LARGE, DskeKey::new(16, 31)),
    ];
    all.extend(peers());
    for length in LENGTHS {
        let [split, combine] = ["split", "combine"].map(|way| shamir_name(way, length));
        all.push(Subject::new(split, Split::new(3, 5, length)));
        all.push(Subject::new(combine, Combine::new(3, 5, length)));
    }
    all.push(Subject::new(SPLIT_BY_KEYSTREAM, Split::drawn_from(Keystream::new(4), 3, 5, 1 << 20)));
    all.extend(shamir());
    all.extend([
        Subject::new("decode 16 of 31, honest", Decode::new(16, 31, 0)),
        Subject::new("decode 16 of 31, 7 liars", Decode::new(16, 31, 7)),
        Subject::new("first message, table of 100 peers", FirstMessage::new(100)),
        Subject::new("first message, table of 100,000 peers", FirstMessage::new(100_000)),
    ]);
    all
}

/// What a user would pick instead of our exchanges.
#[must_use]
pub fn peers() -> Vec<Subject> {
    #[allow(unused_mut, reason = "it grows with the feature `peers`")]
    let mut all = vec![
        Subject::new(X25519_DALEK, X25519::default()),
        Subject::new(RUST_ML_KEM, RustCryptoMlKem::default()),
        Subject::new(SNOW, Snow::nn()),
        Subject::new("snow KKpsk0", Snow::kk()),
    ];
    #[cfg(feature = "peers")]
    {
        use crate::peers::{AwsMlKem, AwsX25519MlKem, OpensslPsk12, OpensslPsk13, RustlsPair};
        all.extend([
            Subject::new(AWS_ML_KEM, AwsMlKem),
            Subject::new("X25519 and ML-KEM-768, aws-lc-rs", AwsX25519MlKem),
            Subject::new("TLS 1.3 in full, rustls", RustlsPair::new(false)),
            Subject::new("TLS 1.3 resumed, rustls", RustlsPair::new(true)),
            Subject::new("TLS 1.3 external PSK, OpenSSL", OpensslPsk13::default()),
            Subject::new("TLS 1.2 PSK, OpenSSL", OpensslPsk12::default()),
        ]);
    }
    all
}

/// A name.
pub const SPLIT_BY_KEYSTREAM: &str = "Shamir 3 of 5, split 1 MiB, drawn as a key stream";

const LENGTHS: [usize; 2] = [64, 1 << 20];

fn shamir_name(way: &str, length: usize) -> String {
    format!("Shamir 3 of 5, {way} {}", if length == 64 { "64 B" } else { "1 MiB" })
}

/// What a user would pick instead of our sharing.
#[must_use]
pub fn shamir() -> Vec<Subject> {
    let mut all = Vec::new();
    for length in LENGTHS {
        for (way, combine) in [("split", false), ("combine", true)] {
            let named = |of: &str| format!("{}, {of}", shamir_name(way, length));
            all.push(Subject::new(named("vsss-rs"), Vsss::new(length, combine)));
            all.push(Subject::new(named("sharks"), Sharks::new(length, combine)));
            all.push(Subject::new(named("blahaj"), Blahaj::new(length, combine)));
        }
    }
    all
}

/// A few of them, for a newcomer (`skex bench`): ours, and what a user would pick instead, in Rust alone.
#[must_use]
pub fn brief() -> Vec<Subject> {
    let [split, combine] = ["split", "combine"].map(|way| shamir_name(way, 64));
    vec![
        Subject::new(HANDSHAKE, Handshake::new(suite(SuiteId::SHA256_AES256GCM))),
        Subject::new(EXPORT, Export::new(suite(SuiteId::SHA256_AES256GCM))),
        Subject::new(DSKE, DskeKey::new(3, 5)),
        Subject::new(split.clone(), Split::new(3, 5, 64)),
        Subject::new(combine.clone(), Combine::new(3, 5, 64)),
        Subject::new(X25519_DALEK, X25519::default()),
        Subject::new(RUST_ML_KEM, RustCryptoMlKem::default()),
        Subject::new(SNOW, Snow::nn()),
        Subject::new(split + ", vsss-rs", Vsss::new(64, false)),
        Subject::new(combine + ", vsss-rs", Vsss::new(64, true)),
    ]
}
