#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod common;
mod hex;

pub mod consumers;
pub mod dske_envelope;
pub mod dske_epochs;
pub mod dske_key;
pub mod dske_transcripts;
pub mod dske_wire;
pub mod key_schedule;
pub mod labels;
pub mod records;
pub mod shamir;
pub mod suites;
pub mod tags;
pub mod unmediated_exporter;
pub mod unmediated_keys;
pub mod unmediated_records;
pub mod unmediated_transcripts;

pub use common::{Case, File, Layer, Note, ParseError, Source, Verdict};
pub use hex::Hex;
