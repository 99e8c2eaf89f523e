//! The keys of a link, in private files, from when a protocol gave them until no end needs them.
//!
//! ```text
//! DIR/link/inbox/<key id>-<index>.key   a key of the protocol, which has no generation yet
//! DIR/link/<generation>.key             what the consumer takes of it, and the key of the statuses
//! ```
//!
//! Of a key that has a generation nothing is kept but what was exported. What a crash left in there is erased: a key that was being written or
//! erased, and one that has its generation already.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use skex_core::export::{End, Exporter};
use skex_core::rotation::DatagramKey;
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey, SecretBytes, SecretVec};
use skex_wire::{DecodeError, EncodeError, Reader, Writer};
use zeroize::Zeroizing;

use crate::consumer::{Consumer, Known, Material};
use crate::store::atomic::{create_private, create_private_directory};
use crate::store::{erase, erase_all, finish};

/// Keys that wait for a generation, at most: the other end says soon which one they have, or lost them.
const MOST_WAITING: usize = 4;

const MAGIC: [u8; 8] = *b"skexlnk1";

/// More is in no file of this program.
const LONGEST: u64 = 65536;

/// A key that has a generation.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) generation: u64,
    pub(super) material: Material,
    pub(super) status: Rc<DatagramKey>,
}

impl Held {
    pub(super) const fn known(&self) -> Known<'_> {
        Known { generation: self.generation, material: &self.material }
    }
}

/// A key that waits for one.
#[derive(Debug)]
pub(super) struct Waiting {
    path: PathBuf,
    pub(super) status: Rc<DatagramKey>,
}

/// The directory of a link.
#[derive(Debug)]
pub(super) struct Keys {
    directory: PathBuf,
    end: End,
}

impl Keys {
    pub(super) fn open(directory: &Path, end: End) -> Result<Self> {
        let keys = Self { directory: directory.to_owned(), end };
        create_private_directory(&keys.inbox())?;
        for directory in [&keys.directory, &keys.inbox()] {
            let mode = fs::symlink_metadata(directory)?.permissions().mode();
            if mode & 0o077 != 0 || !fs::symlink_metadata(directory)?.is_dir() {
                bail!(
                    "others may look into {}, where keys lie: make it a directory of yours alone (chmod 700)",
                    directory.display()
                );
            }
            finish(directory);
        }
        Ok(keys)
    }

    /// Where the protocol puts its keys.
    pub(super) fn inbox(&self) -> PathBuf {
        inbox(&self.directory)
    }

    /// The keys that wait, the oldest first. What is no key there is left alone; too many are erased, and one that is `held` already: a crash
    /// came when it got its generation.
    pub(super) fn waiting(&self, held: &[Held]) -> Result<Vec<Waiting>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.inbox()).context("cannot read the inbox of the link")? {
            let entry = entry.context("cannot read the inbox of the link")?;
            let metadata = entry.metadata().context("cannot read the inbox of the link")?;
            if !metadata.is_file() || origin(&entry.path()).is_none() {
                continue;
            }
            files.push((metadata.modified().ok(), entry.path()));
        }
        files.sort();
        let newest = files.split_off(files.len().saturating_sub(MOST_WAITING));
        erase_all(files.iter().map(|(_, path)| path.as_path()))?;
        let mut waiting = Vec::new();
        for (_, path) in newest {
            let status = Rc::new(DatagramKey::export(&mut self.exporter(&path)?)?);
            if held.iter().any(|held| held.status.name() == status.name()) {
                erase(&path)?;
            } else {
                waiting.push(Waiting { path, status });
            }
        }
        Ok(waiting)
    }

    fn exporter(&self, path: &Path) -> Result<Exporter> {
        let (id, index) = origin(path).with_context(|| format!("{} is no key", path.display()))?;
        let secret = KeyBytes::copied_from(&read(path)?)
            .with_context(|| format!("{} is no key: remove it", path.display()))?;
        // The outlet took none that was not confirmed. Exporting makes it computational, whatever it was.
        let key = OutputKey::new(id, index, Assurance::Computational, secret).confirmed();
        Exporter::new(key, self.end).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    /// Gives a key its generation: what is exported of it is durable, and it is gone, when this returns.
    pub(super) fn adopt(&self, waiting: Waiting, generation: u64, consumer: &dyn Consumer) -> Result<Held> {
        let mut exporter = self.exporter(&waiting.path)?;
        let material = consumer.derive(&mut exporter, generation)?;
        let held = Held { generation, material, status: waiting.status };
        let octets = encode(&held)?;
        let path = self.path(generation);
        if path.try_exists().unwrap_or(true) && read(&path)? != octets {
            // Of a crash between this and the rotation's record: it was never told to anybody.
            erase(&path)?;
        }
        if !path.try_exists().unwrap_or(true) {
            create_private(&path, &octets)?;
        }
        erase(&waiting.path)?;
        Ok(held)
    }

    /// The keys that have a generation.
    pub(super) fn held(&self) -> Result<Vec<Held>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).context("cannot read the directory of the link")? {
            let path = entry.context("cannot read the directory of the link")?.path();
            let Some(generation) = generation(&path) else { continue };
            let held = decode(generation, &read(&path)?);
            all.push(held.map_err(|_| {
                anyhow!("{} is damaged: remove it, and the link makes another key", path.display())
            })?);
        }
        Ok(all)
    }

    pub(super) fn erase(&self, generation: u64) -> Result<()> {
        erase(&self.path(generation))
    }

    pub(super) fn erase_waiting(&self, waiting: &Waiting) -> Result<()> {
        erase(&waiting.path)
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.directory.join(format!("{generation}.key"))
    }
}

/// Where the protocol puts its keys, for a link in this directory.
pub(super) fn inbox(directory: &Path) -> PathBuf {
    directory.join("inbox")
}

/// The id and the index in the name of a key's file.
fn origin(path: &Path) -> Option<(KeyId, u64)> {
    let (id, index) = path.file_name()?.to_str()?.strip_suffix(".key")?.split_once('-')?;
    let mut octets = [0; 16];
    hex::decode_to_slice(id, &mut octets).ok()?;
    Some((KeyId::new(octets), u64::from_str_radix(index, 16).ok()?))
}

fn generation(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".key")?.parse().ok().filter(|generation| *generation > 0)
}

/// A file of this program's, and no link to another.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.with_context(|| format!("cannot read {}", path.display()))?;
    let mut octets = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LONGEST).read_to_end(&mut octets).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(octets)
}

fn encode(held: &Held) -> Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(vec![0; usize::try_from(LONGEST)?]);
    let mut writer = Writer::new(&mut octets);
    let written: Result<(), EncodeError> = (|| {
        writer.bytes(&MAGIC)?;
        writer.bytes(held.status.name())?;
        writer.bytes(held.status.secret().expose())?;
        writer.prefixed_u16(held.material.name.as_bytes(), usize::from(u16::MAX))?;
        writer.prefixed_u16(held.material.secret.expose(), usize::from(u16::MAX))
    })();
    let len = writer.len();
    written.map_err(|_| anyhow!("the consumer's key is too long"))?;
    octets.truncate(len);
    Ok(octets)
}

fn decode(generation: u64, octets: &[u8]) -> Result<Held, DecodeError> {
    let mut reader = Reader::new(octets);
    let bad = reader.error(skex_wire::DecodeErrorKind::BadValue);
    if reader.array::<8>()? != MAGIC {
        return Err(bad);
    }
    let name = reader.array()?;
    let secret = SecretBytes::copied_from(reader.array_ref()?);
    let text = reader.prefixed_u16(usize::from(u16::MAX))?;
    let octets = reader.prefixed_u16(usize::from(u16::MAX))?;
    reader.finish()?;
    let text = core::str::from_utf8(text).map_err(|_| bad)?;
    let material = Material { name: text.to_owned(), secret: SecretVec::copied_from(octets) };
    Ok(Held { generation, material, status: Rc::new(DatagramKey::new(name, secret)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::{Failure, Holding};

    struct Anything;

    impl Consumer for Anything {
        fn name(&self) -> String {
            "anything".to_owned()
        }

        fn target(&self) -> Option<String> {
            None
        }

        fn derive(&self, exporter: &mut Exporter, _: u64) -> Result<Material> {
            let psk = exporter.wireguard(0)?;
            Ok(Material { name: psk.name().to_string(), secret: SecretVec::copied_from(psk.psk().expose()) })
        }

        fn install(&mut self, _: Known<'_>) -> Result<(), Failure> {
            Ok(())
        }

        fn switch_transmit(&mut self, _: Known<'_>) -> Result<(), Failure> {
            Ok(())
        }

        fn confirm(&mut self, _: Known<'_>) -> Result<bool, Failure> {
            Ok(false)
        }

        fn retire(&mut self, _: Known<'_>) -> Result<(), Failure> {
            Ok(())
        }

        fn holding(&mut self, _: &[Known<'_>]) -> Result<Holding, Failure> {
            Ok(Holding::default())
        }
    }

    /// The directory of a link, and the file of a key of these octets that waits in it.
    fn link(octets: &[u8]) -> (tempfile::TempDir, Keys, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keys::open(&directory.path().join("link"), End::A).unwrap();
        let path = keys.inbox().join(format!("{}-0.key", "ab".repeat(16)));
        create_private(&path, octets).unwrap();
        (directory, keys, path)
    }

    fn beside(path: &Path, kind: &str) -> PathBuf {
        PathBuf::from(format!("{}.{kind}", path.display()))
    }

    /// Else whoever knows the id could compute what the consumer gets, and number it.
    #[test]
    fn a_key_that_was_being_erased_when_a_crash_came_is_nobodys_and_goes() {
        let (directory, keys, waiting) = link(&[7; 32]);
        let held = keys.path(7);
        create_private(&held, b"damaged").unwrap();
        assert!(keys.held().unwrap_err().to_string().contains("damaged"));
        // Not overwritten yet, and overwritten.
        for octets in [[7; 32], [0; 32]] {
            for path in [&waiting, &held] {
                let _ = fs::remove_file(path);
                fs::write(beside(path, "erasing"), octets).unwrap();
            }
            assert!(keys.waiting(&[]).unwrap().is_empty() && keys.held().unwrap().is_empty());
            let _keys = Keys::open(&directory.path().join("link"), End::A).unwrap();
            assert_eq!(fs::read_dir(keys.inbox()).unwrap().count(), 0);
            assert_eq!(fs::read_dir(&keys.directory).unwrap().count(), 1, "the inbox");
        }
    }

    #[test]
    fn a_key_that_had_just_got_its_name_when_a_crash_came_stays() {
        let (directory, keys, path) = link(&[7; 32]);
        fs::hard_link(&path, beside(&path, "42.partial")).unwrap();
        let _keys = Keys::open(&directory.path().join("link"), End::A).unwrap();
        assert_eq!(fs::read_dir(keys.inbox()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), [7; 32]);
    }

    #[test]
    fn of_too_many_keys_the_newest_wait() {
        let (_directory, keys, first) = link(&[7; 32]);
        for octet in 0..6_u8 {
            std::thread::sleep(core::time::Duration::from_millis(20));
            create_private(&keys.inbox().join(format!("{}-0.key", hex::encode([octet; 16]))), &[octet; 32])
                .unwrap();
        }
        assert_eq!(keys.waiting(&[]).unwrap().len(), MOST_WAITING);
        assert_eq!(fs::read_dir(keys.inbox()).unwrap().count(), MOST_WAITING);
        assert!(!first.exists());
    }

    #[test]
    fn a_key_that_has_its_generation_when_a_crash_comes_gets_no_second_one() {
        let (_directory, keys, path) = link(&[7; 32]);
        let waiting = keys.waiting(&[]).unwrap().remove(0);
        let held = [keys.adopt(waiting, 1, &Anything).unwrap()];
        assert!(!path.exists());
        // As if the crash had come before that.
        create_private(&path, &[7; 32]).unwrap();
        let found = keys.held().unwrap();
        assert_eq!(found[0].status.name(), held[0].status.name());
        assert!(keys.waiting(&found).unwrap().is_empty());
        assert!(!path.exists());
        create_private(&path, &[8; 32]).unwrap();
        assert_eq!(keys.waiting(&found).unwrap().len(), 1, "another key");
    }

    #[test]
    fn what_was_not_written_to_its_end_is_erased_at_the_next_start() {
        let (directory, keys, _) = link(&[7; 32]);
        let left = [keys.inbox().join("ab-0.key.42.partial"), keys.directory.join("3.key.42.partial")];
        left.iter().for_each(|path| fs::write(path, [7; 32]).unwrap());
        let keys = Keys::open(&directory.path().join("link"), End::A).unwrap();
        assert!(!left.iter().any(|path| path.exists()));
        assert_eq!(keys.waiting(&[]).unwrap().len(), 1, "what is whole stays");
    }
}
