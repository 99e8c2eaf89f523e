//! Inner messages 20 and 21.

use serde_json::json;

use super::{malformed, plain};
use crate::file::{Group, hex};

pub(super) fn refills(group: &mut Group) {
    for (name, way, table, elements, first, count, flag) in [
        ("REFILL", 0, 1, 4096, 64, 64, "Normal"),
        ("REFILL, the last part", 1, 2, 70, 64, 6, "Normal"),
        ("REFILL, one element", 0, 0, 1, 0, 1, "Minimum"),
        ("REFILL, most", 1, u16::MAX, u32::MAX, u32::MAX - 64, 64, "Maximum"),
    ] {
        let mut case = group.case(name, "well formed");
        let pad = case.derive("message.pad", 16 * count);
        let octets =
            join!([20, way], table.to_be_bytes(), u32::to_be_bytes(elements), u32::to_be_bytes(first), pad);
        let message = json!({
            "type": "REFILL",
            "direction": way,
            "table": table,
            "elements": elements,
            "first": first,
            "pad": hex(&pad),
        });
        plain(case, 1, &octets, message, flag);
    }
    for (name, way, table, next, flag) in [
        ("REFILLED", 0, 1_u16, 128_u32, "Normal"),
        ("REFILLED, least", 0, 0, 0, "Minimum"),
        ("REFILLED, most", 1, u16::MAX, u32::MAX, "Maximum"),
    ] {
        let case = group.case(name, "well formed");
        let octets = join!([21, way], table.to_be_bytes(), next.to_be_bytes());
        let message = json!({ "type": "REFILLED", "direction": way, "table": table, "next": next });
        plain(case, 0, &octets, message, flag);
    }
    let refill = |way: u8, elements: u32, first: u32, length: usize| {
        join!([20, way, 0, 1], elements.to_be_bytes(), first.to_be_bytes(), vec![0x5a; length])
    };
    for (name, comment, octets, flag) in [
        ("REFILL, direction 2", "there is none", refill(2, 70, 0, 16), "BadValue"),
        ("REFILL without elements", "a part has one at least", refill(0, 70, 0, 0), "BadLength"),
        ("REFILL, 65 elements", "a part has 64 at most", refill(0, 70, 0, 65 * 16), "BadLength"),
        ("REFILL, no whole element", "15 octets", refill(0, 70, 0, 15), "BadLength"),
        ("REFILL, beyond the table", "elements 69 and 70 of 70", refill(0, 70, 69, 32), "BadValue"),
        (
            "REFILL, beyond every table",
            "first + elements is above 32 bits",
            refill(0, u32::MAX, u32::MAX, 32),
            "BadValue",
        ),
        ("REFILL, cut", "within its head", refill(0, 70, 0, 16)[..11].to_vec(), "Truncated"),
    ] {
        malformed(group, name, comment, 1, &octets, flag);
    }
    let refilled = join!([21, 0, 0, 1], [0, 0, 0, 70]);
    malformed(
        group,
        "REFILLED, direction 2",
        "there is none",
        0,
        &join!([21, 2], &refilled[2..]),
        "BadValue",
    );
    malformed(group, "REFILLED, cut", "an octet less", 0, &refilled[..7], "Truncated");
    malformed(
        group,
        "REFILLED, an octet more",
        "a zero octet behind the end",
        0,
        &join!(refilled, [0]),
        "TrailingBytes",
    );
}
