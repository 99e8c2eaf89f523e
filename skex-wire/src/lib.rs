#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

mod codepoint;
mod cursor;
pub mod dske;
mod error;
pub mod limits;
pub mod unmediated;

pub use codepoint::SuiteId;
pub use cursor::{Reader, Writer};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
