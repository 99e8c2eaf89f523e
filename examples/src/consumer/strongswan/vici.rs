//! VICI, the interface of strongSwan's daemon: packets over a local socket, each a command, its response or an event.
//!
//! ```text
//! packet   length (4) | type (1) | [length of the name (1) | name] | message
//! message  elements: section start 1, end 2, key and value 3, list start 4, item 5, end 6
//!          names have a length of 1 octet before them, values of 2
//! ```

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use skex_wire::{DecodeError, EncodeError, Reader, Writer};
use zeroize::Zeroizing;

/// The longest packet, as strongSwan has it.
const MAX_PACKET: usize = 512 * 1024;

/// Events that one command brings, at most: as many SAs are listed.
const MOST_EVENTS: usize = 4096;

/// Sections within sections, at most.
const DEEPEST: usize = 16;

/// Longer than any command is given.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const REGISTER: u8 = 3;
const CONFIRM: u8 = 5;
const EVENT: u8 = 7;

/// What an element holds.
#[derive(Debug)]
pub(super) enum Value {
    Text(Zeroizing<Vec<u8>>),
    List(Vec<Zeroizing<Vec<u8>>>),
    Section(Section),
}

/// Named values, in order.
#[derive(Debug, Default)]
pub(super) struct Section(Vec<(String, Value)>);

impl Section {
    pub(super) fn with(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), Value::Text(Zeroizing::new(text.as_ref().to_vec()))));
        self
    }

    pub(super) fn with_list(mut self, name: &str, items: &[&str]) -> Self {
        let items = items.iter().map(|item| Zeroizing::new(item.as_bytes().to_vec())).collect();
        self.0.push((name.to_owned(), Value::List(items)));
        self
    }

    pub(super) fn with_section(mut self, name: &str, section: Self) -> Self {
        self.0.push((name.to_owned(), Value::Section(section)));
        self
    }

    pub(super) fn push(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => core::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let list = match self.get(name) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        list.iter().map(|item| item.as_slice())
    }

    /// The sections in it, with their names.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    pub(super) fn section(&self, name: &str) -> Option<&Self> {
        self.sections().find(|(known, _)| *known == name).map(|(_, section)| section)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        for (name, value) in &self.0 {
            match value {
                Value::Text(text) => {
                    writer.u8(3)?;
                    writer.prefixed_u8(name.as_bytes())?;
                    writer.prefixed_u16(text, usize::from(u16::MAX))?;
                }
                Value::List(items) => {
                    writer.u8(4)?;
                    writer.prefixed_u8(name.as_bytes())?;
                    for item in items {
                        writer.u8(5)?;
                        writer.prefixed_u16(item, usize::from(u16::MAX))?;
                    }
                    writer.u8(6)?;
                }
                Value::Section(section) => {
                    writer.u8(1)?;
                    writer.prefixed_u8(name.as_bytes())?;
                    section.write(writer)?;
                    writer.u8(2)?;
                }
            }
        }
        Ok(())
    }

    /// To the end of the message, or of the section.
    fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        let bad = reader.error(skex_wire::DecodeErrorKind::BadValue);
        let mut section = Self::default();
        while !reader.is_empty() {
            match reader.u8()? {
                1 if depth < DEEPEST => {
                    let name = name(reader)?;
                    let inner = Self::read(reader, depth.saturating_add(1))?;
                    section.push(&name, Value::Section(inner));
                }
                2 if depth > 0 => return Ok(section),
                3 => {
                    let name = name(reader)?;
                    section.push(&name, Value::Text(value(reader)?));
                }
                4 => {
                    let name = name(reader)?;
                    let mut items = Vec::new();
                    loop {
                        match reader.u8()? {
                            5 => items.push(value(reader)?),
                            6 => break,
                            _ => return Err(bad),
                        }
                    }
                    section.push(&name, Value::List(items));
                }
                _ => return Err(bad),
            }
        }
        if depth == 0 { Ok(section) } else { Err(bad) }
    }
}

fn name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(String::from_utf8_lossy(reader.prefixed_u8()?).into_owned())
}

fn value(reader: &mut Reader<'_>) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    Ok(Zeroizing::new(reader.prefixed_u16(usize::from(u16::MAX))?.to_vec()))
}

/// A session with the daemon.
#[derive(Debug)]
pub(super) struct Session(UnixStream);

/// Why there is no answer, without anything of what the daemon said.
type Lost = String;

impl Session {
    pub(super) fn open(path: &Path) -> Result<Self, Lost> {
        let open = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        open().map(Self).map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
    }

    /// A command, and its response. What is in the response is the caller's to judge.
    pub(super) fn call(&mut self, command: &str, message: &Section) -> Result<Section, Lost> {
        self.stream(command, None, message).map(|(response, _)| response)
    }

    /// A command whose answers come as events.
    pub(super) fn list(&mut self, command: &str, event: &str) -> Result<Vec<Section>, Lost> {
        self.send(REGISTER, event, &Section::default())?;
        match self.receive()? {
            (CONFIRM, _, _) => {}
            _ => return Err("the daemon does not know what it is asked".to_owned()),
        }
        self.stream(command, Some(event), &Section::default()).map(|(_, events)| events)
    }

    fn stream(
        &mut self,
        command: &str,
        event: Option<&str>,
        message: &Section,
    ) -> Result<(Section, Vec<Section>), Lost> {
        self.send(REQUEST, command, message)?;
        let mut events = Vec::new();
        for _ in 0..MOST_EVENTS {
            match self.receive()? {
                (RESPONSE, _, response) => return Ok((response, events)),
                (EVENT, name, content) if Some(name.as_str()) == event => events.push(content),
                (EVENT, _, _) => {}
                _ => return Err(format!("the daemon does not know {command}")),
            }
        }
        Err("the daemon answers without end".to_owned())
    }

    fn send(&mut self, kind: u8, name: &str, message: &Section) -> Result<(), Lost> {
        let mut buffer = Zeroizing::new(vec![0; MAX_PACKET]);
        let mut writer = Writer::new(&mut buffer);
        let written: Result<(), EncodeError> = (|| {
            writer.u8(kind)?;
            writer.prefixed_u8(name.as_bytes())?;
            message.write(&mut writer)
        })();
        written.map_err(|_| "a message too long for the daemon".to_owned())?;
        let length = u32::try_from(writer.len()).unwrap_or(u32::MAX).to_be_bytes();
        let sent = self.0.write_all(&length).and_then(|()| self.0.write_all(writer.written()));
        sent.map_err(|error| format!("the daemon does not listen: {error}"))
    }

    /// A packet: its type, its name, its message.
    fn receive(&mut self) -> Result<(u8, String, Section), Lost> {
        let mut length = [0; 4];
        let said = |error: std::io::Error| format!("the daemon does not answer: {error}");
        self.0.read_exact(&mut length).map_err(said)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_PACKET {
            return Err("the daemon talks nonsense".to_owned());
        }
        let mut packet = Zeroizing::new(vec![0; length]);
        self.0.read_exact(&mut packet).map_err(said)?;
        parse(&packet).map_err(|_| "the daemon talks nonsense".to_owned())
    }
}

fn parse(packet: &[u8]) -> Result<(u8, String, Section), DecodeError> {
    let mut reader = Reader::new(packet);
    let kind = reader.u8()?;
    let name = if kind == EVENT { name(&mut reader)? } else { String::new() };
    Ok((kind, name, Section::read(&mut reader, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(section: &Section) -> Vec<u8> {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        section.write(&mut writer).unwrap();
        writer.written().to_vec()
    }

    /// The example in strongSwan's description of the protocol (src/libcharon/plugins/vici/README.md).
    #[test]
    fn the_example_of_the_protocols_description() {
        let inner = Section::default().with("key2", "value2");
        let section = Section::default().with("key1", "value1").with_section(
            "section1",
            Section::default().with_section("sub-section", inner).with_list("list1", &["item1", "item2"]),
        );
        let expected = [
            &[3, 4][..],
            b"key1",
            &[0, 6],
            b"value1", // key and value
            &[1, 8],
            b"section1",
            &[1, 11],
            b"sub-section",
            &[3, 4],
            b"key2",
            &[0, 6],
            b"value2",
            &[2],
            &[4, 5],
            b"list1",
            &[5, 0, 5],
            b"item1",
            &[5, 0, 5],
            b"item2",
            &[6],
            &[2],
        ]
        .concat();
        assert_eq!(octets(&section), expected);
        let read = Section::read(&mut Reader::new(&expected), 0).unwrap();
        assert_eq!(octets(&read), expected);
        assert_eq!(read.text("key1"), Some("value1"));
        let items: Vec<&[u8]> = read.section("section1").unwrap().list("list1").collect();
        assert_eq!(items, [b"item1", b"item2"]);
    }

    #[test]
    fn garbage_is_refused_and_never_followed_down() {
        for packet in [
            &[][..],
            &[7],
            &[1, 2],                      // the end of a section that did not begin
            &[1, 1, 1, b'a'],             // a section without an end
            &[1, 4, 1, b'a', 3],          // a list with something else in it
            &[1, 3, 1, b'a', 0xff, 0xff], // a value that is not there
            &[1, 9],
        ] {
            assert!(parse(packet).is_err(), "{packet:?}");
        }
        let deep = [&[1][..], &[1, 1, b'a'].repeat(100_000)].concat();
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn a_daemon_that_talks_nonsense_falls_silent_or_goes_is_an_error() {
        for answer in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x01\x09", b"\0\0\0\x02\x01\x02", b"\0\0", b""] {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(answer).unwrap();
            there.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(Session(here).call("version", &Section::default()).is_err(), "{answer:?}");
        }
    }
}
