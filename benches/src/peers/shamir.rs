//! Crates for Shamir's scheme over GF(2^8), sharing 3 of 5.

use core::hint::black_box;

use crate::work::Work;

const THRESHOLD: usize = 3;
const SHARES: usize = 5;

/// `vsss-rs`: constant time.
#[derive(Debug)]
pub struct Vsss {
    secret: Vec<u8>,
    shares: Vec<Vec<u8>>,
    combine: bool,
    rng: chacha20::ChaCha20Rng,
}

impl Vsss {
    /// Splits a secret of so many octets, or combines the shares of one.
    #[must_use]
    pub fn new(length: usize, combine: bool) -> Self {
        let mut rng = crate::generator(9);
        let secret = crate::octets(&mut rng, length);
        let mut shares = vsss_rs::Gf256::split_bytes(THRESHOLD, SHARES, &secret, &mut rng).unwrap();
        shares.truncate(THRESHOLD);
        Self { secret, shares, combine, rng }
    }
}

impl Work for Vsss {
    fn once(&mut self) -> usize {
        if self.combine {
            black_box(vsss_rs::Gf256::combine_bytes(black_box(&self.shares)).unwrap());
        } else {
            let rng = &mut self.rng;
            black_box(vsss_rs::Gf256::split_bytes(THRESHOLD, SHARES, black_box(&self.secret), rng).unwrap());
        }
        0
    }
}

macro_rules! of_sharks {
    ($(#[$doc:meta])* $name:ident, $krate:ident) => {
        $(#[$doc])*
        pub struct $name {
            secret: Vec<u8>,
            shares: Vec<$krate::Share>,
            combine: bool,
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl $name {
            /// Splits a secret of so many octets, or combines the shares of one.
            #[must_use]
            pub fn new(length: usize, combine: bool) -> Self {
                let secret = crate::octets(&mut crate::generator(9), length);
                let shares = $krate::Sharks(THRESHOLD as u8).dealer(&secret).take(THRESHOLD).collect();
                Self { secret, shares, combine }
            }
        }

        impl Work for $name {
            fn once(&mut self) -> usize {
                let sharks = $krate::Sharks(THRESHOLD as u8);
                if self.combine {
                    black_box(sharks.recover(black_box(&self.shares)).unwrap());
                } else {
                    black_box(sharks.dealer(black_box(&self.secret)).take(SHARES).collect::<Vec<_>>());
                }
                0
            }
        }
    };
}

of_sharks! {
    /// `sharks`: by tables, not constant time.
    Sharks, sharks
}
of_sharks! {
    /// `blahaj`: its successor.
    Blahaj, blahaj
}
