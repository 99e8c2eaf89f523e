//! What a user would pick instead, each as a whole exchange between two ends.

#[cfg(feature = "peers")]
mod aws;
#[cfg(feature = "peers")]
mod openssl;
#[cfg(feature = "peers")]
mod tls;

mod shamir;

#[cfg(feature = "peers")]
pub use aws::{AwsMlKem, AwsX25519MlKem};
#[cfg(feature = "peers")]
pub use openssl::{OpensslPsk12, OpensslPsk13};
pub use shamir::{Blahaj, Sharks, Vsss};
#[cfg(feature = "peers")]
pub use tls::RustlsPair;

use core::hint::black_box;

use ml_kem::MlKem768;
use ml_kem::kem::{Decapsulate, Encapsulate, Kem, KeyExport};
use x25519_dalek::{EphemeralSecret, PublicKey};

use crate::work::Work;

/// X25519 between two fresh key pairs.
#[derive(Debug)]
pub struct X25519;

impl Work for X25519 {
    fn once(&mut self) -> usize {
        let [a, b] = [(); 2].map(|()| EphemeralSecret::random());
        let (to_b, to_a) = (PublicKey::from(&a), PublicKey::from(&b));
        let ours = a.diffie_hellman(&to_a);
        let theirs = b.diffie_hellman(&to_b);
        assert!(ours.as_bytes() == theirs.as_bytes());
        to_b.as_bytes().len() + to_a.as_bytes().len()
    }
}

/// ML-KEM-768 of RustCrypto: a fresh key pair, one encapsulation, one decapsulation.
#[derive(Debug)]
pub struct RustCryptoMlKem;

impl Work for RustCryptoMlKem {
    fn once(&mut self) -> usize {
        let (decapsulation, encapsulation) = MlKem768::generate_keypair();
        let (ciphertext, theirs) = encapsulation.encapsulate();
        let ours = decapsulation.decapsulate(&ciphertext);
        assert!(ours == theirs);
        encapsulation.to_bytes().len() + ciphertext.len()
    }
}

/// A Noise handshake of snow with a pre-shared key.
pub struct Snow {
    pattern: &'static str,
    psk_place: u8,
    keys: Option<[snow::Keypair; 2]>,
}

impl core::fmt::Debug for Snow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Snow").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Snow {
    /// `NNpsk0`: fresh keys of both ends, and the pre-shared one.
    #[must_use]
    pub const fn nn() -> Self {
        Self { pattern: "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", psk_place: 0, keys: None }
    }

    /// `KKpsk0`: static keys of both ends beside them.
    #[must_use]
    pub fn kk() -> Self {
        let pattern = "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2s";
        let pair = || snow::Builder::new(pattern.parse().unwrap()).generate_keypair().unwrap();
        Self { pattern, psk_place: 0, keys: Some([pair(), pair()]) }
    }

    fn end(&self, own: usize) -> snow::HandshakeState {
        let mut builder =
            snow::Builder::new(self.pattern.parse().unwrap()).psk(self.psk_place, &[7; 32]).unwrap();
        if let Some(keys) = &self.keys {
            builder = builder.local_private_key(&keys[own].private).unwrap();
            builder = builder.remote_public_key(&keys[1 - own].public).unwrap();
        }
        if own == 0 { builder.build_initiator() } else { builder.build_responder() }.unwrap()
    }
}

impl Work for Snow {
    fn once(&mut self) -> usize {
        let (mut a, mut b) = (self.end(0), self.end(1));
        let (mut message, mut payload) = ([0; 128], [0; 128]);
        let first = a.write_message(&[], &mut message).unwrap();
        b.read_message(&message[..first], &mut payload).unwrap();
        let second = b.write_message(&[], &mut message).unwrap();
        a.read_message(&message[..second], &mut payload).unwrap();
        black_box((a.into_transport_mode().unwrap(), b.into_transport_mode().unwrap()));
        first + second
    }
}
