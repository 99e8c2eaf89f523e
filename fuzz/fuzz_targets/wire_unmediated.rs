//! What is accepted as a message of the unmediated protocol is the one encoding of what was understood.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_wire::Writer;
use skex_wire::unmediated::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let mut buffer = vec![0; bytes.len()];
    let mut writer = Writer::new(&mut buffer);
    match &message {
        Message::First(message) => message.encode(&mut writer),
        Message::Second(message) => message.encode(&mut writer),
        Message::Third(message) => message.encode(&mut writer),
        Message::LongThird(message) => message.encode(&mut writer),
        Message::Fourth(message) => message.encode(&mut writer),
        Message::Cookie(message) => message.encode(&mut writer),
        Message::Stale(message) => message.encode(&mut writer),
        _ => panic!("a message that this target does not know: {message:?}"),
    }
    .expect("an accepted message can be written");
    assert_eq!(writer.written(), bytes);
});
