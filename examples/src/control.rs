//! Orders on the standard input, one a line: how `skex demo` steers the processes that it started.
//!
//! When the standard input ends, so does the process: nothing outlives the demo.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context, Result};

/// Orders that have been read, and the beginning of the next one.
#[derive(Debug)]
pub(crate) struct Orders {
    stdin: std::io::Stdin,
    unfinished: Vec<u8>,
}

/// What the standard input brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// These orders.
    Orders(Vec<String>),
    /// Its end.
    End,
}

impl Orders {
    pub(crate) fn from_stdin() -> Self {
        Self { stdin: std::io::stdin(), unfinished: Vec::new() }
    }

    /// To wait on.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// Reads what is there, around the buffer of the standard library, which poll(2) cannot see.
    pub(crate) fn read(&mut self) -> Result<Read> {
        let mut buffer = [0; 4096];
        let len = rustix::io::read(self.stdin.as_fd(), &mut buffer).context("cannot read orders")?;
        if len == 0 {
            return Ok(Read::End);
        }
        self.unfinished.extend_from_slice(buffer.get(..len).unwrap_or_default());
        Ok(Read::Orders(take_lines(&mut self.unfinished)))
    }
}

fn take_lines(unfinished: &mut Vec<u8>) -> Vec<String> {
    let Some(end) = unfinished.iter().rposition(|&octet| octet == b'\n') else { return Vec::new() };
    let rest = unfinished.split_off(end.saturating_add(1));
    let whole = core::mem::replace(unfinished, rest);
    String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::take_lines;

    #[test]
    fn whole_lines_are_taken_and_the_rest_waits() {
        let mut octets = b"get bob 3\ncoun".to_vec();
        assert_eq!(take_lines(&mut octets), ["get bob 3"]);
        assert_eq!(take_lines(&mut octets), [""; 0]);
        octets.extend_from_slice(b"ters\nlie\n");
        assert_eq!(take_lines(&mut octets), ["counters", "lie"]);
        assert!(octets.is_empty());
    }
}
