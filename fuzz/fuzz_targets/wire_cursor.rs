//! Any steps on any bytes: the reader never panics, never passes the end, and stays where it is when a step fails.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_wire::Reader;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (steps, bytes) = input;
    let mut reader = Reader::new(&bytes);
    for step in steps {
        let before = reader.offset();
        let moved = match step % 8 {
            0 => reader.u8().is_ok(),
            1 => reader.u16().is_ok(),
            2 => reader.u32().is_ok(),
            3 => reader.u64().is_ok(),
            4 => reader.array::<16>().is_ok(),
            5 => reader.prefixed_u8().is_ok(),
            6 => reader.prefixed_u16(usize::from(step)).is_ok(),
            _ => reader.take(usize::from(step)).is_ok(),
        };
        assert!(moved || reader.offset() == before, "a failed step moved the reader");
        assert!(reader.offset() >= before, "the reader went back");
        assert_eq!(reader.offset() + reader.remaining(), bytes.len());
    }
});
