//! From a key of DSKE to what an SAE gets, and its id: the same at both ends with no message between them
//! (docs/draft-skex-integration.md, "Key Delivery").
//!
//! ```text
//!   context = "skex kme" | uint8 length of the master's name | it | uint8 length of the slave's name | it
//!   place   = name of the raw export 0 with this context, first 6 octets
//!   key     = raw export with number = bits of the key and this context
//!   check   = its name, first 8 octets
//!   key_ID  = place (48 bits) | 8 (4 bits) | octets of the key (12 bits) | 2 (2 bits) | check without its first 2 bits
//! ```
//!
//! So an id is a UUID of version 8 (RFC 9562). The place finds the key, the length says how long it is to be, and the check
//! refuses an id that anybody changed. SAEs are part of all of it: the id that one pair was given is nothing to another.

use skex_core::export::{End, Exporter};
use skex_core::{KeyBytes, OutputKey};

use super::name::Name;

/// Which SAE began and which one follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) master: &'a Name,
    pub(super) slave: &'a Name,
}

/// What names a key at both SAEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeliveryId([u8; 16]);

pub(super) type Place = [u8; 6];

/// A key for an SAE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    pub(crate) key: KeyBytes,
}

const PURPOSE: &[u8] = b"skex kme";

/// Where the key of this pair is found. `None` for a key that cannot be exported.
pub(super) fn place(key: &OutputKey, pair: Pair<'_>) -> Option<Place> {
    let export = exporter(key)?.raw(0, &context(pair)?, 1).ok()?;
    export.name().as_bytes().first_chunk().copied()
}

/// The key of so many octets for this pair, with its id.
pub(super) fn deliver(key: &OutputKey, pair: Pair<'_>, octets: u16) -> Option<Delivery> {
    let place = place(key, pair)?;
    let number = u32::from(octets).checked_mul(8)?;
    let export = exporter(key)?.raw(number, &context(pair)?, usize::from(octets)).ok()?;
    let check = export.name().as_bytes().first_chunk().copied()?;
    let id = DeliveryId::new(place, octets, check)?;
    Some(Delivery { id, key: export.into_key() })
}

/// An exporter lives in memory only and gives each number once; who may have a key, and that it is given once, is kept in
/// storage here. So one is made for each look at the key.
pub(super) fn exporter(key: &OutputKey) -> Option<Exporter> {
    let secret = KeyBytes::copied_from(key.secret().expose())?;
    let copy = OutputKey::new(key.id(), key.index(), key.assurance(), secret);
    // The end does not matter: a raw key serves both ways.
    Exporter::new(if key.is_confirmed() { copy.confirmed() } else { copy }, End::A).ok()
}

fn context(pair: Pair<'_>) -> Option<Vec<u8>> {
    Some([PURPOSE, &names(pair)?].concat())
}

/// Both names, each after its length.
pub(super) fn names(pair: Pair<'_>) -> Option<Vec<u8>> {
    let mut names = Vec::new();
    for name in [pair.master, pair.slave] {
        names.push(u8::try_from(name.as_str().len()).ok()?);
        names.extend_from_slice(name.as_str().as_bytes());
    }
    Some(names)
}

impl DeliveryId {
    fn new([a, b, c, d, e, f]: Place, octets: u16, check: [u8; 8]) -> Option<Self> {
        let [high, low] = octets.to_be_bytes();
        if high > 0x0f || octets == 0 {
            return None;
        }
        let [first, g, h, i, j, k, l, m] = check;
        Some(Self([a, b, c, d, e, f, 0x80 | high, low, 0x80 | (first & 0x3f), g, h, i, j, k, l, m]))
    }

    pub(super) const fn from_bytes(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the 36 characters of a UUID.
    pub(super) fn from_uuid(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return None;
        }
        Self::from_hex(&parts.concat())
    }

    /// From 32 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut octets = [0; 16];
        hex::decode_to_slice(text, &mut octets).ok()?;
        Some(Self(octets))
    }

    pub(super) fn to_uuid(self) -> String {
        let digits = self.to_hex();
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
    }

    pub(super) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// What finds the key, and how many octets it has.
    pub(super) fn place_and_octets(self) -> (Place, u16) {
        let [a, b, c, d, e, f, high, low, ..] = self.0;
        ([a, b, c, d, e, f], u16::from_be_bytes([high & 0x0f, low]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use skex_core::{Assurance, KeyId};

    use super::*;

    pub(in crate::kme) fn key(octet: u8) -> OutputKey {
        let secret = KeyBytes::copied_from(&[octet; 32]).unwrap();
        OutputKey::new(KeyId::new([octet; 16]), 0, Assurance::Computational, secret).confirmed()
    }

    pub(in crate::kme) fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// Fixed: a second implementation of docs/draft-skex-integration.md, "Key Delivery", can be held against it.
    #[test]
    fn the_example_of_the_draft() {
        let (master, slave) = (name("sae-a"), name("sae-b"));
        let delivery = deliver(&key(7), Pair { master: &master, slave: &slave }, 32).unwrap();
        assert_eq!(delivery.id.to_uuid(), EXAMPLE_ID);
        assert_eq!(hex::encode(delivery.key.expose()), EXAMPLE_KEY);
    }

    const EXAMPLE_ID: &str = "88d0457b-5d99-8020-9905-6ee50682d9df";
    const EXAMPLE_KEY: &str = "5692a2d206577d6a2143d8295262568358f784a0a82114b2b58d9a61c6875303";

    #[test]
    fn pair_direction_size_and_key_each_change_key_and_id() {
        let (a, b, c) = (name("sae-a"), name("sae-b"), name("sae-c"));
        let of = |octet, master, slave, octets| deliver(&key(octet), Pair { master, slave }, octets).unwrap();
        let all = [
            of(7, &a, &b, 32),
            of(7, &b, &a, 32),
            of(7, &a, &c, 32),
            of(7, &c, &b, 32),
            of(8, &a, &b, 32),
            of(7, &a, &b, 33),
            of(7, &a, &b, 16),
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[..i] {
                assert_ne!(one.id, other.id);
                assert_ne!(one.key.expose()[..16], other.key.expose()[..16]);
            }
        }
        assert_eq!(
            all[0].id.place_and_octets().0,
            all[5].id.place_and_octets().0,
            "one place for every size"
        );
    }

    #[test]
    fn an_id_is_a_uuid_of_version_8_and_says_the_length() {
        let (a, b) = (name("sae-a"), name("sae-b"));
        for octets in [8, 32, 255, 256, 1024] {
            let id = deliver(&key(3), Pair { master: &a, slave: &b }, octets).unwrap().id;
            let text = id.to_uuid();
            assert_eq!((text.len(), &text[14..15]), (36, "8"));
            assert!("89ab".contains(&text[19..20]), "{text}");
            assert_eq!(DeliveryId::from_uuid(&text), Some(id));
            assert_eq!(DeliveryId::from_uuid(&text.to_uppercase()), Some(id));
            assert_eq!(DeliveryId::from_hex(&id.to_hex()), Some(id));
            assert_eq!(id.place_and_octets().1, octets);
        }
        assert_eq!(deliver(&key(3), Pair { master: &a, slave: &b }, 4096), None);
        assert_eq!(deliver(&key(3), Pair { master: &a, slave: &b }, 0), None);
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for bad in [
            "",
            "-",
            "{bc490419-7d60-487f-adc1-4ddcc177c139}",
            "bc4904197d60487fadc14ddcc177c139",
            "bc490419-7d60-487f-adc1-4ddcc177c13g",
            "bc49041-97d60-487f-adc1-4ddcc177c139",
            "bc490419-7d60-487f-adc1-4ddcc177c13\u{e9}",
            "bc490419-7d60-487f-adc1-4ddcc177c139-",
        ] {
            assert_eq!(DeliveryId::from_uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_unconfirmed_key_is_not_delivered() {
        let (a, b) = (name("sae-a"), name("sae-b"));
        let secret = KeyBytes::copied_from(&[7; 32]).unwrap();
        let key = OutputKey::new(KeyId::new([7; 16]), 0, Assurance::Computational, secret);
        assert_eq!(deliver(&key, Pair { master: &a, slave: &b }, 32), None);
    }
}
