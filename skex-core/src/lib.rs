#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod export;
pub mod machine;

mod key;
pub mod record;
mod replay;
pub mod rotation;
mod schedule;
mod secret;
mod suite;

pub use key::{Assurance, Fingerprint, KeyBytes, KeyId, MAX_INLINE_KEY_LEN, OutputKey};
pub use replay::{ReplayError, ReplayWindow};
pub use schedule::{Expander, Label, MAX_EXPAND_LEN, expand, extract};
#[cfg(feature = "alloc")]
pub use secret::SecretVec;
pub use secret::{HashSecret, MAX_HASH_LEN, SecretBytes};
pub use suite::{AEAD_KEY_LEN, Aead, CryptoError, Digest, Hasher, Mac, MacKey, NONCE_LEN, Suite, TAG_LEN};
