//! What is accepted as a message of DSKE, outer or inner, is the one encoding of what was understood.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_wire::dske::{Inner, Outer};
use skex_wire::{EncodeError, Writer};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(outer) = Outer::decode(bytes) {
        check(bytes, |writer| write_outer(&outer, writer));
    }
    if let Ok(inner) = Inner::decode(bytes) {
        check(bytes, |writer| write_inner(&inner, writer));
    }
});

fn check(bytes: &[u8], write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) {
    let mut buffer = vec![0; bytes.len()];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).expect("an accepted message can be written");
    assert_eq!(writer.written(), bytes);
}

/// Writes the fields, then the tag as it was received.
macro_rules! tagged {
    ($tagged:expr, $writer:expr) => {{
        $tagged.message.encode_untagged($writer)?;
        assert_eq!($tagged.untagged, $writer.written());
        $writer.bytes(&$tagged.tag)
    }};
}

fn write_outer(outer: &Outer<'_>, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    match outer {
        Outer::Hello(hello) => tagged!(hello, writer),
        Outer::HelloReply(reply) => tagged!(reply, writer),
        Outer::HelloRequest(request) => tagged!(request, writer),
        Outer::Sealed(sealed) => {
            sealed.header.encode(writer)?;
            assert_eq!(sealed.aad, writer.written());
            writer.bytes(sealed.ciphertext)?;
            writer.bytes(&sealed.tag)
        }
        _ => panic!("a message that this target does not know: {outer:?}"),
    }
}

fn write_inner(inner: &Inner<'_>, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    match inner {
        Inner::LeaseRequest(message) => message.encode(writer),
        Inner::LeaseGrant(grant) => tagged!(grant, writer),
        Inner::LeaseDenied(message) => message.encode(writer),
        Inner::Share(share) => tagged!(share, writer),
        Inner::Answer(answer) => tagged!(answer, writer),
        Inner::Command(command) => tagged!(command, writer),
        Inner::Outcome(outcome) => tagged!(outcome, writer),
        Inner::Busy(message) => message.encode(writer),
        Inner::Confirm(message) => message.encode(writer),
        Inner::Fetch(message) => message.encode(writer),
        Inner::Fetched(message) => message.encode(writer),
        Inner::Refill(message) => message.encode(writer),
        Inner::Refilled(message) => message.encode(writer),
        Inner::Several(message) => message.encode(writer),
        _ => panic!("a message that this target does not know: {inner:?}"),
    }
}
