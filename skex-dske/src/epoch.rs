//! Epochs: keys of an AEAD that one block of a table gives, for up to 256 messages (docs/draft-skex-dske.md, "Epochs").
//!
//! An epoch is opened like any block, by the first of its messages that proves authentic, and lives in memory alone: it
//! ends with the session. So no (key, number) ever comes back: not after a start, not after a restore.

use alloc::vec::Vec;
use core::ops::Range;

use skex_core::{Aead, Expander, Label, SecretBytes, Suite};

use crate::key::{Origin, Origins};
use crate::psrd::Place;
use crate::suite::KeySuite;

/// Epochs of one table that are open at once, at either end: those whose blocks begin highest. Within a table that is the order
/// in which they were begun; between tables it need not be.
pub(crate) const OPEN: usize = 4;

/// Messages of an epoch: as many as the octet of their number has values.
const MESSAGES: u16 = 256;

/// The keys of an epoch.
pub(crate) struct EpochKeys {
    suite: KeySuite,
    aead: Aead,
    shares: SecretBytes<32>,
    answers: SecretBytes<32>,
}

impl EpochKeys {
    /// The keys that the block at `place` gives to an epoch of `suite`, by its key for answers and its key for shares.
    /// `hash` is that of the link's envelope, `prefix` what stands before the epoch's shares under every tag. `None` for a
    /// suite without an AEAD.
    pub(crate) fn new(
        hash: Suite,
        suite: KeySuite,
        prefix: &[u8],
        place: Place,
        (answers, shares): (&SecretBytes<32>, &SecretBytes<32>),
    ) -> Option<Self> {
        let aead = suite.aead()?;
        let context: [&[u8]; 4] =
            [prefix, &[suite.id().value()], &place.table.to_be_bytes(), &place.index.to_be_bytes()];
        let expand =
            |key: &SecretBytes<32>, label| Expander::from_key(hash, key.expose()).secret(label, &context);
        let shares = expand(shares, Label::DSKE_EPOCH_SHARES);
        let answers = expand(answers, Label::DSKE_EPOCH_ANSWERS);
        Some(Self { suite, aead, shares, answers })
    }

    /// Seals share `number` in place and gives the tag.
    fn seal(&self, number: u8, aad: &[u8], share: &mut [u8]) -> Option<[u8; 16]> {
        self.aead.seal(&self.shares, &nonce(number), aad, share).ok()
    }

    /// Opens share `number` in place. `false`: it is not authentic, and nothing was decrypted.
    #[must_use]
    pub(crate) fn open(&self, number: u8, aad: &[u8], share: &mut [u8], tag: &[u8; 16]) -> bool {
        self.aead.open(&self.shares, &nonce(number), aad, share, tag).is_ok()
    }

    /// The key of the one answer to share `number`.
    pub(crate) fn answer_key(&self, number: u8) -> EpochAnswerKey {
        let key = SecretBytes::copied_from(self.answers.expose());
        EpochAnswerKey { aead: self.aead, key, nonce: nonce(number) }
    }
}

/// Makes or verifies the one answer to one message of an epoch.
pub(crate) struct EpochAnswerKey {
    aead: Aead,
    key: SecretBytes<32>,
    nonce: [u8; 12],
}

impl EpochAnswerKey {
    /// The tag of the answer, once.
    pub(crate) fn tag(self, answer: &[u8]) -> Option<[u8; 16]> {
        self.aead.seal(&self.key, &self.nonce, answer, &mut []).ok()
    }

    /// Whether this is the answer.
    pub(crate) fn verifies(&self, answer: &[u8], tag: &[u8; 16]) -> bool {
        self.aead.open(&self.key, &self.nonce, answer, &mut [], tag).is_ok()
    }
}

const fn nonce(number: u8) -> [u8; 12] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]
}

/// The epochs of the direction in which this end sends, in ascending order: those that the other end may know.
#[derive(Default)]
pub(crate) struct SendingEpochs(Vec<Sending>);

struct Sending {
    id: Place,
    /// Of the table.
    origin: Origin,
    suite: KeySuite,
    /// Until the last number is used.
    keys: Option<EpochKeys>,
    next: u16,
    /// What leaves under it waits for the checkpoint of its lease.
    after: u64,
    /// Whether the other end has answered under it: it needs the block no more.
    heard: bool,
}

/// A share, sealed under an epoch.
pub(crate) struct SealedShare {
    pub(crate) tag: [u8; 16],
    pub(crate) answer_key: EpochAnswerKey,
}

impl SendingEpochs {
    fn current(&self, suite: KeySuite, origins: Origins) -> Option<&Sending> {
        let serves =
            |epoch: &&Sending| epoch.suite == suite && origins.include(epoch.origin) && epoch.keys.is_some();
        self.0.iter().rev().find(serves)
    }

    /// The epoch of `suite`, of a table of `origins`, that has a number left; that number, and the checkpoint that
    /// its message waits for.
    pub(crate) fn next(&self, suite: KeySuite, origins: Origins) -> Option<(Place, u8, u64)> {
        let current = self.current(suite, origins)?;
        Some((current.id, u8::try_from(current.next).ok()?, current.after))
    }

    /// The origin of the table that gave the keys of the next message.
    pub(crate) fn origin(&self, suite: KeySuite) -> Option<Origin> {
        Some(self.current(suite, Origins::Any)?.origin)
    }

    /// Begins another epoch. Gives the one that is given up for it, if its block was not heard of: the one that begins lowest in
    /// its table, as at the other end.
    pub(crate) fn begin(&mut self, id: Place, origin: Origin, keys: EpochKeys, after: u64) -> Option<Place> {
        let suite = keys.suite;
        let place = self.0.partition_point(|epoch| epoch.id < id);
        self.0.insert(place, Sending { id, origin, suite, keys: Some(keys), next: 0, after, heard: false });
        let of_table = of_table(&self.0, |epoch| epoch.id, id.table);
        let given_up = (of_table.len() > OPEN).then(|| self.0.remove(of_table.start));
        given_up.filter(|epoch| !epoch.heard).map(|epoch| epoch.id)
    }

    /// Seals `share` in place, as message `number` of the epoch: the one that [`Self::next`] gave. The number is spent.
    pub(crate) fn seal(
        &mut self,
        id: Place,
        number: u8,
        aad: &[u8],
        share: &mut [u8],
    ) -> Option<SealedShare> {
        let epoch = self.0.iter_mut().find(|epoch| epoch.id == id && epoch.next == u16::from(number))?;
        epoch.next = epoch.next.saturating_add(1);
        let sealed = {
            let keys = epoch.keys.as_ref()?;
            SealedShare { tag: keys.seal(number, aad, share)?, answer_key: keys.answer_key(number) }
        };
        if epoch.next >= MESSAGES {
            epoch.keys = None;
        }
        Some(sealed)
    }

    /// Whether the other end may still know the epoch: it keeps the last few.
    pub(crate) fn is_open(&self, id: Place) -> bool {
        self.0.iter().any(|epoch| epoch.id == id)
    }

    /// The other end has answered under the epoch. `true` the first time.
    pub(crate) fn hear(&mut self, id: Place) -> bool {
        let epoch = self.0.iter_mut().find(|epoch| epoch.id == id);
        epoch.is_some_and(|epoch| !core::mem::replace(&mut epoch.heard, true))
    }
}

/// The epochs of the direction in which this end receives, in ascending order.
#[derive(Default)]
pub(crate) struct ReceivingEpochs(Vec<Receiving>);

struct Receiving {
    id: Place,
    keys: EpochKeys,
    /// One bit a number.
    seen: [u64; 4],
}

/// What is known of a message before its tag is verified.
pub(crate) enum Standing<'a> {
    /// Its epoch is open, under these keys, and the number is new.
    New(&'a EpochKeys),
    /// The number came before.
    Seen,
    /// The epoch is one of another suite.
    OtherSuite,
    /// The epoch is not open, and its block is to be looked at.
    Unknown,
    /// So many later epochs of its table are open that this one is over.
    Over,
}

impl ReceivingEpochs {
    pub(crate) fn standing(&self, id: Place, suite: KeySuite, number: u8) -> Standing<'_> {
        match self.0.iter().find(|epoch| epoch.id == id) {
            Some(epoch) if epoch.keys.suite != suite => Standing::OtherSuite,
            Some(epoch) if epoch.has_seen(number) => Standing::Seen,
            Some(epoch) => Standing::New(&epoch.keys),
            None => {
                let of_table = of_table(&self.0, |epoch| epoch.id, id.table);
                let is_lowest = self.0.get(of_table.start).is_some_and(|lowest| id < lowest.id);
                if of_table.len() >= OPEN && is_lowest { Standing::Over } else { Standing::Unknown }
            }
        }
    }

    /// The first message of an epoch was authentic: it is open from now on.
    pub(crate) fn begin(&mut self, id: Place, keys: EpochKeys) {
        let place = self.0.partition_point(|epoch| epoch.id < id);
        self.0.insert(place, Receiving { id, keys, seen: [0; 4] });
        let of_table = of_table(&self.0, |epoch| epoch.id, id.table);
        if of_table.len() > OPEN {
            self.0.remove(of_table.start);
        }
    }

    /// Message `number` was authentic: it is not opened again. Gives the key of its answer.
    pub(crate) fn see(&mut self, id: Place, number: u8) -> Option<EpochAnswerKey> {
        let epoch = self.0.iter_mut().find(|epoch| epoch.id == id)?;
        let (word, bit) = place(number);
        *epoch.seen.get_mut(word)? |= bit;
        Some(epoch.keys.answer_key(number))
    }
}

impl Receiving {
    fn has_seen(&self, number: u8) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_none_or(|seen| seen & bit != 0)
    }
}

/// Where the epochs of a table stand, of epochs in ascending order.
fn of_table<T>(epochs: &[T], id: impl Fn(&T) -> Place, table: u16) -> Range<usize> {
    epochs.partition_point(|epoch| id(epoch).table < table)
        ..epochs.partition_point(|epoch| id(epoch).table <= table)
}

const fn place(number: u8) -> (usize, u64) {
    ((number >> 6) as usize, 1 << (number & 63))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use skex_testvectors::dske_epochs::{self, KeysTest, SealedTest, TestGroup};
    use skex_testvectors::{Hex, Layer};
    use skex_wire::SuiteId;
    use skex_wire::dske::{Direction, DskeSuiteId, Inner, tag_prefix};

    use super::*;

    fn secret(octets: &Hex) -> SecretBytes<32> {
        SecretBytes::try_copied_from(octets.as_bytes()).unwrap()
    }

    fn prefix(direction: u8, client_id: u32, hub_id: &Hex) -> [u8; 21] {
        tag_prefix(Direction::new(direction), client_id, hub_id.as_bytes().try_into().unwrap())
    }

    fn keys(test: &KeysTest, hash: Suite) {
        let suite = KeySuite::from_id(DskeSuiteId::new(test.key_suite)).unwrap();
        let place = Place { table: test.table, index: test.index };
        let prefix = prefix(test.direction, test.client_id, &test.hub_id);
        let block = (&secret(&test.answer_secret), &secret(&test.share_secret));
        let keys = EpochKeys::new(hash, suite, &prefix, place, block).unwrap();
        assert_eq!(keys.answers.expose(), test.answer_key.as_bytes(), "{}", test.name);
        assert_eq!(keys.shares.expose(), test.share_key.as_bytes(), "{}", test.name);
    }

    fn sealed(test: &SealedTest, key_suite: u8) {
        let SealedTest { name, number, refused_by, .. } = test;
        let octets = test.octets.as_bytes();
        let suite = KeySuite::from_id(DskeSuiteId::new(key_suite)).unwrap();
        let both = || secret(&test.key);
        let keys = EpochKeys { suite, aead: suite.aead().unwrap(), shares: both(), answers: both() };
        let prefix = prefix(test.direction, test.client_id, &test.hub_id);
        let Ok(inner) = Inner::decode(octets) else {
            return assert_eq!(*refused_by, Some(Layer::Decode), "{name}");
        };
        let authentic = match &inner {
            Inner::Share(message) => {
                assert_eq!(message.message.position.number, Some(*number), "{name}");
                let head = &message.untagged[..message.message.head_len()];
                let mut share = message.message.share.to_vec();
                let aad = [&prefix, head].concat();
                let opened = keys.open(*number, &aad, &mut share, &message.tag);
                assert!(
                    !opened || (share == test.plaintext.as_bytes() && aad == test.aad.as_bytes()),
                    "{name}"
                );
                opened
            }
            Inner::Answer(message) => {
                assert_eq!(message.message.number, Some(*number), "{name}");
                let aad = [&prefix, message.untagged].concat();
                keys.answer_key(*number).verifies(&aad, &message.tag)
            }
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(authentic, refused_by.is_none(), "{name}");
        if !authentic {
            return;
        }
        // And made: the same octets.
        assert_eq!(nonce(*number), test.nonce.as_bytes(), "{name}");
        let mut body = test.plaintext.as_bytes().to_vec();
        let tag = if body.is_empty() {
            keys.answer_key(*number).tag(test.aad.as_bytes()).unwrap()
        } else {
            keys.seal(*number, test.aad.as_bytes(), &mut body).unwrap()
        };
        assert_eq!([test.head.as_bytes(), &body, &tag].concat(), octets, "{name}");
    }

    #[test]
    fn the_published_vectors() {
        let file = dske_epochs::load().unwrap();
        let mut count = 0;
        for group in &file.test_groups {
            match group {
                TestGroup::Keys(group) => {
                    let hash = Suite::from_id(SuiteId::new(group.suite)).unwrap();
                    group.tests.iter().for_each(|test| keys(test, hash));
                    count += group.tests.len();
                }
                TestGroup::Sealed(group) => {
                    group.tests.iter().for_each(|test| sealed(test, group.key_suite));
                    count += group.tests.len();
                }
                other => panic!("a group that this test does not know: {}", other.name()),
            }
        }
        assert_eq!(count, file.number_of_tests as usize);
    }

    /// Every number once, and no more: carried by the keys that go with the last.
    #[test]
    fn an_epoch_gives_each_of_256_numbers_once() {
        let id = Place { table: 0, index: 2 };
        let hash = Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap();
        let key = || SecretBytes::copied_from(&[7; 32]);
        let keys = EpochKeys::new(hash, KeySuite::Aes256Gcm, &[], id, (&key(), &key())).unwrap();
        let mut epochs = SendingEpochs::default();
        assert_eq!(epochs.begin(id, Origin::OutOfBand, keys, 0), None);
        for expected in 0..=u8::MAX {
            let (epoch, number, _) =
                epochs.next(KeySuite::Aes256Gcm, Origins::Only(Origin::OutOfBand)).unwrap();
            assert_eq!((epoch, number), (id, expected));
            assert!(epochs.seal(id, number, &[], &mut [0; 16]).is_some());
            assert!(epochs.seal(id, number, &[], &mut [0; 16]).is_none(), "the same number again");
        }
        assert!(epochs.next(KeySuite::Aes256Gcm, Origins::Only(Origin::OutOfBand)).is_none());
        assert!(epochs.is_open(id), "its answers are still awaited");
    }

    /// No message that claims more may go by an epoch of a refilled table.
    #[test]
    fn an_epoch_serves_no_better_claim_than_its_table() {
        let id = Place { table: 0, index: 2 };
        let hash = Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap();
        let key = || SecretBytes::copied_from(&[7; 32]);
        let keys = EpochKeys::new(hash, KeySuite::Aes256Gcm, &[], id, (&key(), &key())).unwrap();
        let mut epochs = SendingEpochs::default();
        let _ = epochs.begin(id, Origin::Refill, keys, 0);
        assert!(epochs.next(KeySuite::Aes256Gcm, Origins::Only(Origin::OutOfBand)).is_none());
        assert!(epochs.next(KeySuite::ChaCha20Poly1305, Origins::Any).is_none());
        assert!(epochs.next(KeySuite::Aes256Gcm, Origins::Any).is_some());
    }
}
