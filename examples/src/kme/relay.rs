//! A key for an SAE at another KME than the slave's: wrapped under a key of DSKE that the two KMEs have, in one message from
//! KME to KME (docs/draft-skex-integration.md, "Additional SAEs").
//!
//! ```text
//!   message = 1 (1) | length of the master's name (1) | it | length of the additional slave's name (1) | it
//!           | place (6) | count (1) | count times: key_ID (16), wrapped key (n octets, which the key_ID says) | tag (16)
//!   place   = of the wrapping key for these two, as in `naming`
//!   wrapped = key XOR raw export of n octets, number 8n, context "skex relay key" | names as above | key_ID
//!   tag     = raw export of 32 octets, number 256, context "skex relay tag" | message before the tag: its first 16 octets
//!   answer  = its last 16 octets
//! ```
//!
//! The wrapping key serves one message, and is gone from storage at both ends when the answer is given.

use skex_core::{KeyBytes, OutputKey, Suite};
use skex_wire::{DecodeError, Reader, SuiteId};

use super::name::Name;
use super::naming::{Delivery, DeliveryId, Pair, Place, exporter, names, place};

/// What the other KME says when it has taken the keys over: nobody without the wrapping key can say it.
pub(crate) type Answer = [u8; 16];

type Tag = [u8; 16];

const VERSION: u8 = 1;
const KEY: &[u8] = b"skex relay key";
const TAG: &[u8] = b"skex relay tag";
const MARK: &[u8] = b"skex relay mark";

/// Octets of the longest key that is relayed: more do not fit a slot of the storage, and have no more strength.
pub(super) const LONGEST_KEY: u16 = 32;

/// Keys of one message.
pub(super) const MOST_KEYS: usize = 255;

/// A message, and the answer that proves that it was heeded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrapped {
    pub(super) message: Vec<u8>,
    pub(super) answer: Answer,
}

/// Wraps keys for the slave of this pair. `None` for keys that cannot be relayed.
pub(super) fn wrap(wrapping: &OutputKey, pair: Pair<'_>, keys: &[Delivery]) -> Option<Wrapped> {
    let count = u8::try_from(keys.len()).ok().filter(|count| *count > 0)?;
    let names = names(pair)?;
    let mut message = vec![VERSION];
    message.extend_from_slice(&names);
    message.extend_from_slice(&place(wrapping, pair)?);
    message.push(count);
    for delivery in keys {
        message.extend_from_slice(delivery.id.as_bytes());
        let wrapped = masked(wrapping, &names, delivery.id, delivery.key.expose())?;
        message.extend_from_slice(wrapped.expose());
    }
    let (tag, answer) = seal(wrapping, &message)?;
    message.extend_from_slice(&tag);
    Some(Wrapped { message, answer })
}

/// A message that came in. Nothing in it is believed before [`Self::unwrap`].
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) master: Name,
    pub(super) slave: Name,
    pub(super) place: Place,
    wrapped: Vec<(DeliveryId, &'a [u8])>,
    sealed: &'a [u8],
    tag: Tag,
}

impl<'a> Message<'a> {
    /// `None`: it is none, or has a key twice.
    pub(super) fn decode(octets: &'a [u8]) -> Option<Self> {
        let sealed = octets.get(..octets.len().checked_sub(size_of::<Tag>())?)?;
        let mut reader = Reader::new(octets);
        (reader.u8().ok()? == VERSION).then_some(())?;
        let mut name = || -> Option<Name> {
            let len = reader.u8().ok()?;
            Name::parse(core::str::from_utf8(reader.take(usize::from(len)).ok()?).ok()?)
        };
        let (master, slave) = (name()?, name()?);
        let rest = || -> Result<_, DecodeError> {
            let (place, count) = (reader.array()?, reader.u8()?);
            let mut wrapped = Vec::with_capacity(usize::from(count));
            for _ in 0..count {
                let id = DeliveryId::from_bytes(reader.array()?);
                wrapped.push((id, reader.take(usize::from(id.place_and_octets().1))?));
            }
            let tag = reader.array()?;
            reader.finish()?;
            Ok((place, wrapped, tag))
        };
        let (place, wrapped, tag) = rest().ok()?;
        let are_keys = wrapped.iter().all(|(_, key)| (1..=usize::from(LONGEST_KEY)).contains(&key.len()));
        let mut ids: Vec<DeliveryId> = wrapped.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let are_distinct = ids.windows(2).all(|two| two.first() != two.last());
        let is_one = are_keys && are_distinct && !wrapped.is_empty();
        is_one.then_some(Self { master, slave, place, wrapped, sealed, tag })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = DeliveryId> {
        self.wrapped.iter().map(|(id, _)| *id)
    }

    /// The keys, and what to answer. `None`: whoever made this does not have the wrapping key.
    pub(super) fn unwrap(&self, wrapping: &OutputKey) -> Option<(Vec<Delivery>, Answer)> {
        let (tag, answer) = seal(wrapping, self.sealed)?;
        // Compared in constant time.
        let is_right = KeyBytes::copied_from(&tag)? == KeyBytes::copied_from(&self.tag)?;
        is_right.then_some(())?;
        let names = names(Pair { master: &self.master, slave: &self.slave })?;
        let of = |(id, wrapped): &(DeliveryId, &[u8])| {
            Some(Delivery { id: *id, key: masked(wrapping, &names, *id, wrapped)? })
        };
        Some((self.wrapped.iter().map(of).collect::<Option<_>>()?, answer))
    }
}

/// The key under its pad, or out of it.
fn masked(wrapping: &OutputKey, names: &[u8], id: DeliveryId, key: &[u8]) -> Option<KeyBytes> {
    let number = u32::try_from(key.len()).ok()?.checked_mul(8)?;
    let context = [KEY, names, id.as_bytes()].concat();
    let pad = exporter(wrapping)?.raw(number, &context, key.len()).ok()?.into_key();
    KeyBytes::from_fn(key.len(), |out| {
        out.iter_mut().zip(key.iter().zip(pad.expose())).for_each(|(out, (one, other))| *out = one ^ other);
    })
}

fn seal(wrapping: &OutputKey, sealed: &[u8]) -> Option<(Tag, Answer)> {
    let seal = exporter(wrapping)?.raw(256, &[TAG, sealed].concat(), 32).ok()?.into_key();
    let (tag, rest) = seal.expose().split_first_chunk()?;
    Some((*tag, rest.first_chunk().copied()?))
}

/// What stands for a pair in storage, where names have no room.
pub(super) fn mark(pair: Pair<'_>) -> Option<[u8; 16]> {
    let digest = Suite::from_id(SuiteId::SHA256_AES256GCM)?.digest(&[MARK, &names(pair)?]);
    digest.as_bytes().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::super::naming::deliver;
    use super::super::naming::tests::{key, name};
    use super::*;

    /// sae-a begins with sae-b under the output key 7; sae-c gets the same under the output key 9.
    fn example() -> (Vec<Delivery>, Wrapped) {
        let (a, b, c) = (name("sae-a"), name("sae-b"), name("sae-c"));
        let keys = vec![deliver(&key(7), Pair { master: &a, slave: &b }, 32).unwrap()];
        let wrapped = wrap(&key(9), Pair { master: &a, slave: &c }, &keys).unwrap();
        (keys, wrapped)
    }

    /// Fixed: the example of docs/draft-skex-integration.md, "Additional SAEs".
    #[test]
    fn the_example_of_the_draft() {
        let (keys, wrapped) = example();
        assert_eq!(hex::encode(&wrapped.message), EXAMPLE_MESSAGE);
        assert_eq!(hex::encode(wrapped.answer), EXAMPLE_ANSWER);
        let message = Message::decode(&wrapped.message).unwrap();
        assert_eq!((message.master.as_str(), message.slave.as_str()), ("sae-a", "sae-c"));
        assert_eq!(message.unwrap(&key(9)), Some((keys, wrapped.answer)));
    }

    const EXAMPLE_MESSAGE: &str = "01057361652d61057361652d63bbf1a2c921ac0188d0457b5d99802099056ee50682d9\
        df7b064fc16a565da19170b12bc82cbbdfbb4206c3ed225d428f9e770d9a58401aef54\
        76769b8d36a82d27fbe8fe69bc8c";
    const EXAMPLE_ANSWER: &str = "1711c929cda5721d12df3fb0b3ae1227";

    #[test]
    fn every_bit_and_every_octet_of_a_message_counts() {
        let (keys, Wrapped { message, .. }) = example();
        let opened = |octets: &[u8]| Message::decode(octets).and_then(|message| message.unwrap(&key(9)));
        assert_eq!(opened(&message).unwrap().0, keys);
        for bit in 0..message.len() * 8 {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&changed), None, "bit {bit}");
        }
        for len in 0..message.len() {
            assert_eq!(opened(&message[..len]), None, "{len}");
        }
        assert_eq!(opened(&[&message[..], &[0]].concat()), None);
        assert_eq!(Message::decode(&message).unwrap().unwrap(&key(8)), None, "another wrapping key");
    }

    #[test]
    fn a_message_without_keys_with_one_twice_or_with_one_too_long_is_none() {
        let (a, b, c) = (name("sae-a"), name("sae-b"), name("sae-c"));
        let one = |octets| deliver(&key(7), Pair { master: &a, slave: &b }, octets).unwrap();
        let wrapped = |keys: &[Delivery]| wrap(&key(9), Pair { master: &a, slave: &c }, keys);
        assert_eq!(wrapped(&[]), None);
        assert!(Message::decode(&wrapped(&[one(32), one(16)]).unwrap().message).is_some());
        assert!(Message::decode(&wrapped(&[one(32), one(32)]).unwrap().message).is_none());
        assert!(Message::decode(&wrapped(&[one(33)]).unwrap().message).is_none());
        let many: Vec<Delivery> = (0..=255).map(|_| one(8)).collect();
        assert_eq!(wrapped(&many), None);
    }

    /// Whoever restores an old copy of the directory wraps under one key again: no two keys lie under one pad even then.
    #[test]
    fn each_key_has_a_pad_of_its_own() {
        let (a, b, c) = (name("sae-a"), name("sae-b"), name("sae-c"));
        let pads: Vec<Vec<u8>> = [7, 8]
            .map(|octet| {
                let delivery = deliver(&key(octet), Pair { master: &a, slave: &b }, 32).unwrap();
                let secret = delivery.key.expose().to_vec();
                let wrapped = wrap(&key(9), Pair { master: &a, slave: &c }, &[delivery]).unwrap().message;
                let wrapped = &wrapped[wrapped.len() - 48..wrapped.len() - 16];
                wrapped.iter().zip(secret).map(|(one, other)| one ^ other).collect()
            })
            .into();
        assert_ne!(pads[0], pads[1]);
    }
}
