//! MACsec with MKA (IEEE 802.1X): a `wpa_supplicant`, by its control socket.
//!
//! It has one connectivity association key an interface. So a generation is installed when the feed has its key and the program
//! answers, and set when it is switched to. The change makes a new MACsec interface, without addresses, and MKA begins anew: the
//! link is down for some seconds.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use anyhow::{Result, bail};
use skex_core::SecretVec;
use skex_core::export::{CKN_LEN, Exporter, MacsecKeyLen};
use zeroize::Zeroizing;

use super::hexadecimal::hexadecimal;
use super::program::run;
use super::{Consumer, Failure, Holding, Known, Material, path_target};

/// Feed a wpa_supplicant that runs MKA with a pre-shared CAK and its CKN.
///
/// In its configuration the network has no CAK, and `disabled=1`: it is enabled with its first key. A change of the key takes the
/// link down for some seconds, because wpa_supplicant has one CAK an interface.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The control socket: the interface's name in the directory that `ctrl_interface` names.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// Which network of the configuration.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    network: u32,
    /// The MACsec interface that it makes.
    #[arg(long, value_name = "NAME", default_value = "macsec0")]
    interface: String,
    /// An address that the MACsec interface gets each time it is made anew.
    #[arg(long = "address", value_name = "ADDRESS/PREFIX")]
    addresses: Vec<String>,
    /// The program that gives the addresses, where it is not called `ip`.
    #[arg(long, value_name = "PROGRAM", default_value = "ip")]
    ip: String,
}

pub(super) struct Mka {
    control: PathBuf,
    network: u32,
    interface: String,
    addresses: Vec<String>,
    ip: String,
    /// The CKN that was set last, and when.
    set: Option<(String, Instant)>,
}

impl Mka {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { control, network, interface, addresses, ip } = arguments;
        let begins_badly = |text: &String| text.starts_with('-') || text.is_empty();
        if begins_badly(interface) || interface.len() > 15 {
            bail!("{interface:?} is no name of an interface: it has 1 to 15 characters");
        }
        if let Some(address) = addresses.iter().find(|address| begins_badly(address)) {
            bail!("{address:?} is no address");
        }
        Ok(Self {
            control: control.clone(),
            network: *network,
            interface: interface.clone(),
            addresses: addresses.clone(),
            ip: ip.clone(),
            set: None,
        })
    }

    fn socket(&self) -> Result<Socket, Failure> {
        Socket::open(&self.control)
            .map_err(|error| Failure::Away(format!("{}: {error}", self.control.display())))
    }

    /// While the program begins anew with what was set, it shows no CKN: what was set counts.
    fn status(&self) -> Result<Status, Failure> {
        let mut status = Status::read(&self.socket()?.ask("STATUS")?);
        let set = self.set.as_ref().filter(|(_, at)| at.elapsed() < SETTLING);
        if let (None, Some((ckn, _))) = (&status.ckn, set) {
            status.ckn = Some(ckn.clone());
        }
        Ok(status)
    }

    /// Whether there is a MACsec interface of this name, whoever made it.
    fn has_interface(&self) -> bool {
        let show = ["link", "show", "dev", &self.interface, "type", "macsec"];
        run(&self.ip, &show, None).is_ok_and(|shown| !shown.trim_ascii().is_empty())
    }

    /// A wpa_supplicant that was killed leaves its interface behind, with the peer's receive channel. The next one takes the
    /// interface, cannot make the channel again, and discards the peer. If it cannot be removed, the key is set all the same.
    fn clear(&self) {
        if self.has_interface() {
            let _tried = run(&self.ip, &["link", "delete", "dev", &self.interface], None);
        }
    }

    /// A MACsec interface that was made anew is down and has no address.
    fn address(&self) -> Result<(), Failure> {
        if self.addresses.is_empty() || !self.has_interface() {
            return Ok(());
        }
        for address in &self.addresses {
            run(&self.ip, &["address", "replace", address, "dev", &self.interface], None)?;
        }
        run(&self.ip, &["link", "set", "dev", &self.interface, "up"], None).map(drop)
    }
}

impl Consumer for Mka {
    fn name(&self) -> String {
        format!("MKA at {}", self.control.display())
    }

    fn target(&self) -> Option<String> {
        Some(path_target("mka", &self.control, &self.network.to_string()))
    }

    fn derive(&self, exporter: &mut Exporter, _: u64) -> Result<Material> {
        let cak = exporter.macsec_cak(0, MacsecKeyLen::Octets32)?;
        Ok(Material { name: hex::encode(cak.ckn()), secret: SecretVec::copied_from(cak.expose_cak()) })
    }

    fn install(&mut self, _: Known<'_>) -> Result<(), Failure> {
        self.status().map(drop)
    }

    /// Nothing is set again that is set: it would take the link down once more.
    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let (cak, ckn) = keys(key.material)?;
        let status = self.status()?;
        if status.ckn.as_deref() == Some(ckn) {
            return Ok(());
        }
        if status.ckn.is_none() {
            self.clear();
        }
        let (socket, network) = (self.socket()?, self.network);
        let digits = hexadecimal(cak);
        // Of the full size from the beginning: what grows leaves copies behind.
        let mut command = Zeroizing::new(String::with_capacity(256));
        for part in ["SET_NETWORK ", &network.to_string(), " mka_cak ", &digits] {
            command.push_str(part);
        }
        socket.order(&command)?;
        socket.order(&format!("SET_NETWORK {network} mka_ckn {ckn}"))?;
        // The first enables, and connects; the second connects where it was enabled before.
        socket.order(&format!("ENABLE_NETWORK {network}"))?;
        socket.order("REASSOCIATE")?;
        self.set = Some((ckn.to_owned(), Instant::now()));
        Ok(())
    }

    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let (_, ckn) = keys(key.material)?;
        self.address()?;
        let status = self.status()?;
        Ok(status.secured && status.ckn.as_deref() == Some(ckn))
    }

    fn retire(&mut self, _: Known<'_>) -> Result<(), Failure> {
        // It went when another was set.
        Ok(())
    }

    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        let status = self.status()?;
        self.address()?;
        let set = |known: &&Known<'_>| status.ckn.as_deref() == Some(known.material.name.as_str());
        let transmitting = known.iter().find(set).map(|known| known.generation);
        Ok(Holding { generations: known.iter().map(|known| known.generation).collect(), transmitting })
    }
}

/// The CAK and the CKN, which is the material's name.
fn keys(material: &Material) -> Result<(&[u8; 32], &str), Failure> {
    let is_ckn = material.name.len() == CKN_LEN.saturating_mul(2)
        && material.name.bytes().all(|octet| octet.is_ascii_hexdigit());
    let cak = material.secret.expose().try_into().ok().filter(|_| is_ckn);
    let cak = cak.ok_or_else(|| Failure::Refused("the stored key is not one for MKA".to_owned()))?;
    Ok((cak, &material.name))
}

/// What `STATUS` tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    secured: bool,
    /// Of the association that there is.
    ckn: Option<String>,
}

impl Status {
    fn read(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("Secured", value)) => status.secured = value == "Yes",
                Some(("ckn", value)) => status.ckn = Some(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        status
    }
}

/// How long it may take until it shows the CKN that was set.
const SETTLING: Duration = Duration::from_secs(5);

/// After this an answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells the connections of this process apart.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// A connection to the control socket. This end has a name too, where the answers come, which is in no file system.
struct Socket(UnixDatagram);

impl Socket {
    fn open(control: &Path) -> std::io::Result<Self> {
        let name = format!("skex-mka-{}-{}", process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        // From here on nobody else's datagrams come in.
        socket.connect(control)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    fn ask(&self, command: &str) -> Result<String, Failure> {
        let away = |error: std::io::Error| Failure::Away(format!("wpa_supplicant does not answer: {error}"));
        self.0.send(command.as_bytes()).map_err(away)?;
        let mut answer = [0; 8192];
        let len = self.0.recv(&mut answer).map_err(away)?;
        Ok(String::from_utf8_lossy(answer.get(..len).unwrap_or_default()).into_owned())
    }

    /// The answer is not quoted, and neither is the command: it may hold a key.
    fn order(&self, command: &str) -> Result<(), Failure> {
        if self.ask(command)?.trim_end() == "OK" {
            return Ok(());
        }
        let verb = command.split(' ').next().unwrap_or_default();
        Err(Failure::Refused(format!(
            "wpa_supplicant does not take {verb}: is the network in its configuration?"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread;

    #[test]
    fn a_status_tells_whether_it_is_secured_and_under_which_name() {
        let text = "wpa_state=COMPLETED\nSecured=Yes\nactor_sci=02:00@1\nckn=00FF\n";
        assert_eq!(Status::read(text), Status { secured: true, ckn: Some("00ff".to_owned()) });
        assert_eq!(Status::read("wpa_state=DISCONNECTED\nSecured=No\n"), Status::default());
    }

    #[test]
    fn what_wpa_supplicant_refuses_is_told_without_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let control = directory.path().join("e0");
        let daemon = UnixDatagram::bind(&control).unwrap();
        let answering = thread::spawn(move || {
            let mut command = [0; 256];
            let (len, from) = daemon.recv_from(&mut command).unwrap();
            daemon.send_to_addr(b"FAIL\n", &from).unwrap();
            String::from_utf8(command[..len].to_vec()).unwrap()
        });
        let socket = Socket::open(&control).unwrap();
        let refused = socket.order("SET_NETWORK 0 mka_cak swordfish").unwrap_err().to_string();
        assert!(refused.contains("SET_NETWORK") && !refused.contains("swordfish"), "{refused}");
        assert_eq!(answering.join().unwrap(), "SET_NETWORK 0 mka_cak swordfish");
    }

    fn mka(control: PathBuf, ip: &str) -> Mka {
        let interface = "macsec0".to_owned();
        Mka::open(&Arguments { control, network: 0, interface, addresses: Vec::new(), ip: ip.to_owned() })
            .unwrap()
    }

    #[test]
    fn a_daemon_that_is_not_there_is_away() {
        let directory = tempfile::tempdir().unwrap();
        let mut mka = mka(directory.path().join("nobody"), "ip");
        assert!(matches!(mka.holding(&[]), Err(Failure::Away(_))));
    }

    /// What `ip` was told to do when a key is set where `STATUS` shows this.
    fn ip_is_told(status: &'static str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (control, ip) = (directory.path().join("e0"), directory.path().join("ip"));
        let script = "#!/bin/sh\necho \"$@\" >>\"$0.told\"\necho 7: macsec0\n";
        // Written by another process: where this one has it open to write and a test beside forks, it cannot be run ("text file busy").
        let write = "printf %s \"$1\" >\"$0\" && chmod 700 \"$0\"";
        run("sh", &["-c", write, ip.to_str().unwrap(), script], None).unwrap();
        let daemon = UnixDatagram::bind(&control).unwrap();
        let answering = thread::spawn(move || {
            let mut command = [0; 256];
            loop {
                let (len, from) = daemon.recv_from(&mut command).unwrap();
                let told = &command[..len];
                daemon
                    .send_to_addr(if told == b"STATUS" { status.as_bytes() } else { b"OK\n" }, &from)
                    .unwrap();
                if told == b"REASSOCIATE" {
                    return;
                }
            }
        });
        let material = Material { name: "ab".repeat(CKN_LEN), secret: SecretVec::copied_from(&[7; 32]) };
        let mut mka = mka(control, ip.to_str().unwrap());
        mka.switch_transmit(Known { generation: 1, material: &material }).unwrap();
        answering.join().unwrap();
        fs::read_to_string(directory.path().join("ip.told")).unwrap_or_default()
    }

    #[test]
    fn the_interface_of_one_that_was_killed_is_removed_and_that_of_one_that_runs_is_not() {
        let told = ip_is_told("wpa_state=DISCONNECTED\n");
        assert_eq!(told, "link show dev macsec0 type macsec\nlink delete dev macsec0\n");
        assert_eq!(ip_is_told("Secured=Yes\nckn=00ff\n"), "");
    }
}
