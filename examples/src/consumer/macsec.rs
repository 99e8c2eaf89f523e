//! MACsec without a key agreement of its own (IEEE 802.1AE): secure associations of the Linux kernel, by the program `ip`.
//!
//! One key a direction, so that no two ends count packets under one. A key is never installed a second time: packet numbers
//! begin at 1 with each installation, and a nonce that comes twice gives up the authentication key of GCM.

use core::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Deserialize;
use skex_core::SecretVec;
use skex_core::export::{End, Exporter, MacsecKeyLen};
use zeroize::Zeroizing;

use super::hexadecimal::hexadecimal;
use super::program::run;
use super::{Consumer, Failure, Habits, Holding, Known, Material, interface_target};

/// Feed a MACsec interface of Linux with secure association keys, one for each direction, without MKA.
///
/// The interface exists already, with the cipher GCM-AES-256 and no key. Rotation takes the next association number, and
/// loses nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The MACsec interface.
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// The secure channel of the other end: 12 hex digits of its MAC address and 4 of its port.
    #[arg(long, value_name = "SCI")]
    peer_sci: String,
    /// The program, where it is not called `ip`.
    #[arg(long, value_name = "PROGRAM", default_value = "ip")]
    ip: String,
}

pub(super) struct Macsec {
    interface: String,
    peer_sci: u64,
    ip: String,
    /// Key identifiers of the generations that there are, as the kernel shows them: what else is there was left behind.
    ours: Vec<[String; 2]>,
}

impl Macsec {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { interface, peer_sci, ip } = arguments;
        let named = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        if !(1..=15).contains(&interface.len()) || interface.starts_with('-') || !interface.bytes().all(named)
        {
            bail!("{interface:?} is no name of an interface: it has 1 to 15 characters");
        }
        let mut sci = [0; 8];
        if hex::decode_to_slice(peer_sci, &mut sci).is_err() {
            bail!(
                "{peer_sci:?} is no SCI: it has 16 hex digits, as `ip macsec show` prints behind TXSC there"
            );
        }
        let (interface, peer_sci) = (interface.clone(), u64::from_be_bytes(sci));
        Ok(Self { interface, peer_sci, ip: ip.clone(), ours: Vec::new() })
    }

    /// What the kernel has. That there is no such interface is [`Failure::Away`].
    fn shown(&self) -> Result<Shown, Failure> {
        let arguments = ["-json", "-statistics", "macsec", "show", &self.interface];
        let text = run(&self.ip, &arguments, None).map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Away(why) => Failure::Away(why),
        })?;
        let shown: Option<[Shown; 1]> = serde_json::from_slice(&text).ok();
        let [shown] = shown.ok_or_else(|| Failure::Away(format!("{} cannot be read", self.interface)))?;
        Ok(shown)
    }

    /// Carries commands out, in one process. They are read from a pipe: arguments can be seen by everybody.
    fn carry_out(&self, commands: &str) -> Result<(), Failure> {
        if commands.is_empty() {
            return Ok(());
        }
        run(&self.ip, &["-batch", "-"], Some(commands.as_bytes())).map(drop)
    }

    /// What is at an association number and not of a generation that there is goes. It was installed by a run that was cut
    /// off, or by hand.
    fn clear(&self, shown: &Shown, an: u8, commands: &mut String) -> Result<(), Failure> {
        let (transmit, receive) = shown.at(an, self.peer_sci);
        let taken = [transmit, receive].into_iter().flatten();
        if taken.clone().any(|sa| self.ours.as_flattened().contains(&sa.key)) {
            return Err(Failure::Refused(format!("association number {an} is still in use")));
        }
        if transmit.is_some() && shown.encoding_sa == an {
            return Err(Failure::Refused(format!(
                "association number {an} transmits, under a key that is not of this program"
            )));
        }
        self.remove(an, receive, transmit, commands);
        Ok(())
    }

    /// An association that is on cannot be deleted.
    fn remove(
        &self,
        an: u8,
        receive: Option<&Association>,
        transmit: Option<&Association>,
        commands: &mut String,
    ) {
        let (interface, sci) = (&self.interface, self.peer_sci);
        for action in ["set", "del"] {
            let off = if action == "set" { " off" } else { "" };
            if receive.is_some() {
                push(commands, format_args!("macsec {action} {interface} rx sci {sci:016x} sa {an}{off}"));
            }
            if transmit.is_some() {
                push(commands, format_args!("macsec {action} {interface} tx sa {an}{off}"));
            }
        }
    }
}

fn push(commands: &mut String, command: core::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(commands, "{command}");
}

impl Consumer for Macsec {
    fn name(&self) -> String {
        format!("MACsec {}, without MKA", self.interface)
    }

    fn target(&self) -> Option<String> {
        Some(interface_target("macsec", &self.interface, &format!("{:016x}", self.peer_sci)))
    }

    fn habits(&self) -> Habits {
        Habits { reinstall: false, ..Habits::default() }
    }

    fn derive(&self, exporter: &mut Exporter, generation: u64) -> Result<Material> {
        let saks = exporter.macsec_saks(0, generation, MacsecKeyLen::Octets32)?;
        let (transmit, receive) = (saks.transmit(), saks.receive());
        // The same at both ends: the key that end A transmits with.
        let name = if exporter.end() == End::A { transmit.ki() } else { receive.ki() };
        let [sent, received] = [transmit.ki(), receive.ki()].map(|ki| *ki.as_bytes());
        let parts: [&[u8]; 4] = [&sent, &received, transmit.expose_sak(), receive.expose_sak()];
        let secret = SecretVec::from_fn(MATERIAL_LEN, |out| {
            for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
                *to = *from;
            }
        });
        Ok(Material { name: name.to_string(), secret })
    }

    fn install(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let (keys, an) = (Keys::of(key.material)?, association_number(key.generation));
        let shown = self.shown()?;
        if shown.cipher_suite != CIPHER {
            return Err(Failure::Refused(format!("{} is not set up for {CIPHER}", self.interface)));
        }
        // Room for all commands: what grows leaves copies of keys behind.
        let mut commands = Zeroizing::new(String::with_capacity(2048));
        let (interface, sci) = (&self.interface, self.peer_sci);
        if shown.channel(sci).is_none() {
            push(&mut commands, format_args!("macsec add {interface} rx sci {sci:016x}"));
        }
        let (mut transmit, mut receive) = shown.at(an, sci);
        if [transmit, receive].into_iter().flatten().any(|sa| !keys.names().contains(&sa.key)) {
            self.clear(&shown, an, &mut commands)?;
            (transmit, receive) = (None, None);
        }
        if receive.is_none() {
            let (ki, sak) = (hex::encode(keys.receive_ki), hexadecimal(keys.receive));
            let sak = sak.as_str();
            push(
                &mut commands,
                format_args!("macsec add {interface} rx sci {sci:016x} sa {an} pn 1 on key {ki} {sak}"),
            );
        }
        if transmit.is_none() {
            let (ki, sak) = (hex::encode(keys.transmit_ki), hexadecimal(keys.transmit));
            let sak = sak.as_str();
            push(&mut commands, format_args!("macsec add {interface} tx sa {an} pn 1 on key {ki} {sak}"));
        }
        self.carry_out(&commands)?;
        self.ours.push(keys.names());
        Ok(())
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let (keys, an) = (Keys::of(key.material)?, association_number(key.generation));
        if !keys.are_at(an, &self.shown()?, self.peer_sci) {
            return Err(Failure::Refused(format!("association number {an} does not have the key")));
        }
        self.carry_out(&format!("link set {} type macsec encodingsa {an}\n", self.interface))
    }

    /// The other end was heard under the new key.
    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let (keys, an) = (Keys::of(key.material)?, association_number(key.generation));
        let shown = self.shown()?;
        let (_, receive) = shown.at(an, self.peer_sci);
        Ok(keys.are_at(an, &shown, self.peer_sci) && receive.is_some_and(|sa| sa.received > 0))
    }

    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let (keys, an) = (Keys::of(key.material)?, association_number(key.generation));
        let shown = self.shown()?;
        let [transmit_ki, receive_ki] = keys.names();
        let (transmit, receive) = shown.at(an, self.peer_sci);
        let transmit = transmit.filter(|sa| sa.key == transmit_ki);
        if transmit.is_some() && shown.encoding_sa == an {
            return Err(Failure::Refused(format!("association number {an} still transmits")));
        }
        let mut commands = String::new();
        self.remove(an, receive.filter(|sa| sa.key == receive_ki), transmit, &mut commands);
        self.carry_out(&commands)?;
        self.ours.retain(|ours| *ours != keys.names());
        Ok(())
    }

    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        let shown = self.shown()?;
        let mut holding = Holding::default();
        self.ours.clear();
        for each in known {
            let (keys, an) = (Keys::of(each.material)?, association_number(each.generation));
            self.ours.push(keys.names());
            if keys.are_at(an, &shown, self.peer_sci) {
                holding.generations.push(each.generation);
                if shown.encoding_sa == an {
                    holding.transmitting = Some(each.generation);
                }
            }
        }
        Ok(holding)
    }
}

/// As the kernel spells it.
const CIPHER: &str = "GCM-AES-256";

/// Two key identifiers and two keys.
const MATERIAL_LEN: usize = 2 * 16 + 2 * 32;

/// There are four; three generations are held at most.
const fn association_number(generation: u64) -> u8 {
    generation.to_be_bytes()[7] & 3
}

/// What is in the material of a generation.
struct Keys<'a> {
    transmit_ki: &'a [u8; 16],
    receive_ki: &'a [u8; 16],
    transmit: &'a [u8; 32],
    receive: &'a [u8; 32],
}

impl<'a> Keys<'a> {
    fn of(material: &'a Material) -> Result<Self, Failure> {
        let parts = || {
            let octets = material.secret.expose();
            let (transmit_ki, octets) = octets.split_first_chunk()?;
            let (receive_ki, octets) = octets.split_first_chunk()?;
            let (transmit, octets) = octets.split_first_chunk()?;
            let receive = octets.try_into().ok()?;
            Some(Self { transmit_ki, receive_ki, transmit, receive })
        };
        parts().ok_or_else(|| Failure::Refused("the stored key is not one for MACsec".to_owned()))
    }

    /// Of the key that is transmitted with, and of the one that is received with.
    fn names(&self) -> [String; 2] {
        [hex::encode(self.transmit_ki), hex::encode(self.receive_ki)]
    }

    fn are_at(&self, an: u8, shown: &Shown, peer_sci: u64) -> bool {
        let (transmit, receive) = shown.at(an, peer_sci);
        let [transmit_ki, receive_ki] = self.names();
        transmit.is_some_and(|sa| sa.active && sa.key == transmit_ki)
            && receive.is_some_and(|sa| sa.active && sa.key == receive_ki)
    }
}

/// What `ip -json macsec show` tells of an interface.
#[derive(Debug, Deserialize)]
struct Shown {
    encoding_sa: u8,
    cipher_suite: String,
    #[serde(default)]
    sa_list: Vec<Association>,
    #[serde(default)]
    rx_sc: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    sci: String,
    #[serde(default)]
    sa_list: Vec<Association>,
}

#[derive(Debug, Deserialize)]
struct Association {
    an: u8,
    active: bool,
    /// The key identifier, in hex.
    key: String,
    /// Packets that were good.
    #[serde(default, rename = "InPktsOK")]
    received: u64,
}

impl Shown {
    fn channel(&self, sci: u64) -> Option<&Channel> {
        self.rx_sc.iter().find(|channel| {
            let digits = channel.sci.strip_prefix("0x").unwrap_or(&channel.sci);
            u64::from_str_radix(digits, 16) == Ok(sci)
        })
    }

    /// What transmits and what receives under an association number.
    fn at(&self, an: u8, sci: u64) -> (Option<&Association>, Option<&Association>) {
        let with = |sa: &&Association| sa.an == an;
        let receive = self.channel(sci).and_then(|channel| channel.sa_list.iter().find(with));
        (self.sa_list.iter().find(with), receive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[{"ifindex":3,"ifname":"macsec0","cipher_suite":"GCM-AES-256","encoding_sa":1,
        "sa_list":[{"an":1,"pn":9,"active":true,"key":"00","OutPktsEncrypted":8}],
        "rx_sc":[{"sci":"0x200000000020001","active":true,
                  "sa_list":[{"an":1,"pn":1,"active":true,"key":"01","InPktsOK":4},
                             {"an":2,"pn":1,"active":false,"key":"02","InPktsOK":0}]}]}]"#;

    #[test]
    fn what_the_kernel_shows_is_understood() {
        let [shown]: [Shown; 1] = serde_json::from_str(TEXT).unwrap();
        let (transmit, receive) = shown.at(1, 0x0200_0000_0002_0001);
        assert_eq!((transmit.unwrap().key.as_str(), receive.unwrap().key.as_str()), ("00", "01"));
        assert_eq!(receive.unwrap().received, 4);
        assert!(shown.at(2, 0x0200_0000_0002_0001).0.is_none());
        assert!(shown.channel(0x0200_0000_0001_0001).is_none());
    }

    #[test]
    fn what_is_no_interface_and_no_secure_channel_is_refused_before_anything_starts() {
        let open = |interface: &str, peer_sci: &str| {
            let (interface, peer_sci, ip) = (interface.to_owned(), peer_sci.to_owned(), "ip".to_owned());
            Macsec::open(&Arguments { interface, peer_sci, ip }).is_ok()
        };
        assert!(open("macsec0", "0200000000020001"));
        for (interface, sci) in [
            ("", "0200000000020001"),
            ("--all", "0200000000020001"),
            ("macsec0\nlink", "0200000000020001"),
            ("macsec0", "02000000000200010"),
            ("macsec0", "+200000000020001"),
            ("macsec0", ""),
        ] {
            assert!(!open(interface, sci), "{interface} {sci}");
        }
    }
}
