//! Inner messages 4 and 5.

use serde_json::json;
use skex_testvectors::Layer;

use super::{FORGERIES, Tagged, malformed, tagged};
use crate::file::{Group, hex};

/// An UPLOAD or a DELIVERY.
struct Share<'a> {
    kind: u8,
    position: (u16, u32, u32),
    suite: u8,
    threshold: u8,
    key_length: u32,
    lifetime: u16,
    coordinates: &'a [u8],
    origins: &'a [u8],
    direct: bool,
}

const UPLOAD: Share<'_> = Share {
    kind: 4,
    position: (0, 4098, 4098),
    suite: 1,
    threshold: 3,
    key_length: 32,
    lifetime: 600,
    coordinates: &[1, 2, 3, 4, 5],
    origins: &[0],
    direct: false,
};

const DELIVERY: Share<'_> = Share { kind: 5, ..UPLOAD };

impl Share<'_> {
    fn head(&self, key_id: &[u8], peer: &[u8]) -> Vec<u8> {
        let (table, index, floor) = self.position;
        let n = self.coordinates.len() as u8;
        join!(
            [self.kind],
            table.to_be_bytes(),
            index.to_be_bytes(),
            floor.to_be_bytes(),
            key_id,
            peer,
            [self.suite, self.threshold, n],
            self.key_length.to_be_bytes(),
            self.lifetime.to_be_bytes(),
            self.coordinates,
            self.origins,
        )
    }

    fn share_length(&self) -> usize {
        if self.direct { 0 } else { 80 + (self.key_length as usize).next_multiple_of(16) }
    }

    fn test(&self, group: &mut Group, name: &str, result: Tagged<'_>) {
        let mut case = group.case(name, "the message key of its block is the key of its tag");
        let mut part = |field: &str, length| case.derive(&format!("message.fields.{field}"), length);
        let (key_id, peer) = (part("keyId", 16), part("peer", 16));
        let (secret_tag, share) = (part("secretTag", 16), part("share", self.share_length()));
        let octets = join!(self.head(&key_id, &peer), secret_tag, share);
        let (table, index, floor) = self.position;
        let message = json!({
            "type": if self.kind == 4 { "UPLOAD" } else { "DELIVERY" },
            "fields": {
                "table": table, "index": index, "floor": floor, "keyId": hex(&key_id), "peer": hex(&peer),
                "terms": {
                    "suite": self.suite, "threshold": self.threshold, "keyLength": self.key_length,
                    "lifetime": self.lifetime, "coordinates": self.coordinates, "origins": hex(self.origins),
                },
                "secretTag": hex(&secret_tag), "share": hex(&share),
            },
        });
        tagged(case, self.kind - 4, &octets, message, result);
    }

    /// Octets with a tag that nobody looks at; the share has `length` octets.
    fn octets(&self, length: usize) -> Vec<u8> {
        join!(self.head(&[0x4b; 16], &[0xb0; 16]), [0x0f; 16], vec![0x55; length], [0x7a; 16])
    }

    fn malformed(&self, group: &mut Group, name: &str, flag: &str) {
        self.malformed_with(group, name, self.share_length(), flag);
    }

    fn malformed_with(&self, group: &mut Group, name: &str, length: usize, flag: &str) {
        malformed(
            group,
            name,
            "the rest of the message is as it should be",
            self.kind - 4,
            &self.octets(length),
            flag,
        );
    }
}

pub(super) fn shares(group: &mut Group) {
    let all: Vec<u8> = (1..=32).collect();
    UPLOAD.test(group, "UPLOAD", Tagged::Good("Normal"));
    Share { direct: true, ..UPLOAD }.test(group, "UPLOAD, direct", Tagged::Good("Normal"));
    Share { origins: &[0x15], ..UPLOAD }.test(group, "UPLOAD, refilled tables", Tagged::Good("Normal"));
    let least = Share {
        position: (0, 0, 0),
        threshold: 2,
        key_length: 16,
        lifetime: 1,
        coordinates: &[1, 2],
        ..UPLOAD
    };
    least.test(group, "UPLOAD, least", Tagged::Good("Minimum"));
    let most = Share {
        position: (u16::MAX, u32::MAX, u32::MAX),
        threshold: 31,
        key_length: 1 << 20,
        lifetime: u16::MAX,
        coordinates: &all[..31],
        origins: &[0xff, 0xff, 0xff, 0x7f],
        direct: true,
        ..UPLOAD
    };
    most.test(group, "UPLOAD, most, direct", Tagged::Good("Maximum"));
    Share { coordinates: &[7, 99, 253, 254, 255], ..UPLOAD }.test(
        group,
        "UPLOAD, high coordinates",
        Tagged::Good("Maximum"),
    );
    Share { key_length: 17, ..UPLOAD }.test(group, "UPLOAD, 17 octets of key", Tagged::Good("Normal"));
    DELIVERY.test(group, "DELIVERY", Tagged::Good("Normal"));
    Share { coordinates: &all[..9], origins: &[0, 1], ..DELIVERY }.test(
        group,
        "DELIVERY, 9 hubs",
        Tagged::Good("Normal"),
    );
    for cause in FORGERIES {
        UPLOAD.test(group, &format!("UPLOAD, {cause}"), Tagged::Forged(cause));
        DELIVERY.test(group, &format!("DELIVERY, {cause}"), Tagged::Forged(cause));
    }
    for suite in [0, 2, 3, 4, 255] {
        let name = format!("UPLOAD, suite {suite}");
        Share { suite, ..UPLOAD }.test(group, &name, Tagged::Refused(Layer::Policy, "UnknownSuite"));
    }

    Share { threshold: 0, ..UPLOAD }.malformed(group, "threshold 0", "BadValue");
    Share { threshold: 1, ..UPLOAD }.malformed(group, "threshold 1", "BadValue");
    Share { threshold: 6, ..UPLOAD }.malformed(group, "threshold above n", "BadValue");
    Share { threshold: 2, coordinates: &all[..32], origins: &[0; 4], ..UPLOAD }
        .malformed(group, "32 hubs", "BadValue");
    Share { key_length: 15, ..UPLOAD }.malformed(group, "15 octets of key", "BadLength");
    Share { key_length: 0, ..UPLOAD }.malformed(group, "no key", "BadLength");
    Share { key_length: (1 << 20) + 1, direct: true, ..UPLOAD }.malformed(
        group,
        "a key above 1 MiB",
        "BadLength",
    );
    Share { lifetime: 0, ..UPLOAD }.malformed(group, "no lifetime", "BadValue");
    Share { coordinates: &[0, 2, 3, 4, 5], ..UPLOAD }.malformed(group, "coordinate zero", "NonCanonical");
    Share { coordinates: &[1, 3, 2, 4, 5], ..UPLOAD }.malformed(
        group,
        "coordinates out of order",
        "NonCanonical",
    );
    Share { coordinates: &[1, 2, 2, 4, 5], ..UPLOAD }.malformed(group, "coordinate twice", "NonCanonical");
    Share { origins: &[0x20], ..UPLOAD }.malformed(group, "an origin beyond the last hub", "NonCanonical");
    UPLOAD.malformed_with(group, "share an octet short", 111, "BadLength");
    UPLOAD.malformed_with(group, "share an octet long", 113, "BadLength");
    UPLOAD.malformed_with(group, "share of one octet", 1, "BadLength");
    UPLOAD.malformed_with(group, "share of a longer key", 128, "BadLength");
    DELIVERY.malformed_with(group, "direct DELIVERY", 0, "BadLength");
    let octets = UPLOAD.octets(112);
    malformed(group, "cut in the terms", "ends after the threshold", 0, &octets[..45], "Truncated");
    malformed(
        group,
        "cut in the coordinates",
        "ends after the second coordinate",
        0,
        &octets[..54],
        "Truncated",
    );
    malformed(group, "cut in the secret tag", "ends within o", 0, &octets[..70], "Truncated");
}
