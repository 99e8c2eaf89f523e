//! Wakes a thread that waits for file descriptors, from any other one.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anyhow::{Context, Result};

/// Readable once it was rung, until it is heard.
pub(crate) struct Bell {
    wire: UnixStream,
    rung: Arc<AtomicBool>,
}

/// Rings it: once for all that comes before it is heard.
#[derive(Clone)]
pub(crate) struct Hammer {
    wire: Arc<UnixStream>,
    rung: Arc<AtomicBool>,
}

pub(crate) fn bell() -> Result<(Hammer, Bell)> {
    let (near, far) = UnixStream::pair().context("cannot make a pair of sockets")?;
    for end in [&near, &far] {
        end.set_nonblocking(true).context("cannot set a socket up")?;
    }
    let rung = Arc::new(AtomicBool::new(false));
    Ok((Hammer { wire: Arc::new(far), rung: Arc::clone(&rung) }, Bell { wire: near, rung }))
}

impl Hammer {
    /// First put down what the other thread is to find.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full wire is rung already.
            let _ = (&*self.wire).write(&[0]);
        }
    }
}

impl Bell {
    /// First this, then look: what is put down from now on rings again.
    pub(crate) fn hear(&self) {
        let _ = (&self.wire).read(&mut [0; 64]);
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
