//! What a user would pick instead, each as a whole exchange between two ends. All draw from a generator in user space, as ours do:
//! these from the one that ours use, C libraries from their own.

#[cfg(feature = "peers")]
mod aws;
#[cfg(feature = "peers")]
mod openssl;
#[cfg(feature = "peers")]
mod tls;

mod noise;
mod shamir;

#[cfg(feature = "peers")]
pub use aws::{AwsMlKem, AwsX25519MlKem};
pub use noise::Snow;
#[cfg(feature = "peers")]
pub use openssl::{OpensslPsk12, OpensslPsk13};
pub use shamir::{Blahaj, Sharks, Vsss};
#[cfg(feature = "peers")]
pub use tls::RustlsPair;

use chacha20::ChaCha20Rng;
use ml_kem::MlKem768;
use ml_kem::kem::{Decapsulate, Encapsulate, Kem, KeyExport};
use x25519_dalek::{EphemeralSecret, PublicKey};

use crate::generator;
use crate::work::Work;

/// X25519 between two fresh key pairs.
#[derive(Debug)]
pub struct X25519(ChaCha20Rng);

impl Default for X25519 {
    fn default() -> Self {
        Self(generator(11))
    }
}

impl Work for X25519 {
    fn once(&mut self) -> usize {
        let [a, b] = [(); 2].map(|()| EphemeralSecret::random_from_rng(&mut self.0));
        let (to_b, to_a) = (PublicKey::from(&a), PublicKey::from(&b));
        let ours = a.diffie_hellman(&to_a);
        let theirs = b.diffie_hellman(&to_b);
        assert!(ours.as_bytes() == theirs.as_bytes());
        to_b.as_bytes().len() + to_a.as_bytes().len()
    }
}

/// ML-KEM-768 of RustCrypto: a fresh key pair, one encapsulation, one decapsulation.
#[derive(Debug)]
pub struct RustCryptoMlKem(ChaCha20Rng);

impl Default for RustCryptoMlKem {
    fn default() -> Self {
        Self(generator(12))
    }
}

impl Work for RustCryptoMlKem {
    fn once(&mut self) -> usize {
        let (decapsulation, encapsulation) = MlKem768::generate_keypair_from_rng(&mut self.0);
        let (ciphertext, theirs) = encapsulation.encapsulate_with_rng(&mut self.0);
        let ours = decapsulation.decapsulate(&ciphertext);
        assert!(ours == theirs);
        encapsulation.to_bytes().len() + ciphertext.len()
    }
}
