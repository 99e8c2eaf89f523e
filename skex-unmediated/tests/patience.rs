//! Two ends of which one is patient with a slow network, and the other is not.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::time::Duration;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::{Instant, Output, PathId, PeerHandle};
use skex_unmediated::{LaneId, PeerConfig, PeerTable, Side, TableConfig};

const HANDLE: PeerHandle = PeerHandle::new(1);
const LANE: LaneId = LaneId::new(HANDLE, 0);

/// Stores at once; what was sent.
fn drain(table: &mut PeerTable) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    loop {
        match table.poll_output() {
            Output::Persist(checkpoint) => {
                let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                table.handle_persisted(receipt).unwrap();
            }
            Output::Transmit(transmit) => sent.push(transmit.payload.as_bytes().to_vec()),
            Output::Event(_) => {}
            Output::Wait(_) => return sent,
        }
    }
}

/// An end that answers, and would send a first message of its own but once, 100 ms long: what it thinks of its own attempts is no measure of how long the
/// network takes to another that is patient.
#[test]
fn a_responder_that_is_impatient_itself_gives_a_session_to_one_that_is_not() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut now = Instant::from_millis(1);
    let patient = PeerConfig::new(Side::A, b"alice", b"bob").peer_handle(HANDLE);
    let impatient = PeerConfig::new(Side::B, b"bob", b"alice").peer_handle(HANDLE);
    let impatient = impatient.retransmit(Duration::from_millis(100), 1);
    let mut tables = [patient, impatient].map(|own| {
        let mut table = PeerTable::new(TableConfig::new(1), now, &mut rng);
        table.enrol(&own, &[0x5e; 32], now, &mut rng).unwrap();
        table
    });
    let mut epochs = 0;
    for _ in 0..5 {
        tables[0].establish(LANE, now, &mut rng).unwrap();
        for _ in 0..20 {
            // 150 ms each way.
            let sent = tables.each_mut().map(drain);
            now = now.saturating_add(Duration::from_millis(150));
            for (from, to) in [(0, 1), (1, 0)] {
                for message in &sent[from] {
                    let _ = tables[to].handle_message(now, &mut rng, PathId::new(7), message).unwrap();
                }
                tables[to].handle_timeout(now, &mut rng).unwrap();
            }
        }
        epochs = tables[0].lane(LANE).unwrap().epoch();
        if tables.iter().all(|table| table.lane(LANE).unwrap().session().is_some()) {
            return;
        }
    }
    assert_eq!(epochs, 0, "so many handshakes, and every session of them was void");
}
