//! Feeding a consumer: keys of a protocol become generations, a rotation at each end of the link orders what the consumer is
//! to do, and its statuses go over a socket of their own.

mod channel;
mod claim;
mod keys;
mod link;

use core::time::Duration;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use skex_core::export::End;

use crate::consumer::Choice;
use crate::control::{Orders, Read};
use crate::report::Reporter;
use claim::Claim;
use link::Link;

/// Where the keys of a device's protocol go, for its feed.
pub(crate) fn inbox(directory: &Path) -> PathBuf {
    keys::inbox(&link_directory(directory))
}

fn link_directory(directory: &Path) -> PathBuf {
    directory.join("link")
}

/// What feeds a consumer, beside the protocol's own options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where this end takes the statuses of the other end.
    #[arg(long, value_name = "HOST:PORT")]
    link_bind: String,
    /// Where the other end takes those of this end. Without it, this end answers where they come from.
    #[arg(long, value_name = "HOST:PORT")]
    link_peer: Option<String>,
    /// Make another key after so many seconds. At one end, or at both.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// How many seconds an old key stays after both ends have left it, where not as the consumer wants it.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// Take orders from the standard input and report in JSON.
    #[arg(long, hide = true)]
    pub(crate) steered: bool,
    /// Who takes the keys.
    #[command(subcommand)]
    consumer: Choice,
}

/// A protocol that makes keys with the other end, and puts each into the inbox of the link.
pub(crate) trait Source {
    /// Where its messages and receipts come in.
    fn sources(&self) -> [BorrowedFd<'_>; 2];

    /// How long it can be left alone.
    fn patience(&self) -> Option<Duration>;

    /// Does what is due, without waiting. Whether a key came.
    fn serve(&mut self) -> Result<bool>;

    /// Begins to make a key, if it can: the other end may have to begin.
    fn establish(&mut self) -> Result<()>;
}

/// A feed that is set up, and waits for its source.
pub(crate) struct Feed {
    link: Link,
    steered: bool,
    _claim: Claim,
}

impl Feed {
    /// Opens the consumer and the link. `directory` is the device's own, whose lock the caller holds.
    pub(crate) fn open(
        arguments: &Arguments,
        directory: &Path,
        end: End,
        reporter: Reporter,
    ) -> Result<Self> {
        let consumer = arguments.consumer.open()?;
        let claim = Claim::acquire(consumer.as_ref())?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let link = Link::open(
            &link_directory(directory),
            end,
            consumer,
            link::Settings {
                bind: &arguments.link_bind,
                peer: arguments.link_peer.as_deref(),
                every: arguments.every.map(seconds),
                grace: arguments.grace.map(seconds),
            },
            reporter,
        )?;
        Ok(Self { link, steered: arguments.steered, _claim: claim })
    }

    /// Runs until the process is stopped, or the orders end.
    pub(crate) fn run(mut self, source: &mut impl Source) -> Result<()> {
        let mut orders = self.steered.then(Orders::from_stdin);
        self.link.begin()?;
        loop {
            let ordered = self.wait(source, orders.as_ref())?;
            source.serve()?;
            self.link.serve()?;
            if self.link.wants_key()? {
                source.establish()?;
            }
            if ordered && let Some(orders) = &mut orders {
                match orders.read()? {
                    Read::End => return Ok(()),
                    Read::Orders(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                }
            }
        }
    }

    fn obey(&mut self, order: &str) -> Result<()> {
        match order {
            "rotate" => self.link.want_key(),
            _ => bail!("unknown order: {order}"),
        }
        Ok(())
    }

    /// Waits until somebody has something to do. Whether there are orders.
    fn wait(&self, source: &impl Source, orders: Option<&Orders>) -> Result<bool> {
        let timeout = source.patience().into_iter().chain([self.link.patience()]).min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let all = orders.map(Orders::source).into_iter().chain(source.sources()).chain(self.link.sources());
        let mut sources: Vec<PollFd<'_>> =
            all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match rustix::event::poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        Ok(orders.is_some() && sources.first().is_some_and(|orders| !orders.revents().is_empty()))
    }
}
