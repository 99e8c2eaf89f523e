//! The report, for people.

use super::LoadReport;
use super::ledger::Keys;
use super::measure::Quantiles;
use super::{memory, peers, udp};

pub(super) fn show(report: &LoadReport) {
    let LoadReport { clients, hubs, shards, threshold, loss_per_mille, processors, .. } = report;
    let of_shards = if *shards == 1 { String::new() } else { format!(" of {shards} shards") };
    let has_hubs = report.memory.is_some() || report.udp.is_some() || report.comparison.is_some();
    if has_hubs {
        println!(
            "{clients} clients enrolled at {hubs} hubs{of_shards}, threshold {threshold}, {processors} processors"
        );
    }
    if let Some(memory) = &report.memory {
        println!("\nIn memory, one thread, virtual time (a datagram takes 20 to 30 ms)");
        for (name, phase) in phases(*loss_per_mille, [&memory.steady, &memory.loss, &memory.storm]) {
            in_memory(&name, phase);
        }
        keys(&memory.keys);
    }
    if let Some(floor) = &report.datagram {
        println!(
            "\nA datagram over loopback costs {:.0} ns to send and {:.0} ns to receive: {:.0} relays a second of a core if \
             a hub did nothing else",
            floor.send_nanos, floor.receive_nanos, floor.relays_a_core_second
        );
    }
    if let Some(provisioning) = &report.provisioning {
        println!(
            "A table costs {:.1} us of CPU a KiB to make, carry and take in, files and both ends",
            provisioning.nanos_a_kibioctet / 1e3
        );
    }
    if let Some(udp) = &report.udp {
        println!("\nOver loopback UDP, durable, a process each hub");
        println!(
            "  memory of a hub's process: {:.0} octets a client enrolled, {:.0} at work, {:.1} MB at most",
            udp.octets_a_client_enrolled,
            udp.octets_a_client_at_work,
            udp.hub_resident_peak as f64 / 1e6
        );
        println!(
            "  idle          a client costs a hub {:.0} ns of CPU a second: it asks for what waits every {:.1} s",
            udp.idle.hub_nanos_a_client_second, udp.idle.fetch_seconds
        );
        over_udp("one by one", &udp.alone);
        for (name, phase) in phases(*loss_per_mille, [&udp.full, &udp.loss, &udp.storm]) {
            over_udp(&name, phase);
        }
        keys(&udp.keys);
    }
    if let Some(udp) = &report.comparison {
        let peer = report.dske_python;
        println!(
            "\nBeside dske-python ({peer} keys a second): 3 of 5 over loopback UDP, durable, all parties"
        );
        over_udp("one by one", &udp.alone);
        over_udp("at once", &udp.full);
        println!(
            "  {:.0} x its keys a second by the clock, {:.0} x with the processor to itself",
            udp.full.keys as f64 / udp.full.seconds / peer,
            udp.full.keys_a_cpu_second * report.processors as f64 / peer
        );
        keys(&udp.keys);
    }
    if let Some(peers) = &report.peers {
        println!(
            "\nTwo tables of {} unmediated peers over loopback UDP, durable, one thread for both",
            peers.peers
        );
        let phases =
            [("first", &peers.first), ("again", &peers.again), ("after power", &peers.after_restart)];
        phases.iter().for_each(|(name, phase)| of_peers(name, phase));
        println!(
            "  both had started again {:.1} s after the power went; of {} keys, one of each session, {} are equal at both ends, {} differ",
            peers.restart_seconds,
            peers.keys.equal + peers.keys.unequal,
            peers.keys.equal,
            peers.keys.unequal
        );
    }
}

fn of_peers(name: &str, phase: &peers::Phase) {
    println!(
        "  {name:12} {:6} handshakes, {:.0} a second, {:.1} us of CPU each (both ends, stores included); in {}; {:.1} datagrams, \
         {:.0} octets, {:.3} syncs",
        phase.handshakes,
        phase.handshakes as f64 / phase.seconds,
        phase.cpu_micros_a_handshake,
        milliseconds(phase.latency_micros, 1e3),
        phase.datagrams_a_handshake,
        phase.octets_a_handshake,
        phase.syncs_a_handshake
    );
}

fn phases<P>(loss: u16, [full, lossy, storm]: [P; 3]) -> [(String, P); 3] {
    let percent = f64::from(loss) / 10.0;
    [("at once".to_owned(), full), (format!("{percent} % loss"), lossy), ("and a storm".to_owned(), storm)]
}

fn in_memory(name: &str, phase: &memory::Phase) {
    println!(
        "  {name:12} {:6} keys: a relay costs a hub {:.2} us{}; key in {}; {:.0} messages a sync",
        phase.keys,
        phase.hub_nanos_a_relay / 1e3,
        phase.best_nanos_a_relay.map_or_else(String::new, |best| format!(" (best slice {:.2})", best / 1e3)),
        milliseconds(phase.latency_millis, 1.0),
        phase.messages_a_sync,
    );
}

fn over_udp(name: &str, phase: &udp::Phase) {
    println!(
        "  {name:12} {:6} keys, {:.0} a second, {:.0} a second of CPU; a relay costs a hub {:.2} us ({:.0} a second of a \
         core); {:.0} under way, the last after {:.1} s; key in {}",
        phase.keys,
        phase.keys as f64 / phase.seconds,
        phase.keys_a_cpu_second,
        phase.hub_nanos_a_relay / 1e3,
        phase.relays_a_core_second,
        phase.under_way,
        phase.seconds_to_last,
        milliseconds(phase.latency_micros, 1e3),
    );
    println!(
        "  {:12} a key: {:.1} datagrams, {:.0} octets, {:.3} syncs at hubs, {:.3} at clients; {:.0} messages a sync; \
         processors: {:.0} % idle, {:.0} % interrupts",
        "",
        phase.datagrams_a_key,
        phase.octets_a_key,
        phase.hub_syncs_a_key,
        phase.client_syncs_a_key,
        phase.messages_a_sync,
        phase.unaccounted.idle * 100.0,
        phase.unaccounted.interrupts * 100.0
    );
}

fn milliseconds(quantiles: Quantiles, unit: f64) -> String {
    let millis = |number: u64| number as f64 / unit;
    format!("{:.1} ms (p50), {:.1} ms (p99)", millis(quantiles.p50), millis(quantiles.p99))
}

fn keys(keys: &Keys) {
    println!(
        "  of {} keys asked for, {} are equal at both ends, {} differ, {} failed in time, {} were forgotten by a client that \
         lost power, {} are lost",
        keys.asked, keys.equal, keys.unequal, keys.failed, keys.forgotten, keys.lost
    );
}
