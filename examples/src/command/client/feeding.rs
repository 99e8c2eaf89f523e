//! A client whose keys with one other client go to a consumer.

use core::time::Duration;
use std::os::fd::BorrowedFd;

use anyhow::Result;
use skex_core::export::End;
use skex_dske::{ClientEvent, ClientTag, KeyRequest};

use super::running::{News, Running};
use crate::feed::Source;

/// A client that runs for its feed.
pub(super) struct Feeding {
    client: Running,
    peer: String,
    tag: ClientTag,
    request: KeyRequest,
}

impl Feeding {
    pub(super) fn new(client: Running, peer: &str, request: KeyRequest) -> Result<Self> {
        let tag = client.names.tag(peer)?;
        Ok(Self { client, peer: peer.to_owned(), tag, request })
    }

    /// Keys of others wait in the client's log, for `skex client wait`.
    fn is_ours(&self, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::KeyEstablished(established) => established.peer == self.tag,
            ClientEvent::Settled { peer, .. } | ClientEvent::KeyFailed { peer, .. } => *peer == self.tag,
            _ => true,
        }
    }
}

/// Which end of a pair the client `own` is: the lesser name is A.
pub(super) fn end(own: &str, peer: &str) -> End {
    if own.as_bytes() < peer.as_bytes() { End::A } else { End::B }
}

impl Source for Feeding {
    fn sources(&self) -> [BorrowedFd<'_>; 2] {
        self.client.driver.sources()
    }

    fn patience(&self) -> Option<Duration> {
        self.client.driver.patience()
    }

    fn serve(&mut self) -> Result<bool> {
        let now = self.client.driver.now();
        self.client.step(Some(now), None)?;
        let mut came = false;
        while let Some(event) = self.client.driver.next_event() {
            if self.is_ours(&event) {
                came |= matches!(self.client.take(event)?, News::Established(..));
            }
        }
        Ok(came)
    }

    fn establish(&mut self) -> Result<()> {
        if self.client.is_asking() {
            return Ok(());
        }
        // A link goes on under the key that it has.
        if let Err(error) = self.client.ask(&self.peer, self.request) {
            self.client.reporter.note(format!("{error:#}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_name_is_end_a_at_both() {
        assert_eq!((end("alice", "bob"), end("bob", "alice")), (End::A, End::B));
        assert_eq!(end("a", "aa"), End::A);
    }
}
