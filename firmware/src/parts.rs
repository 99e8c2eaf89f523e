//! What no peer can do without, whatever its rules: the key schedule, its messages, the frame of a record.

use core::hint::black_box;

use skex_core::record::{self, RecordHeader, RecordKind};
use skex_core::{Expander, Label, Suite, extract};
use skex_wire::unmediated::{MAX_MESSAGE, Message};
use skex_wire::{EncodeError, Writer};

/// Uses each of them once; whether all did what they should.
pub fn use_parts_of_peer(suite: Suite) -> bool {
    let expander = Expander::new(suite, &extract(suite, b"", &[&black_box([7; 32])]));
    let secret = expander.hash_secret(Label::UNMEDIATED_CHAIN, &[b"part"]);
    let tag = expander.public::<16>(Label::UNMEDIATED_M2_MAC, &[secret.expose()]);

    // Nobody's message; but whatever message it were, it would be written again.
    let nothing = black_box([0; MAX_MESSAGE]);
    let again = Message::decode(&nothing).map(|message| written_again(&message));

    let mut slot = [0; 128];
    let header = RecordHeader::new(RecordKind::UNMEDIATED_PEER, [1; 8], 1);
    let stored = record::encode(header, &tag, &mut slot);
    let newest = record::newest([black_box(&slot), &[]], RecordKind::UNMEDIATED_PEER, [1; 8]);
    black_box(again).is_err() && stored.is_ok() && newest.is_ok_and(|newest| newest.is_some())
}

fn written_again(message: &Message<'_>) -> Result<[u8; MAX_MESSAGE], EncodeError> {
    let mut octets = [0; MAX_MESSAGE];
    let out = &mut Writer::new(&mut octets);
    match message {
        Message::First(first) => first.encode(out)?,
        Message::Second(second) => second.encode(out)?,
        Message::Third(third) => third.encode(out)?,
        Message::LongThird(third) => third.encode(out)?,
        Message::Fourth(fourth) => fourth.encode(out)?,
        Message::Cookie(cookie) => cookie.encode(out)?,
        Message::Stale(stale) => stale.encode(out)?,
        _ => return Err(EncodeError::BufferTooSmall),
    }
    Ok(octets)
}
