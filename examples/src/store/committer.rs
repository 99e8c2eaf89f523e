//! Group commit: a store on a thread of its own, which makes many checkpoints durable by one sync.
//!
//! While one batch is on its way to the medium, the driver goes on: each machine gathers its further changes into its next
//! checkpoint (`skex_core::machine`, law 8), and what other machines want stored waits for the next batch. So a sync costs a
//! driver no time, and its price is divided among all that happened during the one before. Where that was much, and the medium is
//! quick, the next batch waits for a moment, and still more shares a sync.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use skex_core::machine::{Checkpoint, Receipt};

use super::Store;

/// Checkpoints on their way to a store, each of a machine that the driver calls `W`.
pub(crate) struct Committer<R, W = ()> {
    /// `None` once the thread is to end.
    batches: Option<Sender<Vec<R>>>,
    results: Receiver<Result<()>>,
    /// Readable when there is a result.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    /// What the next batch will hold, and in how many octets.
    waiting: Waiting<R, W>,
    octets: usize,
    /// In how many octets the last batch did, and when one may begin if it, or the last, is of much.
    last: usize,
    paced: Option<Instant>,
    /// Whose checkpoints the batch holds that the store has now.
    under_way: Vec<(W, skex_core::machine::PendingReceipt)>,
    batches_stored: u64,
}

/// Octets of a batch that is of many changes. One of fewer after one of fewer begins at once: who makes one key after the other
/// waits for nothing.
const MUCH: usize = 2048;

/// How long after the beginning of a batch the next begins at the earliest, if one of them is of much. A key that needs leases first
/// waits for ten batches one after the other: three times as long, and a hub that is busy makes it wait for longer than a tenth of a second.
const PACE: Duration = Duration::from_millis(5);

type Waiting<R, W> = Vec<(W, R, skex_core::machine::PendingReceipt)>;

impl<R: AsRef<[u8]> + Send + 'static, W> Committer<R, W> {
    pub(crate) fn new(store: impl Store<R> + 'static) -> Result<Self> {
        let (batches, orders) = channel::<Vec<R>>();
        let (answers, results) = channel();
        let (wake, mut bell) = UnixStream::pair().context("cannot make a pair of sockets")?;
        wake.set_nonblocking(true).context("cannot set a socket up")?;
        bell.set_nonblocking(true).context("cannot set a socket up")?;
        let mut store = store;
        let work = move || {
            for batch in orders {
                let stored = store.store(&batch);
                drop(batch);
                let failed = stored.is_err();
                // A full bell is rung already.
                if answers.send(stored).is_err() || failed {
                    let _ = bell.write(&[0]);
                    return;
                }
                let _ = bell.write(&[0]);
            }
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work);
        let thread = Some(thread.context("cannot start the thread of the store")?);
        let batches = Some(batches);
        Ok(Self {
            batches,
            results,
            wake,
            thread,
            waiting: Vec::new(),
            octets: 0,
            last: 0,
            paced: None,
            under_way: Vec::new(),
            batches_stored: 0,
        })
    }

    /// Takes a checkpoint of the machine `whose`; it goes to the store with the next [`start`](Self::start).
    pub(crate) fn add(&mut self, whose: W, checkpoint: Checkpoint<R>) {
        let (record, pending) = checkpoint.into_parts();
        self.octets = self.octets.saturating_add(record.as_ref().len());
        self.waiting.push((whose, record, pending));
    }

    /// Hands what waits over to the store, if it is time, and unless that is still at work.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.patience(now).is_some_and(|patience| patience.is_zero()) {
            self.begin(now);
        }
    }

    /// How long what waits can wait before [`start`](Self::start). `None`: nothing does that could be started.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.under_way.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let paced = self.paced.filter(|_| self.octets.max(self.last) > MUCH);
        Some(paced.map_or(Duration::ZERO, |paced| paced.saturating_duration_since(now)))
    }

    fn begin(&mut self, now: Instant) {
        if !self.under_way.is_empty() {
            return;
        }
        (self.last, self.octets, self.paced) = (self.octets, 0, now.checked_add(PACE));
        let mut batch = Vec::with_capacity(self.waiting.len());
        for (whose, record, pending) in self.waiting.drain(..) {
            batch.push(record);
            self.under_way.push((whose, pending));
        }
        // A thread that has ended says why when its result is asked for.
        let _ = self.batches.as_ref().map(|batches| batches.send(batch));
    }

    /// Whether something is not durable yet.
    pub(crate) const fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || !self.waiting.is_empty()
    }

    /// The receipts of a batch that has become durable since the last call: none if there is none.
    pub(crate) fn finished(&mut self) -> Result<Vec<(W, Receipt)>> {
        let mut rung = [0; 64];
        let _ = self.wake.read(&mut rung);
        match self.results.try_recv() {
            Ok(result) => self.receipts(result),
            Err(std::sync::mpsc::TryRecvError::Empty) => Ok(Vec::new()),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => Err(anyhow!("the store has ended")),
        }
    }

    /// Waits for the batch that the store has, or what waits for it, however much that is; the receipts.
    pub(crate) fn wait(&mut self) -> Result<Vec<(W, Receipt)>> {
        if !self.waiting.is_empty() {
            self.begin(Instant::now());
        }
        if self.under_way.is_empty() {
            return Ok(Vec::new());
        }
        let result = self.results.recv().context("the store has ended")?;
        self.receipts(result)
    }

    /// After a failure nobody knows what is durable: there are no receipts, now or ever.
    fn receipts(&mut self, stored: Result<()>) -> Result<Vec<(W, Receipt)>> {
        stored?;
        self.batches_stored = self.batches_stored.saturating_add(1);
        // The one place where this program says so. The store returned only when the whole batch was durable.
        Ok(self.under_way.drain(..).map(|(whose, pending)| (whose, pending.assume_durable())).collect())
    }

    /// Batches that have become durable since the start: each cost one sync, or a few.
    pub(crate) const fn batches(&self) -> u64 {
        self.batches_stored
    }
}

impl<R, W> AsFd for Committer<R, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl<R, W> Drop for Committer<R, W> {
    /// Whoever opens the store next must not find it at work.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of the tests' own")]
mod tests {
    use core::time::Duration;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use rand_core::{TryCryptoRng, TryRng};
    use skex_core::machine::Barrier;

    use super::*;

    /// Says what it was given, and returns when it is told how that went.
    struct Held(Sender<Vec<Vec<u8>>>, Receiver<Result<()>>);

    impl Store<Vec<u8>> for Held {
        fn store(&mut self, records: &[Vec<u8>]) -> Result<()> {
            self.0.send(records.to_vec()).unwrap();
            self.1.recv().unwrap()
        }
    }

    struct Counting(u64);

    impl TryRng for Counting {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 += 1;
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    impl TryCryptoRng for Counting {}

    struct World {
        committer: Committer<Vec<u8>, usize>,
        given: Receiver<Vec<Vec<u8>>>,
        verdicts: Sender<Result<()>>,
        machines: Vec<Barrier>,
        now: Instant,
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    impl World {
        fn new(machines: usize) -> Self {
            let (giving, given) = channel();
            let (verdicts, verdict) = channel();
            let mut rng = Counting(0);
            let machines = (0..machines).map(|_| Barrier::new(&mut rng)).collect();
            Self {
                committer: Committer::new(Held(giving, verdict)).unwrap(),
                given,
                verdicts,
                machines,
                now: Instant::now(),
            }
        }

        fn change(&mut self, machine: usize, record: &[u8]) {
            let checkpoint = self.machines[machine].issue(|| record.to_vec()).unwrap();
            self.committer.add(machine, checkpoint);
            self.committer.start(self.now);
        }

        /// What the store is given now.
        fn given(&self) -> Vec<Vec<u8>> {
            self.given.recv_timeout(PATIENCE).unwrap()
        }

        fn finish(&mut self) -> Vec<usize> {
            self.verdicts.send(Ok(())).unwrap();
            let receipts = self.committer.wait().unwrap();
            self.committer.start(self.now);
            receipts
                .into_iter()
                .map(|(machine, receipt)| {
                    self.machines[machine].acknowledge(receipt).unwrap();
                    machine
                })
                .collect()
        }
    }

    #[test]
    fn what_comes_during_a_sync_is_one_batch_and_nothing_is_durable_before_the_store_says_so() {
        let mut world = World::new(5);
        world.change(0, &[10]);
        assert_eq!(world.given(), [[10]]);
        (1..5).for_each(|machine| world.change(machine, &[10 + u8::try_from(machine).unwrap()]));
        assert!(world.committer.finished().unwrap().is_empty());
        assert!(world.machines.iter().all(Barrier::is_pending));
        assert_eq!(world.finish(), [0]);
        assert_eq!(world.given(), [[11], [12], [13], [14]]);
        assert!(world.machines[1..].iter().all(Barrier::is_pending));
        assert_eq!(world.finish(), [1, 2, 3, 4]);
        assert_eq!((world.committer.batches(), world.committer.is_busy()), (2, false));
    }

    #[test]
    fn a_failed_sync_gives_no_receipt_for_any_of_its_batch_and_none_ever_after() {
        let mut world = World::new(3);
        world.change(0, &[1]);
        world.given();
        world.change(1, &[2]);
        world.verdicts.send(Err(anyhow!("the disk is full"))).unwrap();
        assert_eq!(world.committer.wait().unwrap_err().to_string(), "the disk is full");
        world.change(2, &[3]);
        assert!(world.committer.wait().is_err() && world.committer.finished().is_err());
        assert!(world.machines.iter().all(Barrier::is_pending));
    }
    #[test]
    fn much_waits_for_more_and_little_for_nothing() {
        let (little, much) = (&[1; MUCH][..], &[2; MUCH + 1][..]);
        let mut world = World::new(6);
        world.change(0, little);
        assert_eq!(world.given(), [little]);
        world.change(1, little);
        assert_eq!(world.committer.patience(world.now), None, "the store is at work");
        assert_eq!(world.finish(), [0]);
        assert_eq!(world.given(), [little]);
        assert_eq!(world.finish(), [1]);
        // Much waits until it is time, and for what comes until then.
        world.now += PACE / 2;
        world.change(2, much);
        assert_eq!(world.committer.patience(world.now), Some(PACE / 2));
        world.now += PACE / 2;
        world.change(3, little);
        assert_eq!(world.given(), [much, little]);
        assert_eq!(world.finish(), [2, 3]);
        // And so does little after much: the first change of many.
        world.change(4, little);
        assert_eq!(world.committer.patience(world.now), Some(PACE));
        // But nobody who has to know.
        world.verdicts.send(Ok(())).unwrap();
        assert_eq!(world.committer.wait().unwrap().len(), 1);
        assert_eq!(world.given(), [little]);
        world.change(5, little);
        assert_eq!(world.given(), [little]);
        world.verdicts.send(Ok(())).unwrap();
    }
}
