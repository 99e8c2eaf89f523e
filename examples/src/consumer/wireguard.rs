//! WireGuard, by the program `wg`: the kernel's, or a daemon's that `wg` knows.
//!
//! WireGuard has one preshared key a peer, and names none. So a generation is installed when the feed has its key and the peer
//! exists, and set when it is switched to. Sessions that run go on, and the next handshake takes it.

use core::time::Duration;

use anyhow::{Result, bail};
use skex_core::export::Exporter;
use skex_core::{SecretBytes, SecretVec};
use zeroize::Zeroizing;

use super::program::run;
use super::{Consumer, Failure, Habits, Holding, Known, Material, interface_target};

/// Feed the preshared key of a WireGuard peer.
///
/// The interface and the peer exist already. The key changes without loss: both ends change it within moments, and the next
/// handshake, within two minutes, takes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The interface.
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// The public key of the WireGuard peer, in base64.
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// The program, where it is not called `wg`.
    #[arg(long, value_name = "PROGRAM", default_value = "wg")]
    wg: String,
}

pub(super) struct Wireguard {
    interface: String,
    peer: String,
    wg: String,
    /// The generation that was set last, and the time of the latest handshake then, as `wg` tells it.
    set: Option<(u64, u64)>,
}

impl Wireguard {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { interface, public_key, wg } = arguments;
        if interface.is_empty() || interface.len() > 15 || interface.starts_with('-') {
            bail!("{interface:?} is no name of an interface: it has 1 to 15 characters");
        }
        if public_key.len() != BASE64_LEN || !public_key.ends_with('=') || public_key.starts_with('-') {
            bail!("a public key of WireGuard has 44 characters of base64, as `wg show` prints them");
        }
        Ok(Self { interface: interface.clone(), peer: public_key.clone(), wg: wg.clone(), set: None })
    }

    /// What `wg show INTERFACE WHAT` says of the peer. `None`: the peer does not exist.
    fn show(&self, what: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let shown = run(&self.wg, &["show", &self.interface, what], None).map_err(away)?;
        let mut lines = shown.split(|octet| *octet == b'\n');
        Ok(lines.find_map(|line| {
            let rest = line.strip_prefix(self.peer.as_bytes())?.strip_prefix(b"\t")?;
            Some(Zeroizing::new(rest.to_vec()))
        }))
    }

    /// In seconds since 1970; 0 for none.
    fn latest_handshake(&self) -> Result<u64, Failure> {
        let shown = self.show("latest-handshakes")?;
        let latest = shown.and_then(|text| core::str::from_utf8(&text).ok()?.trim().parse::<u64>().ok());
        latest.ok_or_else(|| Failure::Away("wg tells no handshakes".to_owned()))
    }

    fn exists(&self) -> Result<(), Failure> {
        match self.show("preshared-keys")? {
            Some(_) => Ok(()),
            None => Err(Failure::Away(format!("{} has no such peer", self.interface))),
        }
    }
}

/// Whatever is wrong with a question, the interface is not there.
fn away(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(why) | Failure::Away(why) => Failure::Away(why),
    }
}

impl Consumer for Wireguard {
    fn name(&self) -> String {
        format!("WireGuard {}", self.interface)
    }

    fn target(&self) -> Option<String> {
        Some(interface_target("wireguard", &self.interface, &self.peer))
    }

    fn habits(&self) -> Habits {
        // The old key went when the new one was set; sessions that were made under it need it no more.
        Habits { grace: Duration::from_secs(1), ..Habits::default() }
    }

    fn derive(&self, exporter: &mut Exporter, _: u64) -> Result<Material> {
        let psk = exporter.wireguard(0)?;
        Ok(Material { name: psk.name().to_string(), secret: SecretVec::copied_from(psk.psk().expose()) })
    }

    fn install(&mut self, _: Known<'_>) -> Result<(), Failure> {
        self.exists()
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        // `wg set` would make a peer that does not exist.
        self.exists()?;
        let text = base64(key.material.secret.expose());
        let arguments = ["set", &self.interface, "peer", &self.peer, "preshared-key", "/dev/stdin"];
        let before = self.latest_handshake()?;
        run(&self.wg, &arguments, Some(&text))?;
        if self.set.is_none_or(|(generation, _)| generation != key.generation) {
            self.set = Some((key.generation, before));
        }
        Ok(())
    }

    /// A handshake that is later than the setting.
    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let latest = self.latest_handshake()?;
        let Some((generation, before)) = self.set else {
            // Set before a start of this program: a handshake from now on will do.
            self.set = Some((key.generation, latest));
            return Ok(false);
        };
        Ok(generation == key.generation && latest > before)
    }

    fn retire(&mut self, _: Known<'_>) -> Result<(), Failure> {
        // It went when another was set.
        Ok(())
    }

    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        let Some(shown) = self.show("preshared-keys")? else {
            return Err(Failure::Away(format!("{} has no such peer", self.interface)));
        };
        let there = SecretBytes::<BASE64_LEN>::try_copied_from(&shown);
        let same = |known: &&Known<'_>| {
            SecretBytes::try_copied_from(&base64(known.material.secret.expose())) == there && there.is_some()
        };
        let transmitting = known.iter().find(same).map(|known| known.generation);
        Ok(Holding { generations: known.iter().map(|known| known.generation).collect(), transmitting })
    }
}

const BASE64_LEN: usize = 44;

/// RFC 4648, section 4. Each digit is computed, not looked up: the octets are secret.
fn base64(octets: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(octets.len().div_ceil(3).saturating_mul(4)));
    for chunk in octets.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0_usize..4 {
            let digit = (group >> (18_usize.saturating_sub(place.saturating_mul(6)))) & 63;
            text.push(if place <= chunk.len() { base64_digit(digit) } else { b'=' });
        }
    }
    text
}

fn base64_digit(digit: u32) -> u8 {
    // From where each range begins, what is to be added to the value: all ones where it is at least the beginning.
    let from = |begin: u32| (begin.wrapping_sub(1).wrapping_sub(digit) >> 31).wrapping_neg();
    let shift = 65_u32
        .wrapping_add(from(26) & 6)
        .wrapping_add(from(52) & 75_u32.wrapping_neg())
        .wrapping_add(from(62) & 15_u32.wrapping_neg())
        .wrapping_add(from(63) & 3);
    u8::try_from(digit.wrapping_add(shift)).unwrap_or(b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (octets, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(octets).as_slice(), text.as_bytes());
        }
        let all: Vec<u8> = (0..64_u32).map(base64_digit).collect();
        assert_eq!(all, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    }

    #[test]
    fn what_is_no_interface_and_no_key_is_refused_before_anything_starts() {
        let open = |interface: &str, public_key: &str| {
            let (interface, public_key) = (interface.to_owned(), public_key.to_owned());
            Wireguard::open(&Arguments { interface, public_key, wg: "wg".to_owned() }).is_ok()
        };
        let key = "YAnz5TF+lXXJte14tji3zlMNftqL5tRlUhg+qYV+gWM=";
        assert!(open("wg0", key));
        for (interface, public_key) in
            [("", key), ("--help", key), ("a-name-too-long-", key), ("wg0", "abc=")]
        {
            assert!(!open(interface, public_key), "{interface} {public_key}");
        }
    }
}
