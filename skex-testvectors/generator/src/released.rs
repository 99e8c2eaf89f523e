//! skex-testvectors/released/VERSION: what the machines of a released version stored. Every later version restores it.

use core::time::Duration;

use serde_json::{Value, json};
use skex_core::machine::{Instant, Machine as _, Output, PeerHandle};
use skex_core::rotation::{Rotation, RotationConfig, RotationEvent};

use crate::file::hex;
use crate::{dske_transcripts, unmediated};

/// Names and texts of the files.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    vec![
        ("unmediated", unmediated::records::file().1),
        ("dske", dske_transcripts::released()),
        ("rotation", rotations()),
    ]
}

/// Nothing of what is stored is random.
struct Zeros;

impl rand_core::TryRng for Zeros {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Zeros {}

const MACHINE: [u8; 8] = *b"skexlink";

/// An end of a link whose consumer does all that it is told, with the last two records after each step.
struct Link {
    rotation: Rotation,
    slots: [String; 2],
    stored: Vec<Value>,
}

fn rotations() -> String {
    let peer = PeerHandle::new(0);
    let config = RotationConfig::new(MACHINE, peer).grace(Duration::ZERO);
    let rotation = Rotation::new(config, Instant::ZERO, &mut Zeros);
    let mut link = Link { rotation, slots: Default::default(), stored: Vec::new() };
    link.settle("new");
    for generation in 1..=3 {
        link.rotation.ready(Instant::ZERO, generation).expect("room");
        link.settle(&format!("generation {generation} is installed"));
        link.rotation.peer_seen(Instant::ZERO, generation);
        link.settle(&format!("the peer uses generation {generation}"));
    }
    serde_json::to_string_pretty(&link.stored).expect("serializable") + "\n"
}

impl Link {
    fn settle(&mut self, name: &str) {
        loop {
            match self.rotation.poll_output() {
                Output::Persist(checkpoint) => {
                    self.slots.swap(0, 1);
                    self.slots[0] = hex(checkpoint.record().as_ref());
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).expect("it is stored");
                    self.rotation.handle_persisted(receipt).expect("its own receipt");
                }
                Output::Event(RotationEvent::Install(generation)) => {
                    self.rotation.installed(Instant::ZERO, generation).expect("it was ordered");
                }
                Output::Event(RotationEvent::SwitchTransmit(generation)) => {
                    self.rotation.switched(Instant::ZERO, generation).expect("it was ordered");
                }
                Output::Event(RotationEvent::Retire(generation)) => {
                    self.rotation.retired(Instant::ZERO, generation).expect("it was ordered");
                }
                Output::Event(_) | Output::Transmit(_) => {}
                Output::Wait(_) => break,
            }
        }
        let status = self.rotation.status().encode();
        self.stored.push(
            json!({ "name": name, "machine": hex(&MACHINE), "slots": self.slots, "status": hex(&status) }),
        );
    }
}
