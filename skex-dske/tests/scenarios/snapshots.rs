//! Old backups put back: no pad byte is used again, whatever was swallowed meanwhile.

use core::time::Duration;

use skex_dske::{KeyRequest, KeySuite};
use skex_sim::{Snapshot, Verdict, for_each_seed};

use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};
use crate::{request_under, seeds};

/// A backup of a node: its records, and its tables as they were.
pub struct Backup {
    records: Snapshot,
    tables: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// The backup holds them as well.
    Restored,
    /// They are on a device of their own, where what was erased stays erased.
    Kept,
}

/// What the adversary lets nobody hear between the backup and its return.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Swallowed {
    Nothing,
    /// All that the restored node says.
    Everything,
    /// All that carries a share; leases are granted and used.
    Shares,
}

const SWALLOWED: [Swallowed; 3] = [Swallowed::Nothing, Swallowed::Everything, Swallowed::Shares];

/// Longer than any sealed message without a share.
const SHARE: usize = 130;

fn tables_of(cast: &Cast, client: bool, number: usize) -> Vec<&crate::world::SharedPad> {
    if client {
        cast.client_tables[number].iter().flat_map(|(up, down)| [up, down]).collect()
    } else {
        cast.hub_uplinks[number].iter().chain(&cast.hub_downlinks[number]).collect()
    }
}

pub fn back_up(cast: &Cast, client: bool, number: usize) -> Backup {
    let node = if client { cast.clients[number] } else { cast.hubs[number] };
    let tables = tables_of(cast, client, number).into_iter().map(|table| table.octets()).collect();
    Backup { records: cast.world.disk(node).snapshot(), tables }
}

pub fn put_back(cast: &mut Cast, client: bool, number: usize, backup: &Backup, tables: Tables) {
    let node = if client { cast.clients[number] } else { cast.hubs[number] };
    if tables == Tables::Restored {
        for (table, octets) in tables_of(cast, client, number).into_iter().zip(&backup.tables) {
            table.set_octets(octets);
        }
    }
    cast.world.disk_mut(node).roll_back(&backup.records);
    cast.world.restart(node);
}

/// Keys both ways between the two clients, as far as the net lets them.
fn some_keys(cast: &mut Cast, count: usize) {
    for i in 0..count {
        // Most of them one-time: those spend the tables, and move the marks.
        let suite = if i % 3 == 2 { KeySuite::ALL[1 + i / 3 % 2] } else { KeySuite::OneTime };
        let mut request = request_under(suite, 2);
        request.lifetime = 10;
        let _ = cast.try_request(0, 1, request);
        let _ = cast.try_request(1, 0, request);
        cast.world.run_for(Duration::from_secs(2), 1_000_000);
    }
}

fn new_keys_agree(cast: &mut Cast) {
    let there = cast.request(0, 1, KeyRequest::new(2));
    let back = cast.request(1, 0, KeyRequest::new(2));
    cast.settle(60);
    cast.assert_agreed(0, 1, there);
    cast.assert_agreed(1, 0, back);
}

/// The scenario: some keys, a backup, more keys, the backup put back, and keys once more.
fn restored(seed: u64, who: &[(bool, usize)], tables: Tables, swallowed: Swallowed) -> Cast {
    let mut setup = Setup::new(3);
    // A lease of such a table is used up by five keys, so that backups come to lie in all stages of one.
    setup.table_elements = 2048;
    let mut cast = cast(seed, &setup);
    some_keys(&mut cast, 1 + seed as usize % 7);
    let backups: Vec<Backup> = who.iter().map(|&(client, number)| back_up(&cast, client, number)).collect();
    if swallowed != Swallowed::Nothing {
        // Whatever those say from now on is seen by the adversary alone.
        let mute: Vec<_> = who.iter().map(|&(c, i)| if c { cast.clients[i] } else { cast.hubs[i] }).collect();
        cast.world.net_mut().intercept(move |sent| match sent.node {
            Some(node)
                if mute.contains(&node)
                    && (swallowed == Swallowed::Everything || sent.bytes.len() > SHARE) =>
            {
                Verdict::Drop
            }
            _ => Verdict::Pass,
        });
    }
    some_keys(&mut cast, 8);
    cast.world.net_mut().stop_intercepting();
    for (&(client, number), backup) in who.iter().zip(&backups) {
        put_back(&mut cast, client, number, backup, tables);
    }
    cast
}

#[test]
fn scenario_44_a_client_restored_from_an_old_backup_uses_nothing_twice() {
    for_each_seed(0..seeds(8), |seed| {
        for tables in [Tables::Restored, Tables::Kept] {
            for swallowed in SWALLOWED {
                for client in [0, 1] {
                    let mut cast = restored(seed, &[(true, client)], tables, swallowed);
                    new_keys_agree(&mut cast);
                    Oracle::acquit(&cast);
                }
            }
        }
    });
}

#[test]
fn scenario_44_a_hub_restored_from_an_old_backup_uses_nothing_twice() {
    for_each_seed(0..seeds(8), |seed| {
        for tables in [Tables::Restored, Tables::Kept] {
            for swallowed in SWALLOWED {
                let mut cast = restored(seed, &[(false, 1)], tables, swallowed);
                new_keys_agree(&mut cast);
                Oracle::acquit(&cast);
            }
        }
    });
}

#[test]
fn both_clients_restored_at_once_use_nothing_twice() {
    for_each_seed(0..seeds(8), |seed| {
        for swallowed in SWALLOWED {
            let mut cast = restored(seed, &[(true, 0), (true, 1)], Tables::Restored, swallowed);
            new_keys_agree(&mut cast);
            Oracle::acquit(&cast);
        }
    });
}

#[test]
fn all_hubs_restored_at_once_use_nothing_twice() {
    for_each_seed(0..seeds(8), |seed| {
        for swallowed in SWALLOWED {
            let who = [(false, 0), (false, 1), (false, 2)];
            let mut cast = restored(seed, &who, Tables::Restored, swallowed);
            new_keys_agree(&mut cast);
            Oracle::acquit(&cast);
        }
    });
}

/// The records are those of now, the tables those of before: erasures that a device had not made for good.
#[test]
fn tables_that_come_back_without_their_records_are_not_used_again() {
    for_each_seed(0..seeds(8), |seed| {
        let mut setup = Setup::new(3);
        setup.table_elements = 2048;
        let mut cast = cast(seed, &setup);
        let everybody = [(true, 0), (true, 1), (false, 0), (false, 1), (false, 2)];
        let backups = everybody.map(|(client, number)| back_up(&cast, client, number));
        some_keys(&mut cast, 1 + seed as usize % 10);
        for ((client, number), backup) in everybody.into_iter().zip(&backups) {
            let now = back_up(&cast, client, number).records;
            let backup = Backup { records: now, tables: backup.tables.clone() };
            put_back(&mut cast, client, number, &backup, Tables::Restored);
        }
        new_keys_agree(&mut cast);
        Oracle::acquit(&cast);
    });
}

/// What no protocol of two ends can cover, and the specification says so. It also shows that the oracle can convict.
#[test]
fn both_ends_of_a_link_rolled_back_together_is_what_the_oracle_convicts() {
    let who = [(true, 0), (true, 1), (false, 0), (false, 1), (false, 2)];
    let mut cast = restored(1, &who, Tables::Restored, Swallowed::Nothing);
    some_keys(&mut cast, 1);
    let charges = Oracle::charges(&cast);
    assert!(charges.iter().any(|charge| charge.contains("served a message")), "{charges:#?}");

    // The same, with the tables on a device of their own: what is erased cannot be used again.
    let mut cast = restored(1, &who, Tables::Kept, Swallowed::Nothing);
    some_keys(&mut cast, 3);
    Oracle::acquit(&cast);
}

#[test]
fn backups_put_back_again_and_again() {
    for_each_seed(0..seeds(6), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        some_keys(&mut cast, 1);
        let client = back_up(&cast, true, 0);
        for _ in 0..4 {
            some_keys(&mut cast, 1);
            put_back(&mut cast, true, 0, &client, Tables::Restored);
        }
        let hub = back_up(&cast, false, 2);
        for _ in 0..4 {
            some_keys(&mut cast, 1);
            put_back(&mut cast, false, 2, &hub, Tables::Restored);
        }
        new_keys_agree(&mut cast);
        Oracle::acquit(&cast);
    });
}
