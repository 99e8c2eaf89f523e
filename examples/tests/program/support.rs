//! Running the program, and looking at what it left.

use core::time::Duration;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Far more than anything here takes; only a program that hangs gets there.
const LIMIT: Duration = Duration::from_secs(120);

/// How a command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    /// It failed, and its complaint says all of this.
    #[track_caller]
    pub(crate) fn refused(self, says: &[&str]) -> Self {
        assert!(!matches!(self.code, Some(0) | None), "it should have failed\n{}\n{}", self.out, self.err);
        assert!(self.err.contains("skex: "), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in says {
            assert!(self.err.contains(part), "{part:?} is missing in: {}", self.err);
        }
        self
    }
}

/// A process that ends with the test at the latest.
pub(crate) struct Running {
    process: Child,
    lines: Receiver<String>,
    seen: String,
    complaints: Receiver<String>,
}

pub(crate) fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Running {
    spawn(Command::new(env!("CARGO_BIN_EXE_skex")).args(arguments))
}

/// With so many files open at most.
pub(crate) fn start_limited<A: AsRef<OsStr>>(files: u32, arguments: impl IntoIterator<Item = A>) -> Running {
    let limited = format!("ulimit -n {files} && exec \"$@\"");
    spawn(Command::new("sh").args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_skex")]).args(arguments))
}

/// With files of 256 KiB at most: a longer one cannot be overwritten.
pub(crate) fn start_with_short_files<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Running {
    let limited = "trap '' XFSZ && ulimit -f 256 && exec \"$@\"";
    spawn(Command::new("sh").args(["-c", limited, "sh", env!("CARGO_BIN_EXE_skex")]).args(arguments))
}

fn spawn(command: &mut Command) -> Running {
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, mut err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    let (line, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|text| line.send(text))
    });
    let (complaint, complaints) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        complaint.send(text)
    });
    Running { process, lines, seen: String::new(), complaints }
}

impl Running {
    /// The next line that contains this.
    #[track_caller]
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line =
                line.unwrap_or_else(|error| panic!("{part:?} never came ({error}) after:\n{}", self.seen));
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits until it has said all of this since its start, in whatever order.
    #[track_caller]
    pub(crate) fn said(&mut self, parts: &[&str]) {
        for part in parts {
            if !self.seen.contains(part) {
                self.line_with(part);
            }
        }
    }

    /// Where it listens.
    #[track_caller]
    pub(crate) fn address(&mut self) -> String {
        self.line_with("listens on").rsplit(' ').next().unwrap().to_owned()
    }

    pub(crate) fn order(&mut self, order: &str) {
        use std::io::Write as _;
        writeln!(self.process.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("it did not end ({error}) after:\n{}", self.seen),
            }
        }
        let code = self.process.wait().unwrap().code();
        let err = self.complaints.recv_timeout(LIMIT).unwrap();
        Ended { code, out: core::mem::take(&mut self.seen), err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    start(arguments).end()
}

/// Hubs and the clients alice and bob, provisioned in a directory that goes with the test. With `SKEX_SHARDS` in the environment each
/// hub has so many shards.
pub(crate) struct Network {
    directory: tempfile::TempDir,
    hubs: usize,
}

impl Network {
    pub(crate) fn new(hubs: usize, table_size: &str) -> Self {
        Self::with_clients("alice,bob", hubs, table_size)
    }

    pub(crate) fn with_clients(clients: &str, hubs: usize, table_size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("net");
        let hub_count = hubs.to_string();
        let made = run([
            "provision",
            "--out",
            text(&out),
            "--hubs",
            &hub_count,
            "--clients",
            clients,
            "--table-size",
            table_size,
        ]);
        made.succeeded();
        let network = Self { directory, hubs };
        if let Some(shards) = std::env::var("SKEX_SHARDS").ok().and_then(|shards| shards.parse().ok()) {
            (1..=hubs).for_each(|number| network.set_shards(number, shards));
        }
        network
    }

    /// As if the hub had been started with `--shards`.
    pub(crate) fn set_shards(&self, number: usize, shards: u16) {
        let path = self.of(&format!("hub-{number}")).join("skex.json");
        let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        file["shards"] = shards.into();
        std::fs::write(path, serde_json::to_vec_pretty(&file).unwrap()).unwrap();
    }

    /// A hub's log, of its first shard if it has several.
    pub(crate) fn log_of(&self, number: usize) -> PathBuf {
        let own = self.of(&format!("hub-{number}"));
        let of_shard = own.join("state-0.log");
        if of_shard.exists() { of_shard } else { own.join("state.log") }
    }

    /// A party's directory.
    pub(crate) fn of(&self, party: &str) -> PathBuf {
        self.directory.path().join("net").join(party)
    }

    /// A place beside the parties.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start_hub(&self, number: usize, options: &[&str]) -> (Running, String) {
        let own = self.of(&format!("hub-{number}"));
        let arguments = ["hub", "--dir", text(&own), "--listen", "127.0.0.1:0"];
        let mut hub = start(arguments.iter().chain(options));
        let address = hub.address();
        (hub, address)
    }

    /// All hubs, honest.
    pub(crate) fn start_hubs(&self) -> (Vec<Running>, Vec<String>) {
        (1..=self.hubs).map(|number| self.start_hub(number, &[])).unzip()
    }

    /// An initial key from outside for one end of a link.
    pub(crate) fn new_key(&self, party: &str, link: &str, how: &str, file: &Path) -> Ended {
        run(["provision", "key", "--dir", text(&self.of(party)), "--link", link, how, text(file)])
    }

    /// A client's command, with the addresses of the hubs.
    pub(crate) fn client(&self, name: &str, hubs: &[String], action: &[&str]) -> Vec<String> {
        let own = self.of(name);
        let mut arguments: Vec<String> =
            ["client", "--dir", text(&own), "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
        for (number, address) in (1..).zip(hubs) {
            arguments.extend(["--hub-address".to_owned(), format!("hub-{number}={address}")]);
        }
        arguments.extend(action.iter().map(|word| (*word).to_owned()));
        arguments
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file below a directory, but for the lock.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.file_name() != Some(OsStr::new("lock")) {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// The tables alone.
pub(crate) fn tables(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files(directory);
    files.retain(|path, _| path.extension() == Some(OsStr::new("table")));
    assert!(!files.is_empty());
    files
}

/// What follows this word in what a command said.
pub(crate) fn after<'a>(said: &'a str, word: &str) -> &'a str {
    let line = said.lines().find(|line| line.trim_start().starts_with(word));
    line.unwrap_or_else(|| panic!("no {word:?} in:\n{said}")).trim_start()[word.len()..].trim()
}
