//! What rotations of each released version stored (skex-testvectors/released) must restore, for ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use chacha20::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use skex_core::machine::{Instant, PeerHandle};
use skex_core::rotation::{Rotation, RotationConfig};

fn octets(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rotations_are_restored_from_the_records_of_every_released_version() {
    let released =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../skex-testvectors/released")).unwrap();
    let mut restored = 0;
    for version in released {
        let path = version.unwrap().path().join("rotation.json");
        let entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for entry in &entries {
            let machine = octets(&entry["machine"]).try_into().unwrap();
            let config = RotationConfig::new(machine, PeerHandle::new(0));
            let slots = [0, 1].map(|slot| octets(&entry["slots"][slot]));
            let slots = slots.each_ref().map(Vec::as_slice);
            let rotation =
                Rotation::restore(config, slots, Instant::ZERO, &mut ChaCha20Rng::from_seed([1; 32]))
                    .unwrap();
            let place = format!("{}: {}", path.display(), entry["name"]);
            // That nobody has heard of since the start is no part of a record.
            let status = rotation.map(|rotation| rotation.status().encode().to_vec());
            assert_eq!(status.unwrap_or_default(), octets(&entry["status"]), "{place}");
            restored += 1;
        }
    }
    assert!(restored >= 7, "only {restored}");
}
