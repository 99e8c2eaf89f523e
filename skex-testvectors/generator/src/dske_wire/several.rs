//! Inner message 14.

use serde_json::json;

use super::{malformed, plain};
use crate::file::{Group, hex};

/// A BUSY, the shortest message that may be in it.
const BUSY: [u8; 7] = [7, 0, 0, 0, 0, 0x10, 2];

/// The most octets that it has.
const LONGEST: usize = 8192;

pub(super) fn several(group: &mut Group) {
    // What is in them decodes or not: the frame says nothing of it.
    let admitted: Vec<Vec<u8>> =
        [4, 5, 6, 7, 8, 11, 12, 13].into_iter().map(|first| join!([first], [first; 30])).collect();
    let longest = vec![4; LONGEST - 1 - 2 - BUSY.len() - 2];
    for (name, comment, direction, messages, flag) in [
        ("SEVERAL, two", "well formed", 1, vec![BUSY.to_vec(), BUSY.to_vec()], "Minimum"),
        ("SEVERAL, of each type", "no message in it is well formed itself", 0, admitted, "Normal"),
        (
            "SEVERAL, of an octet each",
            "no message in it is well formed itself",
            1,
            vec![vec![6], vec![8]],
            "Minimum",
        ),
        ("SEVERAL, longest", "8192 octets", 0, vec![BUSY.to_vec(), longest.clone()], "Maximum"),
    ] {
        let octets = framed(&messages);
        let messages: Vec<String> = messages.iter().map(|message| hex(message)).collect();
        plain(
            group.case(name, comment),
            direction,
            &octets,
            json!({ "type": "SEVERAL", "messages": messages }),
            flag,
        );
    }
    let busy = || BUSY.to_vec();
    let two = framed(&[busy(), busy()]);
    for (name, comment, octets, flag) in [
        ("SEVERAL, none", "the type alone", vec![14], "Truncated"),
        ("SEVERAL, one", "a message that goes alone", framed(&[busy()]), "Truncated"),
        ("SEVERAL, an empty message", "a length of 0", framed(&[busy(), vec![]]), "BadLength"),
        (
            "SEVERAL, an empty message behind two",
            "a length of 0",
            framed(&[busy(), busy(), vec![]]),
            "BadLength",
        ),
        ("SEVERAL, cut", "an octet less", two[..two.len() - 1].to_vec(), "Truncated"),
        ("SEVERAL, an octet more", "half a length behind the end", join!(two, [0]), "Truncated"),
        (
            "SEVERAL, 8193 octets",
            "one more than the most",
            framed(&[busy(), join!(longest, [0])]),
            "BadLength",
        ),
        ("SEVERAL in SEVERAL", "well formed but for that", framed(&[busy(), two.clone()]), "UnknownType"),
    ] {
        malformed(group, name, comment, 1, &octets, flag);
    }
    for (first, name) in [
        (1, "LEASE_REQUEST"),
        (2, "LEASE_GRANT"),
        (3, "LEASE_DENIED"),
        (9, "FETCH"),
        (10, "FETCHED"),
        (20, "REFILL"),
        (21, "REFILLED"),
        (30, "LOOKUP"),
        (31, "PUBLISH"),
        (32, "WITHDRAW"),
        (33, "AUTHORISE"),
        (34, "OUTCOME"),
        (0, "type 0"),
        (15, "type 15"),
    ] {
        for (place, messages) in [("first", [vec![first; 44], busy()]), ("last", [busy(), vec![first; 44]])] {
            let name = format!("SEVERAL, {name} {place}");
            malformed(group, &name, "by its first octet", 0, &framed(&messages), "UnknownType");
        }
    }
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = messages.iter().map(|message| join!((message.len() as u16).to_be_bytes(), message));
    [vec![14]].into_iter().chain(framed).flatten().collect()
}
