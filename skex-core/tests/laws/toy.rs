//! A counter service that must never hand out the same number twice, and its clients: small, and made of the parts of
//! `skex_core::machine` as a real machine is. Each [`Fault`] leaves one rule out, so that the checks can be seen to fail.

use core::cell::Cell;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{
    Barrier, Clock, Destination, DiscardCounters, DiscardReason, Disposition, Instant, Machine, Outbox,
    Output, PathId, PeerHandle, Queue, Receipt, ReceiptError, Timers, Transmit, TransmitClass,
};
use skex_sim::{Boot, Disk};

/// The rule that a machine leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    SendsBeforeDurable,
    TellsBeforeDurable,
    TakesAnyReceipt,
    SecondCheckpoint,
    AnswersJunkAtLength,
    CallsJunkAccepted,
    SpendsOnJunk,
    TimesOutEarly,
    FollowsTheClockBack,
    LeavesTheTimerDue,
    KeepsTalking,
    HidesWhatIsReady,
    ForgetsTheBound,
    SkipsTheFirstWrite,
    SendsBeforeTheFirstWrite,
    HasASecretSource,
    HalfRefuses,
}

/// What a machine refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("more is asked for than a client waits for at once")]
    TooMany,
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

/// What a client tells its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Number(u64),
    GaveUp,
}

pub(crate) const SERVICE: PeerHandle = PeerHandle::new(0);
const MOST_ASKED: usize = 4;
const RETRANSMISSION: Duration = Duration::from_millis(700);
const MOST_TRIES: u32 = 8;

type Record = [u8; 16];

/// What both toys are made of.
#[derive(Debug)]
struct Base {
    fault: Fault,
    clock: Clock,
    barrier: Barrier,
    // For the fault that needs one.
    second: Barrier,
    mark: u64,
    is_dirty: bool,
    counters: DiscardCounters,
}

impl Base {
    fn restore(fault: Fault, boot: Boot<'_>) -> Self {
        let mark = read(boot.disk);
        Self {
            fault,
            clock: Clock::new(boot.now),
            barrier: Barrier::new(boot.rng),
            second: Barrier::new(boot.rng),
            mark,
            is_dirty: fault != Fault::SkipsTheFirstWrite,
            counters: DiscardCounters::new(),
        }
    }

    /// What waits for nothing but the first write after the restart.
    fn free(&self) -> u64 {
        if self.fault == Fault::SendsBeforeTheFirstWrite || self.barrier.has_reached(1) {
            Barrier::OPEN
        } else {
            1
        }
    }

    fn gate(&self, fault: Fault) -> u64 {
        if self.fault == fault { Barrier::OPEN } else { self.barrier.after() }
    }

    fn observe(&mut self, now: Instant) -> Instant {
        if self.fault == Fault::FollowsTheClockBack { now } else { self.clock.observe(now) }
    }

    fn checkpoint<P, E>(&mut self) -> Option<Output<Record, P, E>> {
        if !self.is_dirty {
            return None;
        }
        let mark = self.mark;
        let mut issued = self.barrier.issue(|| record(mark));
        if issued.is_none() && self.fault == Fault::SecondCheckpoint {
            issued = self.second.issue(|| record(mark));
        }
        issued.map(|checkpoint| {
            self.is_dirty = false;
            Output::Persist(checkpoint)
        })
    }

    fn acknowledge(&mut self, receipt: Receipt) -> Result<(), Refused> {
        match self.barrier.acknowledge(receipt) {
            Err(_) if self.fault == Fault::TakesAnyReceipt => Ok(()),
            answer => Ok(answer?),
        }
    }
}

/// Hands out numbers.
#[derive(Debug)]
pub(crate) struct Service {
    base: Base,
    outbox: Outbox<Transmit<Vec<u8>>, 8>,
    boundless: Vec<Transmit<Vec<u8>>>,
}

impl Service {
    pub(crate) fn restore(fault: Fault, boot: Boot<'_>) -> Self {
        Self { base: Base::restore(fault, boot), outbox: Outbox::new(), boundless: Vec::new() }
    }

    fn take_number(&mut self) -> u64 {
        let number = self.base.mark;
        self.base.mark += 1;
        self.base.is_dirty = true;
        number
    }

    fn discard_junk(&mut self, from: PathId, message: &[u8]) -> Disposition {
        match self.base.fault {
            Fault::AnswersJunkAtLength => {
                let answer = vec![0; message.len() + 1];
                let transmit = Transmit::new(Destination::Path(from), TransmitClass::Reply, answer);
                let _ = self.outbox.push(Barrier::OPEN, transmit);
            }
            Fault::CallsJunkAccepted => return Disposition::Accepted,
            Fault::SpendsOnJunk => self.base.mark += 1,
            _ => {}
        }
        self.base.counters.discard(DiscardReason::Malformed)
    }
}

impl Machine for Service {
    type Record = Record;
    type Payload = Vec<u8>;
    type Event = Event;
    type Error = Refused;

    fn handle_message(
        &mut self,
        now: Instant,
        _: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, Refused> {
        let Some(&[nonce]) = opened(b'q', message).as_deref() else {
            return Ok(self.discard_junk(from, message));
        };
        self.base.observe(now);
        if self.outbox.free() == 0 && self.base.fault != Fault::ForgetsTheBound {
            return Ok(self.base.counters.discard(DiscardReason::Busy));
        }
        let answer = sealed(b'a', &[nonce, self.take_number()]);
        let transmit = Transmit::new(Destination::Path(from), TransmitClass::Reply, answer);
        if self.base.fault == Fault::ForgetsTheBound {
            self.boundless.push(transmit);
        } else {
            self.outbox.push(self.base.gate(Fault::SendsBeforeDurable), transmit).expect("there was room");
        }
        Ok(Disposition::Accepted)
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut dyn CryptoRng) -> Result<(), Refused> {
        Ok(())
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Refused> {
        self.base.acknowledge(receipt)
    }

    fn poll_output(&mut self) -> Output<Record, Vec<u8>, Event> {
        if self.base.fault == Fault::KeepsTalking {
            return Output::Event(Event::GaveUp);
        }
        if let Some(transmit) = self.outbox.pop(&self.base.barrier) {
            return Output::Transmit(transmit);
        }
        if let Some(checkpoint) = self.base.checkpoint() {
            return checkpoint;
        }
        if !self.base.barrier.is_pending()
            && let Some(transmit) = self.boundless.pop()
        {
            return Output::Transmit(transmit);
        }
        Output::Wait(None)
    }
}

#[derive(Debug)]
struct Asked {
    nonce: u64,
    tries: u32,
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    Retransmit,
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

#[derive(Debug)]
enum Out {
    Send(Transmit<Vec<u8>>),
    Tell(Event),
}

/// Asks for numbers, and tells each only once it has durably counted it.
#[derive(Debug)]
pub(crate) struct Client {
    base: Base,
    timers: Timers<1>,
    asked: Vec<Asked>,
    queue: Queue<Out>,
    has_hidden: Cell<bool>,
}

thread_local! {
    static SECRET_SOURCE: Cell<u64> = const { Cell::new(0) };
}

impl Client {
    pub(crate) fn restore(fault: Fault, boot: Boot<'_>) -> Self {
        Self {
            base: Base::restore(fault, boot),
            timers: Timers::new(),
            asked: Vec::new(),
            queue: Queue::new(16),
            has_hidden: Cell::new(true),
        }
    }

    /// Asks for `count` numbers: all of them or, if those are too many, none.
    pub(crate) fn ask(&mut self, now: Instant, rng: &mut dyn CryptoRng, count: usize) -> Result<(), Refused> {
        let now = self.base.observe(now);
        let fits = self.asked.len() + count <= MOST_ASKED && count <= self.queue.free();
        if !fits && self.base.fault == Fault::HalfRefuses {
            self.asked.clear();
        }
        if !fits {
            return Err(Refused::TooMany);
        }
        for _ in 0..count {
            let mut nonce = rng.next_u64();
            if self.base.fault == Fault::HasASecretSource {
                nonce = SECRET_SOURCE.replace(SECRET_SOURCE.get() + 1);
            }
            self.asked.push(Asked { nonce, tries: 0 });
            self.send(nonce, TransmitClass::Request);
        }
        if self.timers.deadline(Timer::Retransmit).is_none() {
            self.timers.set(Timer::Retransmit, now.saturating_add(RETRANSMISSION));
        }
        Ok(())
    }

    fn send(&mut self, nonce: u64, class: TransmitClass) {
        let transmit = Transmit::new(Destination::Peer(SERVICE), class, sealed(b'q', &[nonce]));
        // With the queue full it is lost, as on the way; the timer sends it again.
        let _ = self.queue.push(self.base.free(), Out::Send(transmit));
    }
}

impl Machine for Client {
    type Record = Record;
    type Payload = Vec<u8>;
    type Event = Event;
    type Error = Refused;

    fn handle_message(
        &mut self,
        now: Instant,
        _: &mut dyn CryptoRng,
        _: PathId,
        message: &[u8],
    ) -> Result<Disposition, Refused> {
        let Some(&[nonce, number]) = opened(b'a', message).as_deref() else {
            return Ok(self.base.counters.discard(DiscardReason::Malformed));
        };
        self.base.observe(now);
        let Some(position) = self.asked.iter().position(|asked| asked.nonce == nonce) else {
            return Ok(self.base.counters.discard(DiscardReason::Duplicate));
        };
        let gate = self.base.gate(Fault::TellsBeforeDurable);
        if self.queue.push(gate, Out::Tell(Event::Number(number))).is_err() {
            return Ok(self.base.counters.discard(DiscardReason::Busy));
        }
        self.asked.remove(position);
        self.base.mark += 1;
        self.base.is_dirty = true;
        if self.asked.is_empty() {
            self.timers.stop(Timer::Retransmit);
        }
        Ok(Disposition::Accepted)
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut dyn CryptoRng) -> Result<(), Refused> {
        let now = self.base.observe(now);
        let is_armed = self.timers.deadline(Timer::Retransmit).is_some();
        let is_due = self.timers.take_expired(Timer::Retransmit, now);
        if !(is_due || self.base.fault == Fault::TimesOutEarly && is_armed) {
            return Ok(());
        }
        for asked in &mut self.asked {
            asked.tries += 1;
        }
        if self.asked.iter().any(|asked| asked.tries > MOST_TRIES) {
            self.asked.retain(|asked| asked.tries <= MOST_TRIES);
            let _ = self.queue.push(self.base.free(), Out::Tell(Event::GaveUp));
        }
        let nonces: Vec<_> = self.asked.iter().map(|asked| asked.nonce).collect();
        for nonce in nonces {
            self.send(nonce, TransmitClass::Retransmission);
        }
        if !self.asked.is_empty() {
            let pause =
                if self.base.fault == Fault::LeavesTheTimerDue { Duration::ZERO } else { RETRANSMISSION };
            self.timers.set(Timer::Retransmit, now.saturating_add(pause));
        }
        Ok(())
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Refused> {
        self.base.acknowledge(receipt)
    }

    fn poll_output(&mut self) -> Output<Record, Vec<u8>, Event> {
        if let Some(checkpoint) = self.base.checkpoint() {
            return checkpoint;
        }
        // The fault waits once before each thing that it has.
        if self.base.fault == Fault::HidesWhatIsReady && self.has_hidden.replace(!self.has_hidden.get()) {
            return Output::Wait(self.timers.next());
        }
        match self.queue.pop(&self.base.barrier) {
            Some(Out::Send(transmit)) => Output::Transmit(transmit),
            Some(Out::Tell(event)) => Output::Event(event),
            None => Output::Wait(self.timers.next()),
        }
    }
}

/// The nonce and the number in an answer of the service.
pub(crate) fn answer(message: &[u8]) -> Option<(u64, u64)> {
    match opened(b'a', message)?.as_slice() {
        &[nonce, number] => Some((nonce, number)),
        _ => None,
    }
}

fn record(mark: u64) -> Record {
    let mut record = [0; 16];
    record[..8].copy_from_slice(&mark.to_be_bytes());
    record[8..].copy_from_slice(&checksum(&mark.to_be_bytes()).to_be_bytes());
    record
}

/// The highest mark in a record that is whole.
fn read(disk: &Disk) -> u64 {
    let whole = |bytes: &[u8]| {
        let mark = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        (record(mark) == bytes).then_some(mark)
    };
    disk.records().filter_map(|(_, bytes)| whole(bytes)).max().unwrap_or(0)
}

fn sealed(kind: u8, words: &[u64]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    message.extend(checksum(&message).to_be_bytes());
    message
}

fn opened(kind: u8, message: &[u8]) -> Option<Vec<u64>> {
    let (body, tag) = message.split_at_checked(message.len().checked_sub(8)?)?;
    let (first, words) = body.split_first()?;
    let whole = *first == kind && words.len() % 8 == 0 && tag == checksum(body).to_be_bytes();
    whole.then(|| words.chunks(8).map(|word| u64::from_be_bytes(word.try_into().unwrap())).collect())
}

/// Good against chance, which is all that a toy's network has.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, mix)
}
