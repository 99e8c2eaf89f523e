//! The contract itself: one loop drives any machine, by type or as an object.

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng as _;
use skex_core::machine::{
    Barrier, Destination, Disposition, Instant, Machine, Outbox, Output, PathId, Receipt, ReceiptError,
    Transmit, TransmitClass,
};

/// Echoes every byte string in a sealed record; the smallest machine there is.
#[derive(Debug)]
struct Echo {
    barrier: Barrier,
    outbox: Outbox<Transmit<[u8; 1]>, 1>,
    last: Option<u8>,
}

impl Machine for Echo {
    type Record = [u8; 1];
    type Payload = [u8; 1];
    type Event = core::convert::Infallible;
    type Error = ReceiptError;

    fn handle_message(
        &mut self,
        _: Instant,
        _: &mut dyn rand_core::CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, ReceiptError> {
        let first = message.first().copied().unwrap_or(0);
        let answer = Transmit::new(Destination::Path(from), TransmitClass::Reply, [first]);
        self.outbox.push(self.barrier.after(), answer).unwrap();
        self.last = Some(first);
        Ok(Disposition::Accepted)
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut dyn rand_core::CryptoRng) -> Result<(), ReceiptError> {
        Ok(())
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), ReceiptError> {
        self.barrier.acknowledge(receipt)
    }

    fn poll_output(&mut self) -> Output<[u8; 1], [u8; 1], Self::Event> {
        if let Some(transmit) = self.outbox.pop(&self.barrier) {
            return Output::Transmit(transmit);
        }
        match self.last.take() {
            Some(last) => Output::Persist(self.barrier.issue(|| [last]).unwrap()),
            None => Output::Wait(None),
        }
    }
}

/// The embedder's loop, for any machine, sized or not.
fn drive<M: Machine + ?Sized>(machine: &mut M, disk: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    loop {
        match machine.poll_output() {
            Output::Persist(checkpoint) => {
                let store = |record: &M::Record| {
                    disk.extend(record.as_ref());
                    Ok::<_, core::convert::Infallible>(())
                };
                let Ok(receipt) = checkpoint.commit_with(store);
                machine.handle_persisted(receipt).unwrap();
            }
            Output::Transmit(transmit) => sent.push(transmit.payload.as_ref().to_vec()),
            Output::Wait(_) => return sent,
            _ => {}
        }
    }
}

type Object =
    dyn Machine<Record = [u8; 1], Payload = [u8; 1], Event = core::convert::Infallible, Error = ReceiptError>;

fn echo(rng: &mut ChaCha20Rng) -> Echo {
    Echo { barrier: Barrier::new(rng), outbox: Outbox::new(), last: None }
}

#[test]
fn one_loop_drives_a_machine_a_reference_a_box_and_an_object() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut disk = Vec::new();
    let mut by_type = echo(&mut rng);
    by_type.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"t").map(drop).unwrap();
    assert_eq!(drive(&mut by_type, &mut disk), [b"t"]);

    let mut objects: Vec<Box<Object>> = vec![Box::new(by_type), Box::new(echo(&mut rng))];
    for object in &mut objects {
        object.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"o").map(drop).unwrap();
        assert_eq!(drive(object.as_mut(), &mut disk), [b"o"]);
        // A box and a reference are machines themselves, for drivers that own or borrow what they drive.
        object.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"b").map(drop).unwrap();
        assert_eq!(drive::<Box<Object>>(object, &mut disk), [b"b"]);
        object.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"r").map(drop).unwrap();
        assert_eq!(drive(&mut object.as_mut(), &mut disk), [b"r"]);
    }
    assert_eq!(disk, b"tobrobr");
}

#[test]
fn a_dropped_checkpoint_leaves_the_machine_silent() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut machine = echo(&mut rng);
    machine.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"x").map(drop).unwrap();
    let Output::Persist(checkpoint) = machine.poll_output() else { panic!("it has to store first") };
    drop(checkpoint);
    assert!(matches!(machine.poll_output(), Output::Wait(None)));
}

#[test]
fn a_store_that_fails_gives_no_receipt() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut machine = echo(&mut rng);
    machine.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"x").map(drop).unwrap();
    let Output::Persist(checkpoint) = machine.poll_output() else { panic!("it has to store first") };
    assert!(checkpoint.commit_with(|_| Err("full")).is_err());
    assert!(matches!(machine.poll_output(), Output::Wait(None)));
}

#[test]
fn a_record_that_is_stored_where_it_lies_gives_one_receipt_or_none() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut machine = echo(&mut rng);
    machine.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"x").map(drop).unwrap();
    let mut output = machine.poll_output();
    let mut stored = Vec::new();
    let receipt = output.commit_with(|record| {
        stored.extend_from_slice(record);
        Ok::<(), ()>(())
    });
    assert_eq!(stored, b"x");
    assert!(matches!(output, Output::Wait(None)));
    assert!(output.commit_with(|_| Ok::<(), ()>(())).is_none(), "a checkpoint is used up");
    machine.handle_persisted(receipt.unwrap().unwrap()).unwrap();
    let mut output = machine.poll_output();
    assert!(output.commit_with(|_| Ok::<(), ()>(())).is_none(), "nothing of it is to be stored");
    assert!(matches!(output, Output::Transmit(_)));

    machine.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"y").map(drop).unwrap();
    let mut output = machine.poll_output();
    assert!(matches!(output.commit_with(|_| Err("full")), Some(Err("full"))));
    assert!(matches!(output, Output::Wait(None)));
    assert!(matches!(machine.poll_output(), Output::Wait(None)), "and the machine stays silent");
}

#[test]
fn a_store_that_answers_later_opens_the_gate_then() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut machine = echo(&mut rng);
    machine.handle_message(Instant::ZERO, &mut rng, PathId::new(1), b"x").map(drop).unwrap();
    let Output::Persist(checkpoint) = machine.poll_output() else { panic!("it has to store first") };
    let (record, pending) = checkpoint.into_parts();
    assert_eq!(record, *b"x");
    assert!(matches!(machine.poll_output(), Output::Wait(None)));
    machine.handle_persisted(pending.assume_durable()).unwrap();
    assert!(matches!(machine.poll_output(), Output::Transmit(_)));
}
