//! Hubs, two KMEs and certificates, in a directory that goes with them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType,
};

const HUBS: usize = 3;

/// What runs, and where its files are.
pub struct Network {
    directory: tempfile::TempDir,
    processes: Vec<Process>,
}

/// A process that ends with this program at the latest.
struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(skex: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(skex);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", skex.display()))?;
        let out = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, out })
    }

    /// The last word of the line that says this.
    fn told(&mut self, part: &str) -> Result<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line)? > 0 {
            if line.contains(part) {
                return Ok(line.split_whitespace().last().unwrap_or_default().to_owned());
            }
            line.clear();
        }
        bail!("a process ended before it said {part:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a KME answers.
pub struct Kme {
    pub host: String,
    pub port: u16,
}

impl Network {
    /// Provisions and starts everything. SAE sae-a is at the first KME, sae-b and sae-c at the second.
    pub fn start(skex: &Path) -> Result<(Self, [Kme; 2])> {
        let directory = tempfile::tempdir()?;
        let mut network = Self { directory, processes: Vec::new() };
        let out = network.path("net");
        let made = Command::new(skex)
            .args(["provision", "--hubs", &HUBS.to_string(), "--table-size", "1MiB", "--out"])
            .arg(&out)
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            bail!("skex provision failed");
        }
        network.certify("ca", "another-ca")?;
        let mut hubs = Vec::new();
        for number in 1..=HUBS {
            let own = out.join(format!("hub-{number}"));
            let address = network.run(skex, "hub", &own, &[], "listens on")?;
            hubs.extend(["--hub-address".to_owned(), format!("hub-{number}={address}")]);
        }
        let mut kme = |client: &str, name: &str, peer: &str, links: &[[&str; 2]]| -> Result<Kme> {
            let with = if client == "alice" { "bob" } else { "alice" };
            let links: Vec<String> = links
                .iter()
                .map(|[local, remote]| {
                    format!(r#"{{"local_sae": "{local}", "remote_sae": "{remote}", "peer": "{with}"}}"#)
                })
                .collect();
            let settings = format!(
                r#"{{"kme": "{name}", "https": "127.0.0.1:0", "certificate": "../../{name}.pem",
                    "private_key": "../../{name}.key", "client_ca": "../../ca.pem",
                    "peers": [{{"client": "{with}", {peer}}}], "links": [{}]}}"#,
                links.join(", ")
            );
            let directory = out.join(client);
            fs::write(directory.join("kme.json"), settings)?;
            let url = network.run(skex, "kme", &directory, &hubs, "answers SAEs")?;
            let (host, port) = url.trim_start_matches("https://").split_once(':').context("no port")?;
            Ok(Kme { host: host.to_owned(), port: port.parse()? })
        };
        // The second one first: the first one is told where it answers, for additional SAEs.
        let b = kme("bob", "kme-b", r#""kme": "kme-a""#, &[["sae-b", "sae-a"], ["sae-c", "sae-a"]])?;
        let of_b = format!(r#""kme": "kme-b", "https": "{}:{}""#, b.host, b.port);
        let a = kme("alice", "kme-a", &of_b, &[["sae-a", "sae-b"], ["sae-a", "sae-c"]])?;
        let kmes = [a, b];
        Ok((network, kmes))
    }

    fn run(&mut self, skex: &Path, command: &str, own: &Path, more: &[String], says: &str) -> Result<String> {
        let mut arguments = [command, "--dir", &own.display().to_string(), "--listen", "127.0.0.1:0"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend_from_slice(more);
        let mut process = Process::start(skex, &arguments)?;
        let told = process.told(says)?;
        self.processes.push(process);
        Ok(told)
    }

    /// A file of the certificates.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn certify(&self, authority: &str, another: &str) -> Result<()> {
        let names = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let issuer = |name: &str| -> Result<_> {
            let mut params = names(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
            fs::write(self.path(&format!("{name}.pem")), issuer.pem())?;
            Ok(issuer)
        };
        let (good, bad) = (issuer(authority)?, issuer(another)?);
        let issue = |issuer: &CertifiedIssuer<'static, KeyPair>, file: &str, name: &str| -> Result<()> {
            let (mut params, key) = (names(name), KeyPair::generate()?);
            params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
            fs::write(self.path(&format!("{file}.pem")), params.signed_by(&key, issuer)?.pem())?;
            fs::write(self.path(&format!("{file}.key")), key.serialize_pem())?;
            Ok(())
        };
        for name in ["kme-a", "kme-b", "sae-a", "sae-b", "sae-c", "sae-x"] {
            issue(&good, name, name)?;
        }
        // The right name under the wrong authority.
        issue(&bad, "false-sae-a", "sae-a")
    }
}
