//! BGP under TCP-AO: the daemon BIRD, from 2.17 or 3.1 on, by a file that its configuration includes and its control socket.
//!
//! ```text
//! protocol bgp NAME { ... include "FILE"; }
//! ```
//!
//! The file holds one key a line, and is replaced as a whole. Without a key that both ends hold it disables the protocol, so that no
//! session comes up without authentication.

use core::fmt::Write as _;
use core::time::Duration;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use skex_core::export::Exporter;
use zeroize::Zeroizing;

use super::hexadecimal::hexadecimal;
use super::tcp_ao::{Algorithm, AlgorithmArgument, MasterKey};
use super::{Consumer, Failure, Holding, Known, Material, path_target};
use crate::store::atomic::replace_private;

/// Feed a BGP session of BIRD with TCP-AO keys.
///
/// In BIRD's configuration the protocol includes the file that is named here: `include "FILE";`, on a line of its own. Start
/// this program once before BIRD: it makes the file. The session stays up while keys change.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file of keys. It belongs to this program and is readable by its user alone: let that be BIRD's.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// BIRD's control socket.
    #[arg(long, value_name = "SOCKET", default_value = "/run/bird/bird.ctl")]
    control: PathBuf,
    /// The protocol's name in BIRD's configuration.
    #[arg(long, value_name = "NAME")]
    protocol: String,
    #[command(flatten)]
    algorithm: AlgorithmArgument,
}

pub(super) struct Bird {
    keys: PathBuf,
    control: PathBuf,
    protocol: String,
    algorithm: AlgorithmArgument,
    /// BIRD is known to have read the file as it is.
    is_read: bool,
}

impl Bird {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { keys, control, protocol, algorithm } = arguments;
        let named = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
        if protocol.is_empty() || !protocol.bytes().all(named) {
            bail!("{protocol:?} is no name of a protocol: letters, digits and _");
        }
        let bird = Self {
            keys: keys.clone(),
            control: control.clone(),
            protocol: protocol.clone(),
            algorithm: *algorithm,
            is_read: false,
        };
        if !keys.try_exists().unwrap_or(true) {
            replace_private(keys, Lines::default().text().as_bytes())
                .with_context(|| format!("cannot make {}", keys.display()))?;
        }
        Ok(bird)
    }

    fn lines(&self) -> Result<Lines, Failure> {
        let text = fs::read_to_string(&self.keys)
            .map_err(|error| Failure::Away(format!("cannot read {}: {error}", self.keys.display())))?;
        Ok(Lines::read(&Zeroizing::new(text)))
    }

    /// Writes the file, and lets BIRD read it. It is there for BIRD's next start if BIRD is away, and as it was if BIRD refuses.
    fn write(&mut self, lines: &Lines) -> Result<(), Failure> {
        let before = self.lines()?;
        self.is_read = false;
        self.replace(lines)?;
        let done = self.read();
        if matches!(done, Err(Failure::Refused(_))) {
            self.replace(&before)?;
        }
        done
    }

    fn replace(&self, lines: &Lines) -> Result<(), Failure> {
        replace_private(&self.keys, lines.text().as_bytes())
            .map_err(|error| Failure::Refused(format!("cannot write {}: {error}", self.keys.display())))
    }

    fn read(&mut self) -> Result<(), Failure> {
        let answer = self.ask("configure")?;
        // Reconfigured; under way; queued behind one that is under way.
        if !answer.has_code(&["0003", "0004", "0018"]) {
            return Err(Failure::Refused(
                "BIRD does not take its configuration: see `birdc configure`".to_owned(),
            ));
        }
        self.is_read = true;
        Ok(())
    }

    fn ask(&self, command: &str) -> Result<Answer, Failure> {
        let away =
            |error: std::io::Error| Failure::Away(format!("BIRD at {}: {error}", self.control.display()));
        let mut socket = UnixStream::connect(&self.control).map_err(away)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(away)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(away)?;
        let _greeting = Answer::read(&mut socket).map_err(away)?;
        socket.write_all(format!("{command}\n").as_bytes()).map_err(away)?;
        Answer::read(&mut socket).map_err(away)
    }

    /// SendID and RecvID that the session uses, if it is up.
    fn session(&self) -> Result<Option<[u8; 2]>, Failure> {
        let answer = self.ask(&format!("show protocols all {}", self.protocol))?;
        if !answer.has_code(&["1002"]) {
            return Err(Failure::Away(format!("BIRD has no protocol {}", self.protocol)));
        }
        Ok(answer.number("Current key:").zip(answer.number("RNext key:")).map(<[u8; 2]>::from))
    }
}

impl Consumer for Bird {
    fn name(&self) -> String {
        format!("BGP of BIRD, {}", self.protocol)
    }

    fn target(&self) -> Option<String> {
        Some(path_target("bird", &self.keys, ""))
    }

    fn derive(&self, exporter: &mut Exporter, generation: u64) -> Result<Material> {
        self.algorithm.derive(exporter, generation)
    }

    fn install(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let mut lines = self.lines()?;
        let master = MasterKey::of(key.material)?;
        let ids = format!("send id {}; recv id {};", master.send_id, master.recv_id);
        if !lines.0.iter().any(|line| line.name == key.material.name) {
            if lines.0.iter().any(|line| line.body.contains(&ids)) {
                return Err(Failure::Refused(format!("another key has {ids} still")));
            }
            lines.0.push(Line::new(key, master));
        }
        self.write(&lines)
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let mut lines = self.lines()?;
        if !lines.0.iter().any(|line| line.name == key.material.name) {
            return Err(Failure::Refused("the file of keys lacks the key".to_owned()));
        }
        for line in &mut lines.0 {
            line.is_preferred = line.name == key.material.name;
        }
        self.write(&lines)
    }

    /// The session sends with it, as the other end asked for it.
    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let master = MasterKey::of(key.material)?;
        Ok(self.session()? == Some([master.send_id, master.recv_id]))
    }

    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let mut lines = self.lines()?;
        if lines.0.iter().any(|line| line.is_preferred && line.name == key.material.name) {
            return Err(Failure::Refused("it is the key that is transmitted with".to_owned()));
        }
        lines.0.retain(|line| line.name != key.material.name);
        self.write(&lines)
    }

    /// What is in the file, once BIRD has read it.
    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        if self.is_read {
            self.session()?;
        } else {
            self.read()?;
        }
        let lines = self.lines()?;
        let line = |known: &Known<'_>| lines.0.iter().find(|line| line.name == known.material.name);
        let there = known.iter().filter(|known| line(known).is_some());
        let preferred = known.iter().find(|known| line(known).is_some_and(|line| line.is_preferred));
        Ok(Holding {
            generations: there.map(|known| known.generation).collect(),
            transmitting: preferred.map(|known| known.generation),
        })
    }
}

/// The file of keys.
#[derive(Default)]
struct Lines(Vec<Line>);

/// One key.
struct Line {
    /// From the ids to the algorithm, as BIRD reads it.
    body: Zeroizing<String>,
    /// The key that BIRD asks the other end to send with.
    is_preferred: bool,
    name: String,
}

const DISABLED: &str = "disabled yes;";

impl Line {
    fn new(key: Known<'_>, master: MasterKey<'_>) -> Self {
        let MasterKey { send_id, recv_id, algorithm, key: octets } = master;
        let algorithm = match algorithm {
            Algorithm::HmacSha1 => "hmac sha1",
            Algorithm::Aes128Cmac => "cmac aes128",
        };
        // Of the full size from the beginning: what grows leaves copies behind.
        let mut body = Zeroizing::new(String::with_capacity(256));
        let secret = hexadecimal(octets);
        let secret = secret.as_str();
        // Writing to a string cannot fail.
        let _ = write!(body, "send id {send_id}; recv id {recv_id}; secret {secret}; algorithm {algorithm};");
        Self { body, is_preferred: false, name: key.material.name.clone() }
    }

    /// `key { BODY preferred; }; # NAME`
    fn read(text: &str) -> Option<Self> {
        let (body, name) = text.trim().strip_prefix("key { ")?.rsplit_once(" }; # ")?;
        let (body, is_preferred) = match body.strip_suffix(PREFERRED) {
            Some(body) => (body, true),
            None => (body.strip_suffix(DEPRECATED).unwrap_or(body), false),
        };
        Some(Self { body: Zeroizing::new(body.to_owned()), is_preferred, name: name.to_owned() })
    }
}

const PREFERRED: &str = " preferred;";
const DEPRECATED: &str = " deprecated;";

impl Lines {
    fn read(text: &str) -> Self {
        Self(text.lines().filter_map(Line::read).collect())
    }

    /// A key that is not preferred is deprecated: accepted, and not asked for.
    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(4096));
        text.push_str("# Keys of this link. Written by skex, which replaces the file.\n");
        if !self.0.iter().any(|line| line.is_preferred) {
            text.push_str(DISABLED);
            text.push('\n');
        }
        if self.0.is_empty() {
            return text;
        }
        text.push_str("authentication ao;\nkeys {\n");
        for line in &self.0 {
            let status = if line.is_preferred { PREFERRED } else { DEPRECATED };
            for part in ["    key { ", &line.body, status, " }; # ", &line.name, "\n"] {
                text.push_str(part);
            }
        }
        text.push_str("};\n");
        text
    }
}

/// After this an answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// More is no answer.
const LONGEST: usize = 1 << 20;

/// Lines that begin with a code of four digits, or with a space where it is the same; the last one has a space behind its code.
struct Answer(String);

impl Answer {
    fn read(socket: &mut UnixStream) -> std::io::Result<Self> {
        let mut octets = Vec::new();
        let mut buffer = [0; 4096];
        while !is_whole(&octets) && octets.len() < LONGEST {
            match socket.read(&mut buffer)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                len => octets.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            }
        }
        Ok(Self(String::from_utf8_lossy(&octets).into_owned()))
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.0.lines().any(|line| codes.iter().any(|code| line.starts_with(code)))
    }

    fn number(&self, label: &str) -> Option<u8> {
        let line = self.0.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
        line.trim().parse().ok()
    }
}

fn is_whole(octets: &[u8]) -> bool {
    let Some(lines) = octets.strip_suffix(b"\n") else { return false };
    let last = lines.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
    last.first_chunk::<4>().is_some_and(|code| code.iter().all(u8::is_ascii_digit))
        && last.get(4) == Some(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use skex_core::SecretVec;

    fn material(name: &str) -> Material {
        let mut secret = vec![2, 3, 1];
        secret.extend_from_slice(&[0xab; 32]);
        Material { name: name.to_owned(), secret: SecretVec::from_vec(secret) }
    }

    #[test]
    fn the_file_of_keys_is_read_as_it_was_written() {
        let material = material("00ff");
        let key = Known { generation: 1, material: &material };
        let mut line = Line::new(key, MasterKey::of(&material).unwrap());
        line.is_preferred = true;
        let text = Lines(vec![line]).text();
        let hex = "ab".repeat(32);
        let line =
            format!("send id 2; recv id 3; secret {hex}; algorithm hmac sha1; preferred; }}; # 00ff\n");
        assert!(text.contains(&line), "{}", *text);
        assert_eq!(*Lines::read(&text).text(), *text);
    }

    #[test]
    fn without_a_preferred_key_the_protocol_is_disabled() {
        assert!(Lines::default().text().contains(DISABLED));
        let material = material("00ff");
        let key = Known { generation: 1, material: &material };
        let mut lines = Lines(vec![Line::new(key, MasterKey::of(&material).unwrap())]);
        assert!(lines.text().contains(DISABLED));
        lines.0[0].is_preferred = true;
        assert!(!lines.text().contains(DISABLED));
    }

    #[test]
    fn an_answer_ends_with_a_line_that_has_a_space_behind_its_code() {
        assert!(is_whole(b"0001 BIRD 3.3.2 ready.\n"));
        assert!(is_whole(b"1002-skex BGP\n 2 lines\n0000 \n"));
        assert!(!is_whole(b"1002-skex BGP\n"));
        assert!(!is_whole(b"1002-skex BGP\n 1234 x\n"));
        assert!(!is_whole(b"0001 BIRD"));
        let answer = Answer(
            "1006-    TCP-AO:\n       Current key:    2\n       RNext key:      3\n0000 \n".to_owned(),
        );
        assert_eq!(answer.number("Current key:").zip(answer.number("RNext key:")), Some((2, 3)));
        assert!(answer.has_code(&["1006"]) && !answer.has_code(&["0003"]));
    }
}
