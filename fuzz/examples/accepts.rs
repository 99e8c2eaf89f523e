//! What the decoders accept: for each file named on the standard input a line of its name and three digits, 1 where it is an outer
//! message of DSKE, an inner one, a message of the unmediated protocol. `differential.py` holds the other implementation against it.
#![forbid(unsafe_code)]

use std::io::Read as _;

use skex_wire::dske::{Inner, Outer};
use skex_wire::unmediated::Message;

fn main() {
    let mut names = String::new();
    std::io::stdin().read_to_string(&mut names).expect("names on the standard input");
    for name in names.lines() {
        let octets = std::fs::read(name).expect("a file that can be read");
        let accepted = [
            Outer::decode(&octets).is_ok(),
            Inner::decode(&octets).is_ok(),
            Message::decode(&octets).is_ok(),
        ];
        let [outer, inner, unmediated] = accepted.map(u8::from);
        println!("{name} {outer}{inner}{unmediated}");
    }
}
