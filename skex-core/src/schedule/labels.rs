//! Every label and domain separator, once.
//!
//! A label begins with the protocol it belongs to: `skex u1 ` (unmediated), `skex d1 ` (distributed), `skex x1 `
//! (keys handed to consumers), `skex c1 ` (shared). Keep labels at most 17 octets long where the context has 32:
//! then one output costs one block of SHA-256 less. To add one, add one line.

/// What a derived key, or a hash, is for. The values are the constants of this type; there is no other way to
/// make one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(&'static str);

impl Label {
    /// The octets (ASCII, 1 to 255).
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a test holds every label to 255 octets")]
    pub(crate) const fn len_octet(self) -> u8 {
        self.0.len() as u8
    }
}

macro_rules! labels {
    ($( $(#[$meta:meta])* $name:ident = $label:literal; )+) => {
        impl Label {
            $( $(#[$meta])* pub const $name: Self = Self($label); )+

            /// Every label there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

labels! {
    // Shared.

    /// Fingerprint of an output key, for operators to compare.
    FINGERPRINT = "skex c1 fingerprint";

    // Unmediated: enrolment and transcript hashes.

    /// Hash that binds an enrolment: identities, lane, suite, context.
    UNMEDIATED_ENROL = "skex u1 enrol";
    /// Transcript hash.
    UNMEDIATED_TRANSCRIPT = "skex u1 th";

    // Unmediated: from the chain key of an epoch.

    /// Pseudonym of side a.
    UNMEDIATED_KID_A = "skex u1 kid a";
    /// Pseudonym of side b.
    UNMEDIATED_KID_B = "skex u1 kid b";
    /// Key of first messages and guard tags sent by side a, and of stale notices to it.
    UNMEDIATED_M1_MAC_A = "skex u1 m1 mac a";
    /// Key of first messages and guard tags sent by side b, and of stale notices to it.
    UNMEDIATED_M1_MAC_B = "skex u1 m1 mac b";
    /// What stands in an offer of fresh secret material in place of a block that is not held.
    UNMEDIATED_MIX_NONE = "skex u1 mix none";
    /// Master secret of a handshake.
    UNMEDIATED_HANDSHAKE = "skex u1 hs";

    // Unmediated: from a block of fresh secret material.

    /// Reference to the block in an offer.
    UNMEDIATED_MIX_REFERENCE = "skex u1 mix ref";
    /// What the block gives to the master secret of a handshake.
    UNMEDIATED_MIX_KEY = "skex u1 mix key";

    // Unmediated: from the master secret of a handshake.

    /// Key of the second message's tag.
    UNMEDIATED_M2_MAC = "skex u1 m2 mac";
    /// Key of the third message's tag.
    UNMEDIATED_M3_MAC = "skex u1 m3 mac";
    /// Key of the fourth message's tag.
    UNMEDIATED_M4_MAC = "skex u1 m4 mac";
    /// Chain key of the next epoch.
    UNMEDIATED_CHAIN = "skex u1 chain";
    /// Exporter chain of the outputs that side a names.
    UNMEDIATED_EXPORT_A = "skex u1 export a";
    /// Exporter chain of the outputs that side b names.
    UNMEDIATED_EXPORT_B = "skex u1 export b";
    /// Session id.
    UNMEDIATED_SESSION_ID = "skex u1 sid";

    // Unmediated: along an exporter chain.

    /// Key of one output.
    UNMEDIATED_EXPORT_OUTPUT = "skex u1 output";
    /// Next link of the chain.
    UNMEDIATED_EXPORT_NEXT = "skex u1 next";

    // Unmediated: under keys that live only in memory.

    /// Responder's nonce.
    UNMEDIATED_NONCE = "skex u1 nonce";
    /// Cookie under load.
    UNMEDIATED_COOKIE = "skex u1 cookie";

    // Distributed: hello, from the initial key of a link, and the hub's salt under a key that lives in memory.

    /// Key of the tag of a hello.
    DSKE_HELLO = "skex d1 hi client";
    /// Key of the tag of the answer to a hello.
    DSKE_HELLO_REPLY = "skex d1 hi hub";
    /// Key of the tag of the request to say hello anew.
    DSKE_HELLO_REQUEST = "skex d1 hi again";
    /// Hub's salt.
    DSKE_SALT = "skex d1 salt";

    // Distributed: envelope.

    /// Envelope key, client to hub.
    DSKE_ENVELOPE_TO_HUB = "skex d1 env hub";
    /// Envelope key, hub to client.
    DSKE_ENVELOPE_TO_CLIENT = "skex d1 env cl";

    // Distributed: provisioning.

    /// Key of the tags of a provisioning file's chunks.
    DSKE_PROVISION = "skex d1 provision";

    // Distributed: computational suites, from the block that opens an epoch.

    /// Key of an epoch's shares.
    DSKE_EPOCH_SHARES = "skex d1 ep share";
    /// Key of an epoch's answers.
    DSKE_EPOCH_ANSWERS = "skex d1 ep answer";

    // Exports.

    /// Key that an [`Exporter`](crate::export::Exporter) takes, where a protocol derives its outputs under a label.
    EXPORT_ROOT = "skex x1 root";
    /// Salt of an exporter.
    EXPORT_SALT = "skex x1 salt";
    /// Public name of an exported key.
    EXPORT_NAME = "skex x1 name";
    /// Octets for a consumer that is not listed.
    EXPORT_RAW = "skex x1 raw";
    /// IKEv2 post-quantum preshared key (RFC 8784, RFC 9867).
    EXPORT_IKEV2_PPK = "skex x1 ike ppk";
    /// TLS 1.3 external preshared key that is used as it is (RFC 8446).
    EXPORT_TLS13_PSK = "skex x1 tls psk";
    /// TLS 1.3 external preshared key that is imported (RFC 9258).
    EXPORT_TLS13_EPSK = "skex x1 tls epsk";
    /// MACsec connectivity association key (IEEE 802.1X).
    EXPORT_MACSEC_CAK = "skex x1 mac cak";
    /// MACsec secure association key, installed without MKA (IEEE 802.1AE).
    EXPORT_MACSEC_SAK = "skex x1 mac sak";
    /// TCP-AO master key (RFC 5925).
    EXPORT_TCP_AO = "skex x1 tcp ao";
    /// WireGuard preshared key.
    EXPORT_WIREGUARD = "skex x1 wg psk";
    /// EDHOC preshared key (draft-ietf-lake-edhoc-psk).
    EXPORT_EDHOC = "skex x1 edhoc";
    /// Enrolment secret of another unmediated lane.
    EXPORT_LANE = "skex x1 lane";
}

#[cfg(test)]
mod tests {
    use super::Label;

    #[test]
    fn no_label_is_another_or_the_beginning_of_another() {
        for (i, one) in Label::ALL.iter().enumerate() {
            for (j, other) in Label::ALL.iter().enumerate() {
                assert!(i == j || !other.0.starts_with(one.0), "{one:?} begins {other:?}");
            }
        }
    }

    #[test]
    fn every_label_names_its_protocol_and_fits_its_length_octet() {
        for label in Label::ALL {
            assert!(label.0.is_ascii() && label.0.len() <= 255);
            assert!(
                ["skex u1 ", "skex d1 ", "skex x1 ", "skex c1 "]
                    .iter()
                    .any(|prefix| label.0.strip_prefix(prefix).is_some_and(|name| !name.is_empty())),
                "{label:?}"
            );
        }
    }
}
