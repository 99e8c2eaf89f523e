//! What no device can do without that is a peer and a client of hubs, whatever its rules. Of a client it is the least: the messages
//! about keys and leases, no command and no refill; shares that are taken together, and no decoding among liars; no suite but the
//! one-time pads. Built for its size, so that one sees how much of a client is rules and state.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use skex_core::{Expander, Label, NONCE_LEN, ReplayWindow, SecretVec, Suite, extract};
use skex_dske::{
    Coordinate, MemoryPad, MessageTagKey, MessageVerificationKey, Pad, SecretTagKey, Splitter, Tag, combine,
};
use skex_firmware::parts::use_parts_of_peer;
use skex_firmware::{fail, heap, print, succeed};
use skex_wire::dske::{
    Answer, Busy, Confirm, Direction, DskeSuiteId, Fetch, Fetched, Hello, HelloRequest, InnerType,
    LeaseDenied, LeaseGrant, LeaseRequest, OuterType, Sealed, Several, ShareMessage, Terms, context_len,
    encode_context, tag_prefix,
};
use skex_wire::{DecodeError, EncodeError, Writer};

const KEY_LEN: u32 = 32;
/// A share: what a key and its secret tags take.
const SHARE_LEN: usize = 112;
const DATAGRAM: usize = 512;

#[entry]
fn main() -> ! {
    heap::start();
    let Some(suite) = Suite::all().next() else { fail() };
    let used = use_parts_of_peer(suite) && uses_parts_of_client(suite).is_some();
    print("parts_of_client", usize::from(used));
    if !used {
        fail();
    }
    succeed()
}

fn uses_parts_of_client(suite: Suite) -> Option<()> {
    let mut datagram = black_box([0; DATAGRAM]);
    let mut written = [0; DATAGRAM];
    let hello = outer(suite, &mut datagram, &mut Writer::new(&mut written));
    black_box((hello.is_some(), &written));
    let message = inner(&datagram, &mut Writer::new(&mut written));
    black_box((message.is_ok(), &written));
    shares(&mut written)
}

/// An envelope: its key, what may come outside of it, opening and sealing.
fn outer(suite: Suite, datagram: &mut [u8], out: &mut Writer<'_>) -> Option<()> {
    let expander = Expander::new(suite, &extract(suite, b"", &[&black_box([7; 32])]));
    let key = expander.secret(Label::DSKE_ENVELOPE_TO_HUB, &[b"part"]);
    let tag = suite.mac_key(key.expose());
    match OuterType::new(datagram.first()? & 0x0f) {
        OuterType::HELLO_REPLY => {
            let reply = Hello::decode(datagram).ok()?;
            tag.verify(&[reply.untagged], &reply.tag).ok()?;
            reply.message.encode_untagged(out).ok()?;
        }
        OuterType::HELLO_REQUEST => {
            let request = HelloRequest::decode(datagram).ok()?;
            tag.verify(&[request.untagged], &request.tag).ok()?;
        }
        _ => {
            let sealed = Sealed::decode(datagram).ok()?;
            let mut window = ReplayWindow::<2>::new();
            window.check(sealed.header.seq.into()).ok()?;
            let mut plain = [0; DATAGRAM];
            let plain = plain.get_mut(..sealed.ciphertext.len())?;
            plain.copy_from_slice(sealed.ciphertext);
            suite.open(&key, &sealed.header.nonce(), sealed.aad, plain, &sealed.tag).ok()?;
            window.update(sealed.header.seq.into()).ok()?;
            sealed.header.encode(out).ok()?;
            out.bytes(&suite.seal(&key, &[0; NONCE_LEN], b"", plain).ok()?).ok()?;
        }
    }
    Some(())
}

enum Refused {
    Reading,
    Writing,
}

impl From<DecodeError> for Refused {
    fn from(_: DecodeError) -> Self {
        Self::Reading
    }
}

impl From<EncodeError> for Refused {
    fn from(_: EncodeError) -> Self {
        Self::Writing
    }
}

/// Nobody's message; but whatever message it were, it would be written again, where a client writes such.
fn inner(octets: &[u8], out: &mut Writer<'_>) -> Result<(), Refused> {
    match InnerType::new(octets.first().copied().unwrap_or_default()) {
        InnerType::LEASE_REQUEST => LeaseRequest::decode(octets)?.encode(out)?,
        InnerType::LEASE_GRANT => LeaseGrant::decode(octets)?.message.encode_untagged(out)?,
        InnerType::LEASE_DENIED => LeaseDenied::decode(octets)?.encode(out)?,
        InnerType::DELIVERY => ShareMessage::decode(octets)?.message.encode_untagged(out)?,
        InnerType::ANSWER => Answer::decode(octets)?.message.encode_untagged(out)?,
        InnerType::BUSY => Busy::decode(octets)?.encode(out)?,
        InnerType::CONFIRM => Confirm::decode(octets)?.encode(out)?,
        InnerType::FETCHED => {
            black_box(Fetched::decode(octets)?);
            Fetch::new().encode(out)?;
        }
        InnerType::SEVERAL => {
            for message in Several::decode(octets)?.messages() {
                black_box(message);
            }
        }
        _ => return Err(Refused::Reading),
    }
    Ok(())
}

/// Blocks of a table, shares of a secret, the secret of shares, and all one-time tags.
fn shares(out: &mut [u8]) -> Option<()> {
    let mut table = MemoryPad::new(SecretVec::from_fn(256, |octets| octets.fill(black_box(7))));
    let mut block = [0; SHARE_LEN];
    table.read(2, &mut block).ok()?;
    let direct = block;
    table.erase(2, (SHARE_LEN / 16) as u32).ok()?;

    let coordinates = [Coordinate::new(1)?, Coordinate::new(2)?, Coordinate::new(3)?];
    let secret = black_box([7; SHARE_LEN]);
    let [mut second, mut third] = [[0; SHARE_LEN]; 2];
    let splitter = Splitter::new(2, &coordinates).ok()?;
    splitter.split(&secret, &[&direct], &mut [&mut second, &mut third]).ok()?;
    let mut combined = [0; SHARE_LEN];
    combine(2, &[(coordinates[1], &second), (coordinates[2], &third)], &mut combined).ok()?;

    let terms = Terms::new(DskeSuiteId::ITS, 2, KEY_LEN, 60, &[1, 2, 3], &[0]).ok()?;
    let mut context = [0; context_len(3)];
    let ids = [[1; 16], [2; 16], [3; 16]];
    encode_context(&mut Writer::new(&mut context), &[1; 16], &[2; 16], &[3; 16], &terms, &ids).ok()?;
    let key = SecretTagKey::from_secret(combined.first_chunk()?);
    let tag = key.tag(combined.get(48..)?, &context);
    let prefix = tag_prefix(Direction::UPLINK, 1, &[1; 16]);
    let sent = MessageTagKey::from_pad(block.first_chunk()?).ok()?.tag(&[&prefix, &*out, tag.as_bytes()]);
    let taken = MessageVerificationKey::from_pad(direct.first_chunk()?).ok()?;
    taken.verify(&[&prefix, &*out, tag.as_bytes()], &Tag::from_bytes(*sent.as_bytes())).then_some(())
}
