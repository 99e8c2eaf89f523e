//! Octets as the files write them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Octets, written as lower-case hexadecimal digits without separators. Anything else is refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hex(Vec<u8>);

impl Hex {
    /// These octets.
    #[must_use]
    pub const fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets as an array; `None` if they are not `N`.
    #[must_use]
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }

    fn parse(text: &str) -> Option<Self> {
        let digit = |digit: &u8| match digit {
            b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
            b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect::<Option<_>>().map(Self)
    }
}

impl AsRef<[u8]> for Hex {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<Vec<u8>> for Hex {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({self})")
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"lower-case hexadecimal octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::Hex;
    use alloc::string::ToString;

    #[test]
    fn only_pairs_of_lower_case_digits_are_octets() {
        assert_eq!(Hex::parse("00ff1e"), Some(Hex::new([0, 0xff, 0x1e].into())));
        assert_eq!(Hex::parse(""), Some(Hex::default()));
        for text in ["0", "0g", "FF", " 0", "0x00", "00 00", "é"] {
            assert_eq!(Hex::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let octets = Hex::new((0..=255).collect());
        assert_eq!(Hex::parse(&octets.to_string()), Some(octets));
    }
}
