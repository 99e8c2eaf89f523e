//! What all files have in common.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A file of test vectors: Wycheproof's envelope around groups `G`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct File<G> {
    /// What is tested.
    pub algorithm: String,
    /// The name of the JSON schema, in `schemas/`.
    pub schema: String,
    /// How many tests all groups have together.
    pub number_of_tests: u32,
    /// What a reader should know first.
    pub header: Vec<String>,
    /// What the flags of the tests mean.
    pub notes: BTreeMap<String, Note>,
    /// The groups. Data beside `tests` holds for all tests of a group.
    pub test_groups: Vec<G>,
}

/// What a flag means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Note {
    /// What a program that fails such a test has got wrong.
    pub bug_type: String,
    /// What the flag says of a test.
    pub description: String,
}

/// Where the vectors of a group come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Source {
    /// The program.
    pub name: String,
    /// The specification, with its revision.
    pub version: String,
}

/// What a correct program does with a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// It accepts, and computes the outputs given.
    Valid,
    /// It refuses, at the layer given.
    Invalid,
}

/// The layer that must refuse an invalid test. All layers before it must accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layer {
    /// The call: its arguments are outside what the operation allows.
    Argument,
    /// The decoder: the octets are not the one encoding of anything.
    Decode,
    /// The check of a key: it must not be used.
    Key,
    /// The check of a tag, or of everything that depends on one.
    Authenticate,
    /// The comparison with what the receiver knows.
    State,
    /// What the receiver offers or is allowed to.
    Policy,
}

/// What every test has.
pub trait Case {
    /// The number of the test, unique in its file, counted from 1.
    fn tc_id(&self) -> u32;
    /// The name of the test, unique in its group; it does not change when tests are added.
    fn name(&self) -> &str;
    /// What the test shows.
    fn comment(&self) -> &str;
    /// The fields whose octets follow from the seed by the rule in the README.
    fn derived(&self) -> &[String];
    /// What a correct program does.
    fn result(&self) -> Verdict;
    /// The layer that must refuse; `None` exactly where the result is valid.
    fn refused_by(&self) -> Option<Layer>;
    /// Keys of the file's notes. An invalid test has exactly one: its cause.
    fn flags(&self) -> &[String];
}

/// A text is not such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    line: usize,
    column: usize,
}

impl ParseError {
    /// The line, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a file of these test vectors: line {}, column {}", self.line, self.column)
    }
}

impl core::error::Error for ParseError {}

impl<'a, G: Deserialize<'a>> File<G> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ParseError`] says where the text is not JSON, lacks a field, or has one that is not known here.
    pub fn parse(json: &'a str) -> Result<Self, ParseError> {
        serde_json::from_str(json).map_err(|error| ParseError { line: error.line(), column: error.column() })
    }
}

/// Defines a test: the fields that every test has, and its own.
macro_rules! case {
    ($(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            /// The number of the test, unique in its file.
            pub tc_id: u32,
            /// The name of the test, unique in its group.
            pub name: alloc::string::String,
            /// What the test shows.
            pub comment: alloc::string::String,
            /// The fields that follow from the seed.
            pub derived: alloc::vec::Vec<alloc::string::String>,
            $( $(#[$field_meta])* pub $field: $type, )*
            /// What a correct program does.
            pub result: crate::Verdict,
            /// The layer that must refuse.
            pub refused_by: Option<crate::Layer>,
            /// Keys of the file's notes.
            pub flags: alloc::vec::Vec<alloc::string::String>,
        }

        impl crate::Case for $name {
            fn tc_id(&self) -> u32 {
                self.tc_id
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn comment(&self) -> &str {
                &self.comment
            }

            fn derived(&self) -> &[alloc::string::String] {
                &self.derived
            }

            fn result(&self) -> crate::Verdict {
                self.result
            }

            fn refused_by(&self) -> Option<crate::Layer> {
                self.refused_by
            }

            fn flags(&self) -> &[alloc::string::String] {
                &self.flags
            }
        }
    };
}

/// Defines a group of tests: its name and source, its own fields, its tests.
macro_rules! group {
    ($(#[$meta:meta])* $name:ident($case:ty) { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            /// The name of the group, unique in its file.
            pub name: alloc::string::String,
            /// Where the vectors come from.
            pub source: crate::Source,
            $( $(#[$field_meta])* pub $field: $type, )*
            /// The tests.
            pub tests: alloc::vec::Vec<$case>,
        }
    };
}

/// Defines the groups that a file may have, told apart by their field `type`, and the embedded file.
macro_rules! file {
    ($feature:literal, { $( $(#[$meta:meta])* $kind:ident($group:ident), )* }) => {
        /// A group of tests of this file.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        #[non_exhaustive]
        pub enum TestGroup {
            $( $(#[$meta])* $kind($group), )*
        }

        impl TestGroup {
            /// The name of the group, unique in its file.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $( Self::$kind(group) => &group.name, )*
                }
            }

            /// What every test of the group has.
            pub fn cases(&self) -> alloc::vec::Vec<&dyn crate::Case> {
                match self {
                    $( Self::$kind(group) => {
                        group.tests.iter().map(|test| test as &dyn crate::Case).collect()
                    } )*
                }
            }
        }

        /// The file.
        #[cfg(feature = $feature)]
        #[cfg_attr(docsrs, doc(cfg(feature = $feature)))]
        pub const JSON: &str = include_str!(concat!("../vectors/", $feature, ".json"));

        /// Its schema.
        #[cfg(feature = $feature)]
        #[cfg_attr(docsrs, doc(cfg(feature = $feature)))]
        pub const SCHEMA: &str = include_str!(concat!("../schemas/", $feature, ".schema.json"));

        /// The file, read.
        ///
        /// # Errors
        /// None for the file as it was published: the tests of this crate read it.
        #[cfg(feature = $feature)]
        #[cfg_attr(docsrs, doc(cfg(feature = $feature)))]
        pub fn load() -> Result<crate::File<TestGroup>, crate::ParseError> {
            crate::File::parse(JSON)
        }
    };
}

pub(crate) use {case, file, group};
