#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod backoff;
mod client;
mod envelope;
mod epoch;
mod few;
mod fill;
mod hub;
mod id;
mod journal;
mod key;
mod link;
mod list;
mod onetime;
mod outbox;
mod provision;
mod psrd;
mod several;
mod share;
mod sorted;
mod state;
mod suite;
mod unsealed;

pub use client::{
    Client, ClientConfig, ClientError, ClientEvent, ClientLimits, CommandReport, Conduct, ConfigError,
    Established, FoundPeer, HubCommand, HubLink, HubReport, HubSet, KeyError, KeyRequest, LinkStatus,
    LookupError, NegotiationError, PeerOffer, Release, ResponderPolicy, Role, Table,
};
pub use fill::Fill;
pub use hub::{
    Authorised, ClientStatus, HandOver, Hub, HubClient, HubConfig, HubError, HubEvent, HubLimits, HubRoster,
    shard_of,
};
pub use id::{ClientId, ClientTag, HubId};
pub use key::Origin;
pub use link::{TableError, TableStatus};
pub use provision::{
    Chunk, LinkIdentity, MAX_PROVISION_HEADER_LEN, MAX_PROVISION_PARTS, PROVISION_CHUNK_ELEMENTS,
    PROVISION_TAG_LEN, Provision, ProvisionError, ProvisionKey, TablePart,
};
pub use psrd::{BlockDevice, BlockPad, ELEMENT_LEN, MemoryPad, Pad, PadError};
pub use state::{Record, RestoreError};
pub use suite::KeySuite;

pub use onetime::{MessageTagKey, MessageVerificationKey, SecretTagKey, SpentKey, Tag};
pub use share::{
    Coordinate, DecodeError, Decoded, ShareError, Splitter, combinations, combine, decode, interpolate_at,
    split, work_limit_covers,
};
