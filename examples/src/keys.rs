//! What becomes of a key: a fingerprint for people, the octets for a file, nothing for the terminal.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use skex_core::{Assurance, Fingerprint, KeyBytes, Label, OutputKey};

use crate::store::atomic::{check_private, create_private, create_private_directory};

/// Where keys go.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyOutlet {
    /// One key goes to this file.
    pub(crate) file: Option<PathBuf>,
    /// Each key goes to a file in this directory, named by its id.
    pub(crate) directory: Option<PathBuf>,
    /// Only keys that the peer has shown to have.
    pub(crate) confirmed: bool,
    /// For experiments: one bit of each key is turned before anything else is done with it.
    pub(crate) corrupt: bool,
}

impl KeyOutlet {
    /// Refuses now what would fail once the key is there.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(directory) = &self.directory {
            create_private_directory(directory)?;
            check_private(&directory.join("probe"))?;
        }
        self.file.as_deref().map_or(Ok(()), check_private)
    }

    /// Puts a key where it belongs, durably, and gives its fingerprint and the name of its file.
    pub(crate) fn put(&self, key: OutputKey) -> Result<(Fingerprint, Option<String>)> {
        if self.confirmed && !key.is_confirmed() {
            bail!("key {} is not confirmed, and is not given to a consumer", key.id());
        }
        let key = if self.corrupt { corrupted(key) } else { key };
        let fingerprint = key.fingerprint(Label::FINGERPRINT);
        let path = match (&self.file, &self.directory) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(directory)) => Some(directory.join(format!("{}-{:x}.key", key.id(), key.index()))),
            (None, None) => None,
        };
        if let Some(path) = &path {
            put_once(path, key.secret().expose())?;
        }
        Ok((fingerprint, path.map(|path| path.display().to_string())))
    }
}

/// A key that was written before the crash that kept us from saying so is told again; it is in safe hands already.
fn put_once(path: &Path, octets: &[u8]) -> Result<()> {
    if std::fs::read(path).map(zeroize::Zeroizing::new).is_ok_and(|there| there.as_slice() == octets) {
        return Ok(());
    }
    create_private(path, octets)
}

fn corrupted(key: OutputKey) -> OutputKey {
    let (id, index, assurance) = (key.id(), key.index(), key.assurance());
    let octets = key.into_secret();
    let turned = KeyBytes::from_fn(octets.len(), |out| {
        out.copy_from_slice(octets.expose());
        if let Some(first) = out.first_mut() {
            *first ^= 1;
        }
    });
    OutputKey::new(id, index, assurance, turned.unwrap_or(octets))
}

/// In words.
pub(crate) fn assurance(assurance: Assurance) -> String {
    match assurance {
        Assurance::InformationTheoretic => {
            "information-theoretic while fewer hubs than the threshold work together"
        }
        _ => "computational",
    }
    .to_owned()
}
