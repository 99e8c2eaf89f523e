//! The key schedule: from the chain key of an epoch to everything that the epoch needs.
//!
//! Specification: section "Key schedule". Every label is in `skex_core::Label`.

use skex_core::{Digest, Expander, HashSecret, Label, SecretBytes, Suite, extract};
use skex_wire::unmediated::{MIX_OFFER_LEN, MIX_REFERENCE_LEN, NONCE_LEN, PSEUDONYM_LEN, Pseudonym, TAG_LEN};

use crate::config::{BINDING_LEN, Side};

/// Octets of the key of first messages, guard tags and stale notices.
pub(crate) const MAC_KEY_LEN: usize = 32;

/// Octets of a block of fresh secret material.
pub(crate) const MIX_LEN: usize = 32;

/// The chain key of epoch 0.
pub(crate) fn first_chain_key(suite: Suite, binding: &[u8; BINDING_LEN], secret: &[u8]) -> HashSecret {
    extract(suite, binding, &[secret])
}

/// The pseudonym of `side` in the epoch of which `chain` is the prepared chain key.
pub(crate) fn pseudonym(chain: &Expander, side: Side, epoch: u64) -> Pseudonym {
    let label = match side {
        Side::A => Label::UNMEDIATED_KID_A,
        Side::B => Label::UNMEDIATED_KID_B,
    };
    Pseudonym::new(chain.public::<PSEUDONYM_LEN>(label, &[&epoch.to_be_bytes()]))
}

/// The key under which `side` sends first messages and guard tags, and receives stale notices. The first octets of the
/// three differ, so no tag of one is a tag of another.
pub(crate) fn mac_key(chain: &Expander, side: Side, epoch: u64) -> SecretBytes<MAC_KEY_LEN> {
    let label = match side {
        Side::A => Label::UNMEDIATED_M1_MAC_A,
        Side::B => Label::UNMEDIATED_M1_MAC_B,
    };
    chain.secret(label, &[&epoch.to_be_bytes()])
}

/// The tag of `parts` under a [`mac_key`].
pub(crate) fn mac(suite: Suite, key: &SecretBytes<MAC_KEY_LEN>, parts: &[&[u8]]) -> [u8; TAG_LEN] {
    suite.mac_of(key.expose(), parts).first16()
}

/// What an initiator calls a block of fresh secret material in the first message of this nonce. Only who holds the
/// block can tell, and each attempt has another.
pub(crate) fn mix_reference(
    suite: Suite,
    block: &SecretBytes<MIX_LEN>,
    epoch: u64,
    initiator: Side,
    nonce: &[u8; NONCE_LEN],
) -> [u8; MIX_REFERENCE_LEN] {
    let context: [&[u8]; 3] = [&epoch.to_be_bytes(), &[initiator.letter()], nonce];
    Expander::from_key(suite, block.expose()).public(Label::UNMEDIATED_MIX_REFERENCE, &context)
}

/// An offer that refers to nothing: nobody sees how many of its references do.
pub(crate) fn empty_mix_offer(
    chain: &Expander,
    epoch: u64,
    initiator: Side,
    nonce: &[u8; NONCE_LEN],
) -> [u8; MIX_OFFER_LEN] {
    chain.public(Label::UNMEDIATED_MIX_NONE, &[&epoch.to_be_bytes(), &[initiator.letter()], nonce])
}

/// Which handshake: the enrolment, the epoch that it ends, and who began it.
pub(crate) struct Context<'a> {
    pub(crate) binding: &'a [u8; BINDING_LEN],
    pub(crate) epoch: u64,
    pub(crate) initiator: Side,
}

/// The master secret of a handshake: from the chain key, the hash of all that its first two messages say, and a block
/// of fresh secret material if they agree on one; written over `master`.
///
/// Each transcript has its own, so what is derived from it needs no further context.
pub(crate) fn master_secret_into(
    suite: Suite,
    chain: &Expander,
    context: &Context<'_>,
    first: &Digest,
    second: &Digest,
    block: Option<&SecretBytes<MIX_LEN>>,
    master: &mut HashSecret,
) {
    let (epoch, initiator) = (context.epoch.to_be_bytes(), [context.initiator.letter()]);
    let parts: [&[u8]; 5] = [context.binding, &epoch, &initiator, first.as_bytes(), second.as_bytes()];
    let transcript = suite.labelled_digest(Label::UNMEDIATED_TRANSCRIPT, &parts);
    let transcript = [transcript.as_bytes()];
    chain.hash_secret_into(Label::UNMEDIATED_HANDSHAKE, &transcript, master);
    if let Some(block) = block {
        mix_in(suite, master, block, &transcript);
    }
}

#[inline(never)]
fn mix_in(suite: Suite, master: &mut HashSecret, block: &SecretBytes<MIX_LEN>, transcript: &[&[u8]]) {
    let mut fresh = HashSecret::zeroed(suite);
    Expander::from_key(suite, block.expose()).hash_secret_into(
        Label::UNMEDIATED_MIX_KEY,
        transcript,
        &mut fresh,
    );
    let mixed = extract(suite, master.expose(), &[fresh.expose()]);
    master.overwrite(&mixed);
}

/// What follows from a master secret.
pub(crate) struct Handshake(Expander);

impl Handshake {
    pub(crate) fn new(suite: Suite, master: &HashSecret) -> Self {
        Self(Expander::new(suite, master))
    }

    /// The tag of the second message.
    pub(crate) fn second_tag(&self) -> [u8; TAG_LEN] {
        self.0.public(Label::UNMEDIATED_M2_MAC, &[])
    }

    /// The tag of the third message with this body.
    pub(crate) fn third_tag(&self, body: &[u8]) -> [u8; TAG_LEN] {
        self.0.public(Label::UNMEDIATED_M3_MAC, &[body])
    }

    /// The tag of the fourth message with this body.
    pub(crate) fn fourth_tag(&self, body: &[u8]) -> [u8; TAG_LEN] {
        self.0.public(Label::UNMEDIATED_M4_MAC, &[body])
    }

    /// The session id.
    pub(crate) fn session_id(&self) -> [u8; 16] {
        self.0.public(Label::UNMEDIATED_SESSION_ID, &[])
    }

    /// The first link of the chain of outputs that `side` names, written over `out`.
    pub(crate) fn export_into(&self, side: Side, next: Suite, out: &mut HashSecret) {
        let label = match side {
            Side::A => Label::UNMEDIATED_EXPORT_A,
            Side::B => Label::UNMEDIATED_EXPORT_B,
        };
        self.secret_into(label, next, out);
    }

    /// The chain key of the next epoch, written over `out`.
    pub(crate) fn chain_into(&self, next: Suite, out: &mut HashSecret) {
        self.secret_into(Label::UNMEDIATED_CHAIN, next, out);
    }

    fn secret_into(&self, label: Label, next: Suite, out: &mut HashSecret) {
        out.overwrite(&HashSecret::zeroed(next));
        // Never too long: a hash.
        let _ = self.0.expand(label, &[&[next.id().value()]], out.expose_mut());
    }
}

/// The responder's nonce: under a key that lives since the start and in memory only, so that a copy of a first message
/// draws the same second message, and costs no memory.
pub(crate) fn responder_nonce(
    suite: Suite,
    boot: &SecretBytes<32>,
    epoch: u64,
    first: &Digest,
    slot: u64,
    second_head: [u8; 2],
    extension: &[u8],
) -> [u8; NONCE_LEN] {
    let context: [&[u8]; 5] =
        [&epoch.to_be_bytes(), &slot.to_be_bytes(), &second_head, first.as_bytes(), extension];
    Expander::from_key(suite, boot.expose()).public(Label::UNMEDIATED_NONCE, &context)
}

/// The cookie for a first message that came on a path.
pub(crate) fn cookie(
    suite: Suite,
    boot: &SecretBytes<32>,
    path: u64,
    first: &Digest,
    slot: u64,
) -> [u8; skex_wire::unmediated::COOKIE_LEN] {
    let context: [&[u8]; 3] = [&path.to_be_bytes(), &slot.to_be_bytes(), first.as_bytes()];
    Expander::from_key(suite, boot.expose()).public(Label::UNMEDIATED_COOKIE, &context)
}
