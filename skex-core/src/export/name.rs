//! Public names of exported keys.

use core::fmt;

/// Octets of a [`KeyName`].
pub const KEY_NAME_LEN: usize = 16;

/// What names an exported key at both ends. Public, derived beside the key, and unlike any other name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyName([u8; KEY_NAME_LEN]);

impl KeyName {
    pub(super) const fn new(octets: [u8; KEY_NAME_LEN]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_NAME_LEN] {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyName({self})")
    }
}

/// A name as ASCII text, for consumers that read it from a configuration: `skex-`, 32 hex digits, and what the
/// consumer wants behind them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextName {
    octets: [u8; Self::MAX_LEN],
    len: usize,
}

impl TextName {
    /// Octets of the longest one.
    pub const MAX_LEN: usize = 64;

    #[cfg_attr(
        not(any(feature = "export-ikev2", feature = "export-tls13")),
        allow(dead_code, reason = "no consumer that is compiled in takes text")
    )]
    pub(super) fn new(name: KeyName, suffix: &[u8]) -> Self {
        let mut text = Self { octets: [0; Self::MAX_LEN], len: 0 };
        text.push(b"skex-");
        for octet in name.0 {
            // Public: a look-up tells nobody anything.
            text.push(&[hex_digit(octet >> 4), hex_digit(octet & 15)]);
        }
        text.push(suffix);
        text
    }

    fn push(&mut self, part: &[u8]) {
        for (to, from) in self.octets.iter_mut().skip(self.len).zip(part) {
            *to = *from;
            self.len = self.len.saturating_add(1);
        }
    }

    /// The octets: ASCII, none of them zero.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

const fn hex_digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.saturating_add(value),
        _ => b'a'.saturating_add(value.saturating_sub(10)),
    }
}

impl fmt::Display for TextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextName({self})")
    }
}
