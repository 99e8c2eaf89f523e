//! One case a run: `constant-time-check CASE`, under `valgrind --error-exitcode=9`. Without a case it lists them.
//!
//! Secrets are marked undefined, so memcheck reports every branch and every address that depends on one. What leaves as
//! public (a tag, a verdict) is marked defined from there on. The cases that begin with `leak` must be reported: without
//! them a check that is silently off would look clean.

mod memory;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use memory::{public, secret};
use skex_core::record::{self, RECORD_OVERHEAD, RecordHeader, RecordKind};
use skex_core::{Expander, KeyBytes, Label, SecretBytes, SecretVec, Suite, extract};
use skex_dske::{Coordinate, MessageTagKey, MessageVerificationKey, SecretTagKey, Splitter, combine};

const CASES: [(&str, fn()); 12] = [
    ("mac", mac),
    ("schedule", schedule),
    ("compare", compare),
    ("seal", seal),
    ("open", open),
    ("split", split),
    ("combine", take_together),
    ("message-tag", message_tag),
    ("secret-tag", secret_tag),
    ("record", stored),
    ("leak-by-branch", leak_by_branch),
    ("leak-by-address", leak_by_address),
];

fn main() {
    let Some(wanted) = std::env::args().nth(1) else {
        return CASES.iter().for_each(|(name, _)| println!("{name}"));
    };
    assert!(memory::is_watched(), "nothing is checked without valgrind");
    let (_, case) = CASES.iter().find(|(name, _)| *name == wanted).expect("no such case");
    case();
}

/// Octets that memcheck follows.
fn secrets<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    ChaCha20Rng::seed_from_u64(7).fill_bytes(&mut octets);
    secret(&mut octets);
    octets
}

fn mac() {
    for suite in Suite::all() {
        let message = secrets::<100>();
        let mut tag = suite.mac_key(&secrets::<32>()).tag(&[&message, b"public"]);
        public(&mut tag);
        let mut whole = suite.mac_of(&secrets::<200>(), &[&message]);
        public(whole.expose_mut());
        println!("{tag:02x?} {:02x?}", whole.expose());
    }
}

fn schedule() {
    for suite in Suite::all() {
        let prk = extract(suite, &secrets::<32>(), &[&secrets::<32>()]);
        let keys = Expander::new(suite, &prk);
        let mut out = keys.secret::<100>(Label::EXPORT_RAW, &[b"context"]);
        public(out.expose_mut());
        println!("{:02x?}", out.expose());
    }
}

/// The verdict of a comparison is public: equal, and different in any one octet. Of every type that holds a secret.
fn compare() {
    let suite = Suite::all().next().unwrap();
    let key = suite.mac_key(&secrets::<32>());
    let right = key.tag(&[b"message"]);
    let same = |mut equal: bool, expected: bool| {
        public(&mut equal);
        assert_eq!(equal, expected);
    };
    for at in 0..=16 {
        let mut tag = right;
        tag.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= 1);
        let is_right = at == 16;
        same(key.verify(&[b"message"], &tag).is_ok(), is_right);
        same(suite.mac(&secrets::<32>()).chain(b"message").verify_truncated16(&tag).is_ok(), is_right);
        same(SecretBytes::copied_from(&tag) == SecretBytes::copied_from(&right), is_right);
        same(SecretVec::copied_from(&tag) == SecretVec::copied_from(&right), is_right);
        same(suite.mac_of(&right, &[b"message"]) == suite.mac_of(&tag, &[b"message"]), is_right);
        for key in [KeyBytes::copied_from, KeyBytes::on_heap] {
            same(key(&tag).unwrap() == key(&right).unwrap(), is_right);
        }
    }
}

fn seal() {
    for suite in Suite::all() {
        let key = SecretBytes::copied_from(&secrets());
        let mut message = secrets::<100>();
        let mut tag = suite.seal(&key, &[1; 12], b"header", &mut message).unwrap();
        public(&mut tag);
        public(&mut message);
        println!("{tag:02x?} {message:02x?}");
    }
}

/// With a message that is authentic: that it is so is public.
fn open() {
    for suite in Suite::all() {
        let key = SecretBytes::copied_from(&secrets());
        let mut message = secrets::<100>();
        let mut tag = suite.seal(&key, &[1; 12], b"header", &mut message).unwrap();
        public(&mut tag);
        public(&mut message);
        let mut opened = suite.open(&key, &[1; 12], b"header", &mut message, &tag).is_ok();
        public(&mut opened);
        assert!(opened);
        public(&mut message);
        println!("{message:02x?}");
    }
}

fn places(count: u8) -> Vec<Coordinate> {
    (1..=count).map(|x| Coordinate::new(7 * x).unwrap()).collect()
}

fn split() {
    for (k, n) in [(2, 3), (3, 5), (7, 13)] {
        let splitter = Splitter::new(k, &places(n)).unwrap();
        let direct = vec![secrets::<112>(); splitter.direct()];
        let direct: Vec<&[u8]> = direct.iter().map(|share| share.as_slice()).collect();
        let mut following = vec![[0; 112]; splitter.following()];
        let mut shares: Vec<&mut [u8]> = following.iter_mut().map(|share| share.as_mut_slice()).collect();
        splitter.split(&secrets::<112>(), &direct, &mut shares).unwrap();
        shares.iter_mut().for_each(|share| public(*share));
        println!("{:02x?}", following.last());
    }
}

fn take_together() {
    for (k, length) in [(2, 15), (3, 112), (7, 1000)] {
        let shares = vec![secrets::<1000>(); k];
        let shares: Vec<_> =
            places(k as u8).into_iter().zip(shares.iter().map(|share| &share[..length])).collect();
        let mut out = vec![0; length];
        combine(k as u8, &shares, &mut out).unwrap();
        public(out.as_mut_slice());
        println!("{out:02x?}");
    }
}

/// Whether a key was erased, all zeros, is public: one octet of each is not, and is not secret here.
fn pad<const N: usize>() -> [u8; N] {
    let mut pad = secrets::<N>();
    pad[0] = 1;
    pad
}

fn message_tag() {
    let message = secrets::<100>();
    let mut tag = MessageTagKey::from_pad(&pad()).unwrap().tag(&[b"prefix", &message]);
    let key = MessageVerificationKey::from_pad(&pad()).unwrap();
    let mut equal = key.verify(&[b"prefix", &message], &tag);
    public(&mut equal);
    assert!(equal);
    public(&mut tag);
    println!("{tag:?}");
}

fn secret_tag() {
    let payload = secrets::<80>();
    let mut tag = SecretTagKey::from_secret(&secrets()).tag(&payload, b"context");
    let mut equal = SecretTagKey::from_secret(&secrets()).verify(&payload, b"context", &tag);
    public(&mut equal);
    assert!(equal);
    public(&mut tag);
    println!("{tag:?}");
}

/// Whether a record is intact is public; its body is not.
fn stored() {
    let header = RecordHeader::new(RecordKind::UNMEDIATED_PEER, [1; 8], 1);
    let mut octets = [0; 200 + RECORD_OVERHEAD];
    record::encode(header, &secrets::<200>(), &mut octets).unwrap();
    let (sequence, body) = record::decode_own(&octets, RecordKind::UNMEDIATED_PEER, [1; 8]).unwrap();
    let mut body = body.to_vec();
    public(body.as_mut_slice());
    println!("{sequence} {body:02x?}");
}

/// As a careless comparison does it.
fn leak_by_branch() {
    let (ours, theirs) = (secrets::<16>(), [0; 16]);
    let equal = ours.iter().zip(&theirs).all(|(a, b)| core::hint::black_box(a) == b);
    println!("{equal}");
}

/// As a field multiplication by tables does it.
fn leak_by_address() {
    let table: [u8; 256] = core::array::from_fn(|i| i as u8 ^ 0x1b);
    let mut product = core::hint::black_box(&table)[usize::from(secrets::<1>()[0])];
    public(&mut product);
    println!("{product}");
}
