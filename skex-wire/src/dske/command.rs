//! LOOKUP, PUBLISH, WITHDRAW, AUTHORISE: what a client asks of a hub beside relaying.

use super::{BlockPosition, InnerType, MAX_NAME_LEN, Offer, TAG_LEN, Tagged};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// A command of a client to one of its hubs, in a block of its own without pad: an answer key and a message key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command<'a> {
    /// Number of the uplink table.
    pub table: u16,
    /// First element of the block.
    pub index: u32,
    /// The sender's floor.
    pub floor: u32,
    /// What is asked.
    pub body: CommandBody<'a>,
}

/// What a command asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandBody<'a> {
    /// LOOKUP: who has this name, of 1 to 64 octets?
    Lookup(&'a [u8]),
    /// PUBLISH: this is what I accept; `None`: nothing is published any more.
    Publish(Option<Offer<'a>>),
    /// WITHDRAW: the responder is not to get the share of this key of mine.
    Withdraw([u8; 16]),
    /// AUTHORISE: the client of this tag may have keys made with me, or may not.
    Authorise {
        /// Whose keys.
        client: [u8; 16],
        /// Whether they are to come.
        allowed: bool,
    },
}

impl CommandBody<'_> {
    /// The type of the message.
    #[must_use]
    pub const fn inner_type(&self) -> InnerType {
        match self {
            Self::Lookup(_) => InnerType::LOOKUP,
            Self::Publish(_) => InnerType::PUBLISH,
            Self::Withdraw(_) => InnerType::WITHDRAW,
            Self::Authorise { .. } => InnerType::AUTHORISE,
        }
    }

    const fn encoded_len(&self) -> usize {
        match self {
            Self::Lookup(name) => name.len(),
            Self::Publish(None) => 0,
            Self::Publish(Some(offer)) => offer.encoded_len(),
            Self::Withdraw(_) => 16,
            Self::Authorise { .. } => 17,
        }
    }
}

impl<'a> Command<'a> {
    /// Octets before the body.
    const HEAD_LEN: usize = 11;

    /// A checked command in the block at `position`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] for a name of no or more than 64 octets, [`DecodeErrorKind::BadValue`] for a position
    /// inside an epoch.
    pub const fn new(position: BlockPosition, body: CommandBody<'a>) -> Result<Self, DecodeErrorKind> {
        if position.number.is_some() {
            return Err(DecodeErrorKind::BadValue);
        }
        if let CommandBody::Lookup(name) = &body
            && (name.is_empty() || name.len() > MAX_NAME_LEN)
        {
            return Err(DecodeErrorKind::BadLength);
        }
        let BlockPosition { table, index, floor, .. } = position;
        Ok(Self { table, index, floor, body })
    }

    /// Octets of the whole message, its tag included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.body.encoded_len().saturating_add(Self::HEAD_LEN + TAG_LEN)
    }

    /// Reads a whole message of any of the four types.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one of them.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            let start = reader.clone();
            let inner_type = InnerType::new(reader.u8()?);
            let position = BlockPosition::new(reader.u16()?, reader.u32()?, reader.u32()?);
            let content = reader.clone();
            let body = match inner_type {
                InnerType::LOOKUP => {
                    CommandBody::Lookup(reader.take(reader.remaining().saturating_sub(TAG_LEN))?)
                }
                InnerType::PUBLISH if reader.remaining() == TAG_LEN => CommandBody::Publish(None),
                InnerType::PUBLISH => CommandBody::Publish(Some(Offer::read(reader)?)),
                InnerType::WITHDRAW => CommandBody::Withdraw(reader.array()?),
                InnerType::AUTHORISE => {
                    let allowed = match reader.u8()? {
                        0 => false,
                        1 => true,
                        _ => return Err(content.error(DecodeErrorKind::BadValue)),
                    };
                    CommandBody::Authorise { client: reader.array()?, allowed }
                }
                _ => return Err(start.error(DecodeErrorKind::UnknownType)),
            };
            Self::new(position, body).map_err(|kind| content.error(kind))
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(self.body.inner_type().value())?;
        writer.u16(self.table)?;
        writer.u32(self.index)?;
        writer.u32(self.floor)?;
        match &self.body {
            CommandBody::Lookup(name) => writer.bytes(name),
            CommandBody::Publish(None) => Ok(()),
            CommandBody::Publish(Some(offer)) => offer.encode(writer),
            CommandBody::Withdraw(key_id) => writer.bytes(key_id),
            CommandBody::Authorise { client, allowed } => {
                writer.u8(u8::from(*allowed))?;
                writer.bytes(client)
            }
        }
    }
}
