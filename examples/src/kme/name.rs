//! Names of SAEs and KMEs.

use core::fmt;

use serde::Deserialize;

/// The name of an SAE or a KME: 1 to 64 of `A-Z a-z 0-9 . _ : @ -`, not dots alone.
///
/// One spelling each: compared octet by octet, and nothing in it that a path, a log or a certificate could write in two ways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

const LONGEST: usize = 64;

impl Name {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._:@-".contains(&octet);
        let is_name = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(is_allowed)
            && text.bytes().any(|octet| octet != b'.');
        is_name.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a name has 1 to 64 of A-Z a-z 0-9 . _ : @ -")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_no_room_for_tricks() {
        for good in ["sae-1", "a", "sae_2.example.org", "urn:sae:7", &"x".repeat(64)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", ".", "..", "a/b", "a b", "a%2fb", "a\0", "sae\u{301}", "ｓae", "a?b", "a\n", &"x".repeat(65)]
        {
            assert_eq!(Name::parse(bad), None, "{bad:?}");
        }
    }
}
