//! Attacks, each played in full: by whoever owns the network, by hubs that lie, by clients that are enrolled and mean
//! ill. Each test says what has to hold all the same, and, where it holds by a rule, which line carries that rule.

pub mod babble;
mod clients;
mod crook;
mod forgery;
mod hubs;
pub mod liar;
mod network;
mod patience;
mod shards;
