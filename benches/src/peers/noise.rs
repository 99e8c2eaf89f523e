//! snow: Noise with a pre-shared key.

use core::hint::black_box;
use std::sync::{LazyLock, Mutex};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

use crate::generator;
use crate::work::Work;

/// A Noise handshake of snow with a pre-shared key.
pub struct Snow {
    pattern: &'static str,
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
        Self { pattern: "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", keys: None }
    }

    /// `KKpsk0`: static keys of both ends beside them.
    #[must_use]
    pub fn kk() -> Self {
        let mut snow = Self { pattern: "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2s", keys: None };
        snow.keys = Some([(); 2].map(|()| snow.builder().generate_keypair().unwrap()));
        snow
    }

    fn builder(&self) -> snow::Builder<'static> {
        snow::Builder::with_resolver(self.pattern.parse().unwrap(), Box::new(Resolver))
    }

    fn end(&self, own: usize) -> snow::HandshakeState {
        let mut builder = self.builder().psk(0, &[7; 32]).unwrap();
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

/// What snow takes by default, but for the generator: the operating system's would cost it what ours does not pay.
struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SharedRng))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// One generator for all handshakes, in no place of its own: a box of it allocates nothing, like that of snow's default.
struct SharedRng;

static RNG: LazyLock<Mutex<ChaCha20Rng>> = LazyLock::new(|| Mutex::new(generator(13)));

impl Random for SharedRng {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        RNG.lock().map_err(|_| snow::Error::Rng)?.fill_bytes(out);
        Ok(())
    }
}
