//! Datagrams as they leave, written to a file that Wireshark reads (pcap): no privilege is needed for one's own.
//!
//! Each process writes a file of its own, whole packets only; [`merge`] makes one of them.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// The environment variable that names the directory for captures.
pub(crate) const CAPTURE: &str = "SKEX_CAPTURE_DIR";

/// The beginning of a capture: times in microseconds, packets that begin with their IP header.
const HEADER: [u8; 24] =
    [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 101];

/// Octets before each packet: seconds, microseconds, length here, length in all.
const RECORD_HEADER: usize = 16;

const IPV4_HEADER: u16 = 20;
const UDP_HEADER: u16 = 8;
const UDP: u8 = 17;

/// Captures of this process.
static CAPTURES: AtomicU32 = AtomicU32::new(0);

/// The capture of one machine.
pub(crate) struct Capture(File);

impl Capture {
    /// A capture in the directory that the environment names; `None` where it names none.
    pub(crate) fn from_environment() -> Result<Option<Self>> {
        let Some(directory) = std::env::var_os(CAPTURE) else { return Ok(None) };
        // A process may have several machines, each on a thread of its own.
        let number = CAPTURES.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(&directory).join(format!("{}-{number}.pcap", std::process::id()));
        let mut file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(&HEADER).context("cannot write the capture")?;
        Ok(Some(Self(file)))
    }

    /// Adds a datagram that leaves now. Of IPv4 only; others are left out.
    pub(crate) fn write(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<()> {
        let Some(packet) = packet(from, to, payload) else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut record = Vec::new();
        for number in [u32::try_from(now.as_secs()).unwrap_or(u32::MAX), now.subsec_micros(), len, len] {
            record.extend_from_slice(&number.to_be_bytes());
        }
        record.extend_from_slice(&packet);
        // At once and whole: the process may be killed at any time.
        self.0.write_all(&record).context("cannot write the capture")
    }
}

/// The datagram in its IPv4 and UDP headers.
fn packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { return None };
    let udp_len = u16::try_from(payload.len()).ok()?.checked_add(UDP_HEADER)?;
    let len = udp_len.checked_add(IPV4_HEADER)?;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&len.to_be_bytes());
    // No fragments, 64 hops, and a checksum to come.
    packet.extend_from_slice(&[0, 0, 0, 0, 64, UDP, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    let checksum = checksum(&packet).to_be_bytes();
    packet.splice(10..12, checksum);
    packet.extend_from_slice(&from.port().to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&udp_len.to_be_bytes());
    // UDP over IPv4 may go without a checksum.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    Some(packet)
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words =
        octets.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, octet| (word << 8) | u32::from(*octet)));
    let mut sum = words.fold(0_u32, u32::saturating_add);
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xffff).saturating_add(carry);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// One capture of all those in `directory`, in the order of time. How many packets it has.
pub(crate) fn merge(directory: &Path, out: &Path) -> Result<usize> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    for entry in fs::read_dir(directory).context("cannot read the captures")? {
        let octets =
            fs::read(entry.context("cannot read the captures")?.path()).context("cannot read a capture")?;
        let mut rest = octets.get(HEADER.len()..).unwrap_or_default();
        while let Some((record, others)) = first_record(rest) {
            records.push(record.to_vec());
            rest = others;
        }
    }
    // Seconds and microseconds stand first, the most significant octet in front.
    records.sort_by(|a, b| a.get(..8).cmp(&b.get(..8)));
    let mut whole = HEADER.to_vec();
    records.iter().for_each(|record| whole.extend_from_slice(record));
    fs::write(out, whole).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(records.len())
}

/// The first whole record, and what follows it.
fn first_record(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = octets.get(8..12)?.try_into().ok().map(u32::from_be_bytes)?;
    let length = usize::try_from(length).ok()?.checked_add(RECORD_HEADER)?;
    octets.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_packet_has_the_headers_of_ip_and_udp() {
        let packet = packet(address("127.0.0.1:5"), address("127.0.0.2:258"), b"abc").unwrap();
        assert_eq!(
            packet,
            [
                0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x7c, 0xcb, 127, 0, 0, 1, 127, 0, 0, 2, // IP
                0, 5, 1, 2, 0, 11, 0, 0, b'a', b'b', b'c'
            ]
        );
        assert_eq!(checksum(&packet[..20]), 0, "with its checksum in place, the sum is zero");
        assert!(super::packet(address("[::1]:5"), address("127.0.0.2:258"), b"").is_none());
    }

    #[test]
    fn captures_are_merged_by_time_and_what_is_torn_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let record = |second: u8, octet: u8| {
            [[0, 0, 0, second, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1].as_slice(), &[octet]].concat()
        };
        let (from, out) = (directory.path().join("from"), directory.path().join("all.pcap"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), [&HEADER, record(1, b'a').as_slice(), &record(3, b'c')].concat()).unwrap();
        fs::write(from.join("b"), [&HEADER, record(2, b'b').as_slice(), &[0, 0, 0, 9]].concat()).unwrap();
        assert_eq!(merge(&from, &out).unwrap(), 3);
        let whole = fs::read(&out).unwrap();
        assert_eq!(whole, [&HEADER, record(1, b'a').as_slice(), &record(2, b'b'), &record(3, b'c')].concat());
    }
}
