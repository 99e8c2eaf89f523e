//! TLS with external preshared keys, by a file: what GnuTLS reads as it is, and what a callback of OpenSSL's reads.
//!
//! ```text
//! identity:hexadecimal key
//! ```
//!
//! One line a key. The generation that is transmitted with stands first: a client offers that one. A server accepts all. Lines that
//! are not of this link stay as they are, so that the links of a server can share a file. The file is there whole or not at all,
//! and its owner's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use skex_core::export::{Exporter, TlsHash, TlsUse};
use skex_core::{SecretBytes, SecretVec};
use zeroize::Zeroizing;

use super::hexadecimal::hexadecimal;
use super::{Consumer, Failure, Holding, Known, Material, path_target};
use crate::store::atomic::{parent, sync_directory};

/// Feed external preshared keys of TLS 1.3, with SHA-256, in a file: GnuTLS, OpenSSL.
///
/// Lines of identity:hexadecimal key, as `gnutls-serv --pskpasswd` takes them, the one to offer first. New connections take the new
/// key; those that run keep theirs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file, in a directory that nobody else can write to.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Whether this end is the client or the server. A key has one client.
    #[arg(long, value_enum)]
    role: Role,
    /// A file in which the program leaves the identity of its last handshake, if it does.
    #[arg(long, value_name = "FILE")]
    used: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    Client,
    Server,
}

/// The longest file. At 100 octets a key that is enough for 10,000 of them.
const LONGEST: u64 = 1 << 20;

pub(super) struct PskFile {
    file: PathBuf,
    role: Role,
    used: Option<PathBuf>,
}

/// The lines of the file.
type Lines = Vec<Zeroizing<Vec<u8>>>;

impl PskFile {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { file, role, used } = arguments;
        if file.file_name().is_none() {
            bail!("{} names no file", file.display());
        }
        let opened = Self { file: file.clone(), role: *role, used: used.clone() };
        // Whatever is wrong with it, now is the time to say it.
        if let Err(failure) = opened.lock().and_then(|_lock| opened.read()) {
            bail!("{failure}");
        }
        Ok(opened)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.file.file_name().unwrap_or_default());
        name.push(suffix);
        parent(&self.file).join(name)
    }

    /// One process alone changes the file at a time.
    fn lock(&self) -> Result<File, Failure> {
        let directory = parent(&self.file);
        let metadata = fs::metadata(directory).map_err(|error| away(directory, &error))?;
        let us = rustix::process::geteuid().as_raw();
        if metadata.mode() & 0o022 != 0 || ![0, us].contains(&metadata.uid()) {
            return Err(Failure::Refused(format!(
                "others may write to {}: put the file into a directory of yours",
                directory.display()
            )));
        }
        let path = self.beside(".lock");
        let file = options().create(true).open(&path).map_err(|error| away(&path, &error))?;
        file.lock().map_err(|error| away(&path, &error))?;
        Ok(file)
    }

    /// The lines of the file, which need not exist. It is ours alone, and no link.
    fn read(&self) -> Result<Lines, Failure> {
        let file = match options().open(&self.file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(|error| away(&self.file, &error))?,
        };
        let metadata = file.metadata().map_err(|error| away(&self.file, &error))?;
        let us = rustix::process::geteuid().as_raw();
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 || metadata.uid() != us {
            return Err(Failure::Refused(format!(
                "{} is not yours alone: make it a file of yours, with mode 600, or remove it",
                self.file.display()
            )));
        }
        if metadata.len() > LONGEST {
            return Err(Failure::Refused(format!("{} is too long for a file of keys", self.file.display())));
        }
        let mut octets = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or_default()));
        file.take(LONGEST).read_to_end(&mut octets).map_err(|error| away(&self.file, &error))?;
        let lines = octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| Zeroizing::new(line.to_vec())).collect())
    }

    /// Puts other lines in the place of the file.
    fn write(&self, lines: &Lines) -> Result<(), Failure> {
        let new = self.beside(".new");
        let write = || -> std::io::Result<()> {
            // Of an earlier end of the program: the lock is ours.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = options().create_new(true).open(&new)?;
            for line in lines {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            file.sync_all()?;
            fs::rename(&new, &self.file)
        };
        write().map_err(|error| away(&self.file, &error))?;
        sync_directory(parent(&self.file)).map_err(|error| Failure::Away(error.to_string()))
    }

    /// Changes the lines, under the lock, and writes them if they are others then.
    fn change(&self, change: impl FnOnce(&mut Lines)) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let mut lines = self.read()?;
        let before = lines.clone();
        change(&mut lines);
        if lines == before { Ok(()) } else { self.write(&lines) }
    }
}

fn away(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Away(format!("{}: {error}", path.display()))
}

/// To read and write, private if it is made, and never through a link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    options
}

fn line(key: Known<'_>) -> Zeroizing<Vec<u8>> {
    let text = hexadecimal(key.material.secret.expose());
    let name = key.material.name.as_bytes();
    let len = name.len().saturating_add(text.len()).saturating_add(1);
    let mut line = Zeroizing::new(Vec::with_capacity(len));
    line.extend_from_slice(name);
    line.push(b':');
    line.extend_from_slice(text.as_bytes());
    line
}

/// Whether a line has this name, whatever its key.
fn is_of(line: &[u8], name: &str) -> bool {
    line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
}

/// Whether a line is this key's. In constant time: whoever wrote the line may watch.
fn is_key(there: &[u8], key: Known<'_>) -> bool {
    let digits = |line: &[u8]| {
        let place = key.material.name.len().saturating_add(1);
        line.get(place..).and_then(SecretBytes::<64>::try_copied_from)
    };
    is_of(there, &key.material.name) && digits(there).is_some() && digits(there) == digits(&line(key))
}

impl Consumer for PskFile {
    fn name(&self) -> String {
        format!("TLS {}", self.file.display())
    }

    fn target(&self) -> Option<String> {
        Some(path_target("psk-file", &self.file, ""))
    }

    fn derive(&self, exporter: &mut Exporter, _: u64) -> Result<Material> {
        let client = if self.role == Role::Client { exporter.end() } else { exporter.end().other() };
        let psk = exporter.tls13_psk(0, client, TlsHash::Sha256, TlsUse::KeyAlone)?;
        let secret = SecretVec::copied_from(psk.psk().expose());
        Ok(Material { name: psk.identity().to_string(), secret })
    }

    fn install(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.change(|lines| {
            let place = lines.iter().position(|line| is_of(line, &key.material.name));
            match place.and_then(|place| lines.get_mut(place)) {
                Some(there) => *there = line(key),
                None => lines.push(line(key)),
            }
        })
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.change(|lines| {
            lines.retain(|line| !is_of(line, &key.material.name));
            lines.insert(0, line(key));
        })
    }

    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let Some(used) = &self.used else { return Ok(false) };
        let text = match fs::read(used) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            text => text.map_err(|error| away(used, &error))?,
        };
        Ok(text.trim_ascii() == key.material.name.as_bytes())
    }

    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.change(|lines| lines.retain(|line| !is_of(line, &key.material.name)))
    }

    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        let lines = {
            let _lock = self.lock()?;
            self.read()?
        };
        let there = |key: &&Known<'_>| lines.iter().any(|line| is_key(line, **key));
        let generations: Vec<u64> = known.iter().filter(there).map(|key| key.generation).collect();
        // The first of ours: what others put before it is for other links.
        let ours = lines.iter().find_map(|line| known.iter().find(|key| is_key(line, **key)));
        Ok(Holding { generations, transmitting: ours.map(|key| key.generation) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn material(name: &str, octet: u8) -> Material {
        Material { name: name.to_owned(), secret: SecretVec::copied_from(&[octet; 32]) }
    }

    fn known(generation: u64, material: &Material) -> Known<'_> {
        Known { generation, material }
    }

    fn consumer(directory: &Path) -> Result<PskFile> {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        PskFile::open(&Arguments { file: directory.join("psk"), role: Role::Server, used: None })
    }

    #[test]
    fn the_key_to_offer_stands_first_and_lines_of_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mut consumer = consumer(directory.path()).unwrap();
        let path = directory.path().join("psk");
        let (one, two) = (material("skex-1", 0x11), material("skex-2", 0x22));
        let (one, two) = (known(1, &one), known(2, &two));
        consumer.install(one).unwrap();
        consumer.switch_transmit(one).unwrap();
        let foreign = format!("{}other:00\n", fs::read_to_string(&path).unwrap());
        fs::write(&path, foreign).unwrap();
        consumer.install(two).unwrap();
        let holding = |consumer: &mut PskFile| consumer.holding(&[one, two]).unwrap();
        assert_eq!(holding(&mut consumer), Holding { generations: vec![1, 2], transmitting: Some(1) });
        consumer.switch_transmit(two).unwrap();
        assert_eq!(holding(&mut consumer), Holding { generations: vec![1, 2], transmitting: Some(2) });
        consumer.retire(one).unwrap();
        consumer.retire(one).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("skex-2:{}\nother:00\n", "22".repeat(32)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn a_key_that_somebody_changed_is_not_held() {
        let directory = tempfile::tempdir().unwrap();
        let mut consumer = consumer(directory.path()).unwrap();
        let one = material("skex-1", 0x11);
        consumer.install(known(1, &one)).unwrap();
        let path = directory.path().join("psk");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("11", "12")).unwrap();
        assert_eq!(consumer.holding(&[known(1, &one)]).unwrap(), Holding::default());
        consumer.install(known(1, &one)).unwrap();
        assert_eq!(consumer.holding(&[known(1, &one)]).unwrap().generations, [1]);
    }

    #[test]
    fn a_link_a_file_of_others_and_a_directory_of_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("psk");
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(consumer(directory.path()).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(consumer(directory.path()).err().unwrap().to_string().contains("not yours alone"));
        fs::remove_file(&path).unwrap();
        // What would be written through, were it followed.
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(".psk.new")).unwrap();
        let one = material("skex-1", 0x11);
        consumer(directory.path()).unwrap().install(known(1, &one)).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let open = PskFile::open(&Arguments { file: path, role: Role::Client, used: None });
        assert!(open.err().unwrap().to_string().contains("others may write"));
    }

    #[test]
    fn two_links_that_share_a_file_lose_no_line() {
        let directory = tempfile::tempdir().unwrap();
        drop(consumer(directory.path()).unwrap());
        std::thread::scope(|scope| {
            for link in 0..4_u8 {
                let mut consumer = consumer(directory.path()).unwrap();
                scope.spawn(move || {
                    for number in 0..10 {
                        let material = material(&format!("skex-{link}-{number}"), link);
                        consumer.install(known(number, &material)).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(directory.path().join("psk")).unwrap();
        assert_eq!(text.lines().count(), 40);
    }
}
