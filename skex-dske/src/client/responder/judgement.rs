//! How the hubs of an accepted key behaved: judged once the last of them had its time (docs/draft-skex-dske.md,
//! "Decoding").

use alloc::vec::Vec;

use skex_core::SecretVec;
use skex_core::machine::Instant;

use super::Story;
use crate::client::event::{Conduct, HubReport};
use crate::key::SecretBlock;
use crate::list::ToList as _;
use crate::share::{Coordinate, Decoded, decode};

/// Every share of the accepted key, to be judged together once the last of them had its time.
pub(super) struct Judgement {
    pub(super) story: Story,
    /// Its context.
    pub(super) encoded: Vec<u8>,
    pub(super) shares: Vec<(Coordinate, SecretVec)>,
    /// Hubs that told another story than those that made the key.
    pub(super) strangers: Vec<Coordinate>,
    pub(super) settle_at: Instant,
}

impl Judgement {
    /// Takes down a share that came after the key was found, with the same story or another.
    pub(super) fn hear(&mut self, coordinate: Coordinate, share: SecretVec, is_same: bool) {
        let heard = self.shares.iter().map(|(x, _)| x).chain(&self.strangers).any(|&x| x == coordinate);
        if heard || !self.story.context.hubs().any(|(_, x)| x == coordinate) {
            return;
        }
        if is_same {
            self.shares.push((coordinate, share));
        } else {
            self.strangers.push(coordinate);
        }
    }

    /// How each hub behaved, from all shares together: the first of them may have looked right by another polynomial.
    pub(super) fn report(&self, limit: u64) -> (Vec<HubReport>, bool) {
        let shares: Vec<(Coordinate, &[u8])> =
            self.shares.iter().map(|(x, share)| (*x, share.expose())).list();
        let Story { context, secret_tag } = &self.story;
        let verify = |candidate: &[u8]| SecretBlock::tag_of(candidate, &self.encoded) == *secret_tag;
        let decoded =
            decode(context.threshold, &shares, work_limit(limit, &shares, Effort::Thorough), verify);
        let certain = decoded.as_ref().is_ok_and(Decoded::blame_is_certain);
        let culprits = decoded.map_or_else(|_| Vec::new(), |decoded| decoded.culprits().to_vec());
        let conduct = |x: Coordinate| {
            if culprits.contains(&x) || self.strangers.contains(&x) {
                Conduct::Lying
            } else if self.shares.iter().any(|(heard, _)| *heard == x) {
                Conduct::Good
            } else {
                Conduct::Silent
            }
        };
        let hubs = context.hubs().map(|(hub, x)| HubReport::new(hub, conduct(x)));
        let hubs: Vec<HubReport> = hubs.list();
        let blames = hubs.iter().any(|report| report.conduct == Conduct::Lying);
        (hubs, blames && certain)
    }
}

/// How long to search among subsets of shares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// With each share that comes: some milliseconds.
    Brief,
    /// Once for all shares: seconds, where keys are long and many hubs lie.
    Thorough,
}

/// The limit of subsets for shares of this length: long ones are tried less often, so that no sender of long keys, and no liar
/// among the hubs, can make this end work for long.
pub(super) fn work_limit(subsets: u64, shares: &[(Coordinate, &[u8])], effort: Effort) -> u64 {
    let octets: u64 = match effort {
        Effort::Brief => 1 << 20,
        Effort::Thorough => 1 << 28,
    };
    let len = shares.first().map_or(1, |(_, share)| share.len().max(1));
    subsets.min(octets.checked_div(len as u64).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use skex_core::KeyId;

    use super::*;
    use crate::id::{ClientTag, HubId};
    use crate::key::{Agreement, Context, ContextHub, Origin};
    use crate::onetime::Tag;

    /// Where all shares together do not give the key again, nobody is blamed, and that is no proof that nobody lied.
    #[test]
    fn shares_that_cannot_be_decoded_prove_nothing() {
        let agreement = Agreement {
            key_id: KeyId::new([1; 16]),
            initiator: ClientTag::new([2; 16]),
            responder: ClientTag::new([3; 16]),
            suite: crate::suite::KeySuite::OneTime,
            threshold: 2,
            key_len: 16,
            lifetime: 600,
        };
        let coordinates: Vec<Coordinate> = (1..=3).filter_map(Coordinate::new).collect();
        let hubs = coordinates.iter().map(|&coordinate| ContextHub {
            id: HubId::new([coordinate.get(); 16]),
            coordinate,
            origin: Origin::OutOfBand,
        });
        let context = Context::new(agreement, hubs.collect());
        let shares = coordinates.iter().map(|x| (*x, SecretVec::copied_from(&[x.get().pow(2); 96])));
        let judgement = Judgement {
            encoded: context.encode().unwrap(),
            story: Story { context, secret_tag: Tag::from_bytes([0; 16]) },
            shares: shares.collect(),
            strangers: Vec::new(),
            settle_at: Instant::from_millis(0),
        };
        let (hubs, certain) = judgement.report(1000);
        assert!(!certain);
        assert!(hubs.iter().all(|report| report.conduct == Conduct::Good));
    }
}
