//! What a device links that speaks both protocols: a peer, and a client of hubs that begins to connect. Built for its size; the
//! image `keys` runs a client to its keys.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use skex_core::machine::{Output, PathId};
use skex_dske::{Client, ClientEvent, KeyRequest};
use skex_firmware::dske::{FlashPad, HUBS, TAGS, client_config};
use skex_firmware::posing::pose_as_peer;
use skex_firmware::random::Repeatable;
use skex_firmware::{NOW, fail, heap, print, succeed};

#[entry]
fn main() -> ! {
    heap::start();
    let mut rng = Repeatable::new(3);
    let sent = pose_as_client(&mut rng);
    let restored = pose_as_peer(&mut rng);
    print("client_hellos", sent);
    if sent < HUBS || !restored {
        fail();
    }
    succeed()
}

/// Everything that a client does is linked, and the hellos are counted that it sends.
fn pose_as_client(rng: &mut Repeatable) -> usize {
    let no_records: [&[u8]; 0] = [];
    let Some(config) = client_config(0) else { fail() };
    let Ok(mut client) = Client::<FlashPad>::restore(config, no_records, NOW, rng) else { fail() };
    let request = client.request_key(NOW, rng, TAGS[1], KeyRequest::new(2));
    let mut sent = 0;
    loop {
        match client.poll_output() {
            Output::Persist(checkpoint) => {
                let receipt = checkpoint.commit_with(|record| {
                    black_box(record.as_ref());
                    Ok::<(), ()>(())
                });
                if !receipt.is_ok_and(|receipt| client.handle_persisted(receipt).is_ok()) {
                    fail();
                }
            }
            Output::Transmit(transmit) => {
                sent += 1;
                // What came back would be this: nobody's message.
                let _ =
                    black_box(client.handle_message(NOW, rng, PathId::new(0), &black_box(transmit.payload)));
            }
            Output::Event(ClientEvent::KeyEstablished(established)) => {
                let _ = client.taken(established.peer, established.key.id());
            }
            Output::Event(_) => {}
            Output::Wait(deadline) => {
                let _ = black_box((request, deadline.map(|due| client.handle_timeout(due, rng))));
                // A device's client is there as long as the device has power.
                core::mem::forget(client);
                return sent;
            }
        }
    }
}
