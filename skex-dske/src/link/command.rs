//! How a command travels on a link, and its outcome: in a block of two one-time keys and no pad.

use alloc::vec::Vec;

use skex_core::machine::DiscardReason;
use skex_wire::EncodeError;
use skex_wire::dske::{BlockPosition, Command, CommandBody, Found, Outcome, OutcomeStatus, Tagged};

use super::share::AnswerKey;
use super::{Link, Slot};
use crate::key::{Origin, Origins, encoded};
use crate::onetime::MessageTagKey;
use crate::psrd::{AllocateError, Block, Half, Outgoing, Pad};

/// A command as it was sent: repeated to the letter until its outcome is there.
pub(crate) struct SentCommand {
    /// The inner message.
    pub(crate) inner: Vec<u8>,
    /// For its outcome.
    pub(crate) answer_key: AnswerKey,
    /// What it waits for: the checkpoint of its lease.
    pub(crate) after: u64,
    /// Of the table that its keys are from.
    pub(crate) origin: Origin,
}

impl<P: Pad> Link<P> {
    /// The message of a command, in a new block. Without room nothing is spent.
    pub(crate) fn send_command(&mut self, body: CommandBody<'_>) -> Result<SentCommand, AllocateError> {
        let (block, after) = self.outgoing.allocate(0, Origins::Any)?;
        let Block { place, answer_key, tag_key, .. } = block;
        let table = self.outgoing.get(place.table);
        let origin = table.map_or(Origin::Refill, Half::origin);
        let position = BlockPosition::new(place.table, place.index, table.map_or(0, Outgoing::floor));
        let prefix = self.sending();
        let key = MessageTagKey::from_pad(tag_key.expose()).ok();
        let inner = Command::new(position, body).ok().zip(key).and_then(|(command, key)| {
            encoded(command.encoded_len(), |out| {
                command.encode_untagged(out)?;
                let tag = key.tag(&[&prefix, out.written()]);
                out.bytes(tag.as_bytes())
            })
        });
        let Some(inner) = inner else {
            self.outgoing.settle(place);
            return Err(AllocateError::Message);
        };
        Ok(SentCommand { inner, answer_key: AnswerKey::one_time(place, answer_key), after, origin })
    }

    /// Verifies a command. Its block is used then; the key is for its outcome.
    pub(crate) fn open_command(
        &mut self,
        message: &Tagged<'_, Command<'_>>,
    ) -> Result<AnswerKey, DiscardReason> {
        let Command { table, index, floor, .. } = message.message;
        let position = BlockPosition::new(table, index, floor);
        let Block { place, answer_key, .. } =
            self.open_tagged(&position, 0, message.untagged, &message.tag)?;
        Ok(AnswerKey::one_time(place, answer_key))
    }

    /// The one outcome of the command of this key.
    pub(crate) fn outcome(
        &self,
        key: AnswerKey,
        status: OutcomeStatus,
        found: Option<Found<'_>>,
    ) -> Option<Vec<u8>> {
        let Slot { block, .. } = key.slot();
        let outcome = Outcome::new(block.table, block.index, status, found).ok()?;
        let prefix = self.sending();
        encoded(outcome.encoded_len(), |out| {
            outcome.encode_untagged(out)?;
            let tag = key.tag(&prefix, out.written());
            out.bytes(tag.ok_or(EncodeError::BufferTooSmall)?.as_bytes())
        })
    }

    /// Whether this is the outcome of a command that was sent; it is settled then.
    #[must_use]
    pub(crate) fn take_outcome(&mut self, sent: &SentCommand, outcome: &Tagged<'_, Outcome<'_>>) -> bool {
        let block = sent.answer_key.slot().block;
        let is_its = (outcome.message.table, outcome.message.index) == (block.table, block.index)
            && sent.answer_key.verifies(&self.receiving(), outcome.untagged, &outcome.tag);
        if is_its {
            self.outgoing.settle(block);
        }
        is_its
    }

    /// The command will not be sent again.
    pub(crate) fn settle_command(&mut self, sent: &SentCommand) {
        self.outgoing.settle(sent.answer_key.slot().block);
    }
}
