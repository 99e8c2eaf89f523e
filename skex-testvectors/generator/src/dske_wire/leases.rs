//! Inner messages 1 to 3.

use serde_json::json;

use super::{FORGERIES, Tagged, malformed, plain, tagged};
use crate::file::{Group, hex};

pub(super) fn leases(group: &mut Group) {
    for (name, direction, table, mark, want, flag) in [
        ("LEASE_REQUEST", 0, 0, 4096, 512, "Normal"),
        ("LEASE_REQUEST, downlink", 1, 0x0102, 0x0304_0506, 0x0708_090a, "Normal"),
        ("LEASE_REQUEST, least", 0, 0, 0, 0, "Minimum"),
        ("LEASE_REQUEST, most", 0, u16::MAX, u32::MAX, u32::MAX, "Maximum"),
    ] {
        let mut case = group.case(name, "well formed");
        let nonce = case.derive("message.nonce", 16);
        let octets = join!([1], table.to_be_bytes(), nonce, mark.to_be_bytes(), want.to_be_bytes());
        let message = json!({ "type": "LEASE_REQUEST", "table": table, "nonce": hex(&nonce), "mark": mark, "want": want });
        plain(case, direction, &octets, message, flag);
    }
    let mut case = group.case("LEASE_DENIED", "well formed");
    let nonce = case.derive("message.nonce", 16);
    let octets = join!([3, 0, 1], nonce, [0, 0, 0x20, 0]);
    let message = json!({ "type": "LEASE_DENIED", "table": 1, "nonce": hex(&nonce), "mark": 8192 });
    plain(case, 1, &octets, message, "Normal");

    let grant = |group: &mut Group, name: &str, start: u32, end: u32, result| {
        let mut case = group.case(name, "its tag's key is the two elements at the start of the lease");
        let nonce = case.derive("message.nonce", 16);
        let octets = join!([2, 0, 0], nonce, start.to_be_bytes(), end.to_be_bytes());
        let message =
            json!({ "type": "LEASE_GRANT", "table": 0, "nonce": hex(&nonce), "start": start, "end": end });
        tagged(case, 1, &octets, message, result);
    };
    grant(group, "LEASE_GRANT", 4096, 4608, Tagged::Good("Normal"));
    grant(group, "LEASE_GRANT, least", 4096, 4098, Tagged::Good("Minimum"));
    grant(group, "LEASE_GRANT, most", 0, u32::MAX, Tagged::Good("Maximum"));
    for cause in FORGERIES {
        grant(group, &format!("LEASE_GRANT, {cause}"), 4096, 4608, Tagged::Forged(cause));
    }

    let lease = |start: u32, end: u32| {
        join!([2, 0, 0], [0x0e; 16], start.to_be_bytes(), end.to_be_bytes(), [0x7a; 16])
    };
    let short = [("by one", 4097), ("by none", 4096), ("below itself", 4095)];
    for (name, end) in short {
        let name = format!("LEASE_GRANT, ends {name}");
        malformed(group, &name, "end - start is less than 2", 1, &lease(4096, end), "BadValue");
    }
    let request = join!([1, 0, 0], [0x0e; 16], [0; 8]);
    let denied = join!([3, 0, 0], [0x0e; 16], [0; 4]);
    for (kind, octets) in
        [("LEASE_REQUEST", request), ("LEASE_GRANT", lease(4096, 4608)), ("LEASE_DENIED", denied)]
    {
        let cut = &octets[..octets.len() - 1];
        if kind == "LEASE_GRANT" {
            // The tag is what stands at the end, so that the fields before it are what is too short.
            malformed(group, &format!("{kind}, cut"), "an octet less", 1, cut, "Truncated");
        } else {
            malformed(group, &format!("{kind}, cut"), "an octet less", 0, cut, "Truncated");
        }
        let longer = join!(octets, [0]);
        malformed(
            group,
            &format!("{kind}, an octet more"),
            "a zero octet behind the end",
            1,
            &longer,
            "TrailingBytes",
        );
    }
    for kind in [0_u8, 15, 255] {
        malformed(group, &format!("type {kind}"), "no such type", 0, &join!([kind], [0; 26]), "UnknownType");
    }
    malformed(group, "nothing", "an inner message without octets", 0, &[], "Truncated");
}
