//! Every maximum of the wire formats, once.
//!
//! A limit names the quantity, its unit, and the section of the specification that sets it.

/// Octets of a tag, of an AEAD and of a truncated HMAC alike.
pub const TAG_LEN: usize = 16;

/// Octets of an AEAD nonce (RFC 5116, section 3.2; RFC 8439, section 2.3).
pub const AEAD_NONCE_LEN: usize = 12;

/// Octets of an AEAD key, the same for every suite.
pub const AEAD_KEY_LEN: usize = 32;

/// Octets of an element of pre-shared random data, in which DSKE counts positions and lengths
/// (draft-skex-dske, "Notation").
pub const ELEMENT_LEN: usize = 16;

/// Hubs of one DSKE key, at most (draft-skex-dske, "Terms").
pub const MAX_HUBS: u8 = 31;

/// Octets of a DSKE key, at least (draft-skex-dske, "Terms").
pub const MIN_DSKE_KEY_LEN: u32 = 16;

/// Octets of a DSKE key, at most: 1 MiB (draft-skex-dske, "Terms").
pub const MAX_DSKE_KEY_LEN: u32 = 1 << 20;

/// Octets of a DSKE message, envelope included, at most: 2 MiB (draft-skex-dske, "Outer messages").
pub const MAX_DSKE_MESSAGE_LEN: usize = 2 << 20;

/// Octets of the longest name of a client of DSKE: docs/draft-skex-dske.md, "Commands".
pub const MAX_NAME_LEN: usize = 64;

/// Octets of a SEVERAL of DSKE, at most: docs/draft-skex-dske.md, "Inner messages".
pub const MAX_SEVERAL_LEN: usize = 8192;
