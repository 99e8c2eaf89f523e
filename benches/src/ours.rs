//! Our own work, as it is measured.

use core::hint::black_box;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{CryptoRng, Rng};
use skex_core::Suite;
use skex_core::machine::Disposition;
use skex_dske::{Coordinate, combine, decode, split};
use skex_wire::SuiteId;

use crate::mesh::ComputedPad;
use crate::work::{Subject, Work};
use crate::{Crowd, Mesh, Pair, generator, octets};

/// A handshake of two unmediated peers, all four messages.
#[derive(Debug)]
pub struct Handshake(Pair);

impl Handshake {
    /// Of this suite.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        Self(Pair::enrolled(suite))
    }
}

impl Work for Handshake {
    fn once(&mut self) -> usize {
        self.0.handshake()
    }
}

/// One key for an application, at both ends.
#[derive(Debug)]
pub struct Export {
    suite: Suite,
    pair: Pair,
}

impl Export {
    /// Of this suite.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        Self { suite, pair: Pair::enrolled(suite) }
    }
}

impl Work for Export {
    const LIMIT: u64 = 64;

    fn prepare(&mut self) {
        self.pair = Pair::enrolled(self.suite);
        self.pair.handshake();
    }

    fn once(&mut self) -> usize {
        black_box(self.pair.export());
        0
    }
}

/// A DSKE key of all parties: envelope, encoding, ledger, records, pads, tags, sharing.
#[derive(Debug)]
pub struct DskeKey {
    threshold: u8,
    hubs: usize,
    key_len: u32,
    loss: u32,
    /// Keys that are made at once.
    at_once: usize,
    mesh: Option<Mesh>,
}

impl DskeKey {
    /// A 256-bit key, `threshold` of `hubs`.
    #[must_use]
    pub const fn new(threshold: u8, hubs: usize) -> Self {
        Self::of_length(threshold, hubs, 32)
    }

    /// A key of so many octets.
    #[must_use]
    pub const fn of_length(threshold: u8, hubs: usize, key_len: u32) -> Self {
        Self { threshold, hubs, key_len, loss: 0, at_once: 1, mesh: None }
    }

    /// So many keys at once.
    #[must_use]
    pub fn at_once(mut self, keys: usize) -> Self {
        self.at_once = keys;
        self
    }

    /// Of a hundred messages, so many are lost.
    #[must_use]
    pub fn with_loss(mut self, loss: u32) -> Self {
        self.loss = loss;
        self
    }
}

impl Work for DskeKey {
    /// A key must live its lifetime before it is forgotten, and tables are used up.
    const LIMIT: u64 = 64;

    fn prepare(&mut self) {
        let elements = (self.key_len as usize / 16 + 16) * 70 * self.at_once;
        let mesh = self.mesh.insert(Mesh::connected(self.threshold, self.hubs, elements));
        mesh.key_len = self.key_len;
        mesh.loss = self.loss;
        // Leases become long enough.
        for keys in (0..).map(|power| 1 << power).take_while(|keys| *keys <= self.at_once) {
            mesh.keys_of(&vec![0; keys], 60);
        }
    }

    fn once(&mut self) -> usize {
        let mesh = self.mesh.as_mut().unwrap();
        let before = mesh.sent;
        mesh.keys_of(&[0; 64][..self.at_once], 60);
        mesh.sent - before
    }
}

/// What hubs do for keys among so many clients, all of which make some.
#[derive(Debug)]
pub struct Relays {
    clients: usize,
    mesh: Option<Mesh<ComputedPad>>,
    /// Keys that were made with these tables.
    made: usize,
}

impl Relays {
    const HUBS: u32 = 2;

    /// Keys that are made at once.
    pub const AT_ONCE: usize = 256;

    /// Seconds for which hubs know of a key.
    const LIFETIME: u16 = 30;

    /// Each with the next one.
    #[must_use]
    pub const fn among(clients: usize) -> Self {
        Self { clients, mesh: None, made: 0 }
    }

    /// Elements of a table: half a mebibyte, so that leases are as long as they become.
    const ELEMENTS: usize = 1 << 15;

    /// Everybody is connected and has made a key; some of their lifetimes are over.
    fn ready(&mut self) -> &mut Mesh<ComputedPad> {
        // A block has 11 elements, and half of a table is kept for those who ask for less.
        if self.made >= self.clients * (Self::ELEMENTS / 24) {
            self.mesh = None;
        }
        let (clients, made) = (self.clients, &mut self.made);
        self.mesh.get_or_insert_with(|| {
            let mut mesh = Mesh::among(2, Self::HUBS as usize, Self::ELEMENTS, clients, clients);
            *made = 0;
            // Leases double from one to the next, until one serves hundreds of keys. Very many clients cannot make so many: what is
            // measured of theirs lies between two leases.
            while *made < clients * if clients > 10_000 { 5 } else { 40 } {
                Self::make(&mut mesh, made);
            }
            mesh
        })
    }

    /// Some keys of clients that lie far apart; time passes, so that each client has one on the average whose lifetime is not over.
    fn make(mesh: &mut Mesh<ComputedPad>, made: &mut usize) {
        let clients = mesh.clients();
        // Without a common divisor, so that each has its turn.
        let initiators: Vec<usize> =
            (*made..*made + Self::AT_ONCE.min(clients)).map(|key| key * 7919 % clients).collect();
        *made += initiators.len();
        mesh.keys_of(&initiators, Self::LIFETIME);
        let share = initiators.len() as f64 / clients as f64;
        mesh.wait_at_hubs(Duration::from_secs(Self::LIFETIME.into()).mul_f64(share));
    }

    /// The next keys: the processor time of one hub.
    pub fn batch(&mut self) -> Duration {
        self.ready().hub_time = Some(Duration::ZERO);
        let (mesh, made) = (self.mesh.as_mut().unwrap(), &mut self.made);
        let before = *made;
        Self::make(mesh, made);
        let spent = mesh.hub_time.take().unwrap() / Self::HUBS;
        spent.mul_f64(Self::AT_ONCE as f64 / (*made - before) as f64)
    }
}

impl Work for Relays {
    fn prepare(&mut self) {
        self.ready();
    }

    /// So many as are made at once.
    fn once(&mut self) -> usize {
        self.ready();
        if let Some(mesh) = &mut self.mesh {
            Self::make(mesh, &mut self.made);
        }
        0
    }
}

/// A first message to a table of so many peers, and the answer.
#[derive(Debug)]
pub struct FirstMessage(Crowd);

impl FirstMessage {
    /// Of so many peers. Each has sent one before: the first of all finds no handshake to replace.
    #[must_use]
    pub fn new(peers: u32) -> Self {
        let mut crowd = Crowd::enrolled(peers, false);
        (0..peers).for_each(|_| assert_eq!(crowd.first(), Disposition::Accepted));
        Self(crowd)
    }
}

impl Work for FirstMessage {
    fn once(&mut self) -> usize {
        let _ = black_box(self.0.first());
        0
    }
}

fn coordinates(count: u8) -> Vec<Coordinate> {
    (1..=count).map(|x| Coordinate::new(x).unwrap()).collect()
}

/// Sharing a secret, its generator included: ChaCha20, as a generator or as a stream cipher.
#[derive(Debug)]
pub struct Split<R = ChaCha20Rng> {
    threshold: u8,
    places: Vec<Coordinate>,
    secret: Vec<u8>,
    out: Vec<Vec<u8>>,
    rng: R,
}

impl Split {
    /// Of `length` octets.
    #[must_use]
    pub fn new(threshold: u8, shares: u8, length: usize) -> Self {
        Self::drawn_from(generator(4), threshold, shares, length)
    }
}

impl<R: Rng> Split<R> {
    /// With a generator of another kind.
    #[must_use]
    pub fn drawn_from(mut rng: R, threshold: u8, shares: u8, length: usize) -> Self {
        let secret = octets(&mut rng, length);
        let out = vec![vec![0; length]; usize::from(shares)];
        Self { threshold, places: coordinates(shares), secret, out, rng }
    }
}

impl<R: CryptoRng> Work for Split<R> {
    fn once(&mut self) -> usize {
        let mut out = self.out.iter_mut().map(Vec::as_mut_slice);
        let mut given: [&mut [u8]; 31] = core::array::from_fn(|_| out.next().unwrap_or_default());
        let given = &mut given[..self.places.len()];
        split(&mut self.rng, self.threshold, &self.places, black_box(&self.secret), given).unwrap();
        0
    }
}

/// Shares of one secret, the first ones wrong.
fn shared(threshold: u8, shares: u8, length: usize, liars: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut work = Split::new(threshold, shares, length);
    work.once();
    for share in &mut work.out[..liars] {
        let error = octets(&mut work.rng, length);
        share.iter_mut().zip(error).for_each(|(octet, error)| *octet ^= error);
    }
    (work.secret, work.out)
}

/// Taking shares together.
#[derive(Debug)]
pub struct Combine {
    threshold: u8,
    shares: Vec<Vec<u8>>,
    secret: Vec<u8>,
    out: Vec<u8>,
}

impl Combine {
    /// Of `length` octets.
    #[must_use]
    pub fn new(threshold: u8, shares: u8, length: usize) -> Self {
        let (secret, shares) = shared(threshold, shares, length, 0);
        let mut work = Self { threshold, shares, out: vec![0; length], secret };
        work.once();
        assert_eq!(work.out, work.secret);
        work
    }
}

impl Work for Combine {
    fn once(&mut self) -> usize {
        let threshold = usize::from(self.threshold);
        // The last ones: the weights of the first three are all one, and that would flatter.
        let first = self.shares.len() - threshold;
        let shares: [(Coordinate, &[u8]); 16] = core::array::from_fn(|i| {
            let share = self.shares.get(first + i).map(Vec::as_slice).unwrap_or_default();
            (Coordinate::new((first + i) as u8 + 1).unwrap(), share)
        });
        combine(self.threshold, black_box(&shares[..threshold]), &mut self.out).unwrap();
        0
    }
}

/// Decoding 112 octets, some of the first shares wrong.
#[derive(Debug)]
pub struct Decode {
    threshold: u8,
    shares: Vec<Vec<u8>>,
    secret: Vec<u8>,
}

impl Decode {
    /// With so many liars in front.
    #[must_use]
    pub fn new(threshold: u8, shares: u8, liars: usize) -> Self {
        let (secret, shares) = shared(threshold, shares, 112, liars);
        Self { threshold, shares, secret }
    }
}

impl Work for Decode {
    fn once(&mut self) -> usize {
        let shares: Vec<_> = coordinates(self.shares.len() as u8)
            .into_iter()
            .zip(self.shares.iter().map(Vec::as_slice))
            .collect();
        let decoded = decode(self.threshold, black_box(&shares), 200_000, |block| block == self.secret);
        black_box(decoded.unwrap());
        0
    }
}

/// What instruction counts are kept of.
pub const COUNTED: [&str; 12] = [
    "handshake",
    "handshake-sha3",
    "export",
    "dske-3-of-5",
    "dske-16-of-31",
    "relay",
    "split-64",
    "split-1MiB",
    "combine-64",
    "combine-1MiB",
    "decode-honest",
    "decode-liars",
];

/// One of them.
#[must_use]
pub fn by_name(name: &str) -> Option<Subject> {
    let suite = |id| Suite::from_id(id).unwrap();
    let (sha2, sha3) = (suite(SuiteId::SHA256_AES256GCM), suite(SuiteId::SHA3_256_AES256GCM));
    Some(match name {
        "handshake" => Subject::new(name, Handshake::new(sha2)),
        "relay" => Subject::new(name, Relays::among(1000)),
        "relay-50000" => Subject::new(name, Relays::among(50_000)),
        "handshake-sha3" => Subject::new(name, Handshake::new(sha3)),
        "export" => Subject::new(name, Export::new(sha2)),
        "dske-3-of-5" => Subject::new(name, DskeKey::new(3, 5)),
        "dske-16-of-31" => Subject::new(name, DskeKey::new(16, 31)),
        "split-64" => Subject::new(name, Split::new(3, 5, 64)),
        "split-1MiB" => Subject::new(name, Split::new(3, 5, 1 << 20)),
        "combine-64" => Subject::new(name, Combine::new(3, 5, 64)),
        "combine-1MiB" => Subject::new(name, Combine::new(3, 5, 1 << 20)),
        "decode-honest" => Subject::new(name, Decode::new(16, 31, 0)),
        "decode-liars" => Subject::new(name, Decode::new(16, 31, 7)),
        _ => return None,
    })
}
