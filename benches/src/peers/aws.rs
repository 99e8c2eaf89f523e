//! ML-KEM-768 and X25519 of aws-lc-rs.

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::rand::SystemRandom;

use crate::work::Work;

/// A fresh key pair, one encapsulation, one decapsulation.
#[derive(Debug)]
pub struct AwsMlKem;

impl Work for AwsMlKem {
    fn once(&mut self) -> usize {
        let decapsulation = DecapsulationKey::generate(&ML_KEM_768).unwrap();
        let public = decapsulation.encapsulation_key().unwrap().key_bytes().unwrap();
        let encapsulation = EncapsulationKey::new(&ML_KEM_768, public.as_ref()).unwrap();
        let (ciphertext, theirs) = encapsulation.encapsulate().unwrap();
        let octets = public.as_ref().len() + ciphertext.as_ref().len();
        let ours = decapsulation.decapsulate(Ciphertext::from(ciphertext.as_ref())).unwrap();
        assert!(ours.as_ref() == theirs.as_ref());
        octets
    }
}

/// X25519 and ML-KEM-768 together, as hybrid key exchanges do.
#[derive(Debug)]
pub struct AwsX25519MlKem;

impl Work for AwsX25519MlKem {
    fn once(&mut self) -> usize {
        let rng = SystemRandom::new();
        let [a, b] = [(); 2].map(|()| EphemeralPrivateKey::generate(&X25519, &rng).unwrap());
        let (to_b, to_a) = (a.compute_public_key().unwrap(), b.compute_public_key().unwrap());
        let secret = |own, public: &[u8]| {
            agree_ephemeral(
                own,
                UnparsedPublicKey::new(&X25519, public),
                aws_lc_rs::error::Unspecified,
                |secret| Ok(<[u8; 32]>::try_from(secret).unwrap()),
            )
            .unwrap()
        };
        assert!(secret(a, to_a.as_ref()) == secret(b, to_b.as_ref()));
        to_a.as_ref().len() + to_b.as_ref().len() + AwsMlKem.once()
    }
}
