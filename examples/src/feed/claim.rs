//! One directory feeds a consumer: two would set their keys over each other's, and each link would stray for ever.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::consumer::Consumer;
use crate::store::atomic::create_private_directory;
use crate::store::lock;

/// The longest name of a file.
const LONGEST: usize = 255;

/// The right to feed what a consumer names, until it is dropped or the process ends, however it ends.
pub(super) struct Claim {
    _file: Option<File>,
}

impl Claim {
    pub(super) fn acquire(consumer: &dyn Consumer) -> Result<Self> {
        let Some(target) = consumer.target() else { return Ok(Self { _file: None }) };
        let directory = directory()?;
        let name = file_name(&target);
        if name.len() > LONGEST {
            bail!("the path of what {} takes keys by is too long", consumer.name());
        }
        let path = directory.join(name);
        let Some(file) = lock(&path)? else {
            bail!(
                "another skex process feeds {}, from another directory: stop it first, or feed another consumer ({} is locked)",
                consumer.name(),
                path.display()
            )
        };
        Ok(Self { _file: Some(file) })
    }
}

/// Where this user's claims lie: nobody else can make one there.
fn directory() -> Result<PathBuf> {
    let us = rustix::process::geteuid();
    let path = if us.is_root() {
        PathBuf::from("/run/skex")
    } else {
        std::env::temp_dir().join(format!("skex-{}", us.as_raw()))
    };
    create_private_directory(&path)?;
    let metadata =
        fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    if !metadata.is_dir() || metadata.uid() != us.as_raw() || metadata.permissions().mode() & 0o077 != 0 {
        bail!("{} is to be a directory of yours alone (chmod 700), and is not: remove it", path.display());
    }
    Ok(path)
}

/// Letters, digits, hyphens and points are themselves, all else is written in hexadecimal: two targets never have one name.
fn file_name(target: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(octet).to_string(),
        _ => format!("_{octet:02x}"),
    };
    target.bytes().map(octet).chain([".lock".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_differ_have_names_that_differ() {
        assert_eq!(file_name("wireguard wg0"), "wireguard_20wg0.lock");
        assert_eq!(file_name("a/b"), "a_2fb.lock");
        assert_eq!(file_name("a_2fb"), "a_5f2fb.lock");
    }
}
