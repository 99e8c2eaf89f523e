//! consumers.json

use aes::{Aes128, Aes256};
use cmac::{Cmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::consumers::TestGroup;
use skex_wire::SuiteId;

use crate::file::{Case, File, hex};
use crate::primitives::{expand, expand_label, extract, hash, mac};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "consumers",
        "Keys for consumers",
        "draft-skex-integration-00",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("LongSecret", "EDGE_CASE", "An output key of 64 octets, or of more than a block of the hash."),
            ("Boundary", "EDGE_CASE", "The lowest or highest value that a field takes."),
            ("Unconfirmed", "MISSING_CHECK", "The output key is not confirmed."),
            ("ShortSecret", "MISSING_CHECK", "The output key has fewer than 32 octets."),
            ("BadLength", "MISSING_CHECK", "A raw key of no octets, or of more than HKDF gives."),
        ],
    );
    exports(&mut file);
    file.group("Import", "tls imported", json!({}), |group| {
        for (name, usage, context, protocol, kdf) in [
            ("tls sha256", 1_u8, &b""[..], 0x0304_u16, 1_u16),
            ("tls sha384", 1, b"link 7", 0x0304, 2),
            ("dtls sha256", 2, b"link 7", 0xfefc, 1),
            ("dtls sha384", 2, &[0xa5; 300], 0xfefc, 2),
        ] {
            let mut case =
                group.case(name, "the importer of RFC 9258, the hash of the external key is SHA-256");
            let origin = Origin::new(&mut case, 9, 32);
            let made = origin.export("skex x1 tls epsk", 1, 4, &[usage], 32, 16);
            let external = text(&made.name, "");
            let identity = [
                &(external.len() as u16).to_be_bytes()[..],
                &external,
                &(context.len() as u16).to_be_bytes(),
                context,
                &protocol.to_be_bytes(),
                &kdf.to_be_bytes(),
            ]
            .concat();
            let length = if kdf == 1 { 32 } else { 48 };
            let prefix: &[u8] = if protocol == 0x0304 { b"tls13 " } else { b"dtls13" };
            let label = [prefix, b"derived psk"].concat();
            let info = [&[0, length as u8, label.len() as u8][..], &label, &[32], &hash(sha256(), &identity)]
                .concat();
            let epskx = extract(sha256(), &[0; 32], &made.key);
            case.set("direction", 1).set("number", 4).set("usage", usage).hex("context", context);
            case.set("protocol", protocol).set("kdf", kdf).hex("epsk", &made.key).hex("identity", &identity);
            case.hex("ipsk", &expand(sha256(), &epskx, &info, length));
            case.valid(&["Normal"]);
        }
    });
    file.group("Mka", "mka", json!({}), |group| {
        for length in [16_usize, 32] {
            let mut case = group.case(&format!("{length} octets"), "what MKA derives from an exported CAK");
            let origin = Origin::new(&mut case, 2, 32);
            let made = origin.export("skex x1 mac cak", 0, 0, &[length as u8], length, 32);
            let derived = |label: &str| {
                let block = |i: u8| {
                    let bits = ((8 * length) as u16).to_be_bytes();
                    aes_cmac(&made.key, &[&[i], label.as_bytes(), &[0], &made.name[..16], &bits].concat())
                };
                (1..=(length / 16) as u8).flat_map(block).collect::<Vec<u8>>()
            };
            case.set("number", 0).set("length", length).hex("cak", &made.key).hex("ckn", &made.name);
            case.hex("kek", &derived("IEEE8021 KEK")).hex("ick", &derived("IEEE8021 ICK"));
            case.valid(&["Normal"]);
        }
    });
    file.group("TcpAo", "tcp-ao", json!({}), |group| {
        let (v4, v6) = (([192, 0, 2, 1], [198, 51, 100, 7]), ([0x20; 16], [0xfd; 16]));
        for (name, algorithm, generation, v6_too, isn, flag) in [
            ("sha1 ipv4 syn", 1_u8, 1_u64, false, 0_u32, "Normal"),
            ("sha1 ipv6", 1, 127, true, 0xdead_beef, "Boundary"),
            ("cmac ipv4", 2, 128, false, 0xdead_beef, "Boundary"),
            ("cmac ipv6 syn", 2, 0, true, 0, "Boundary"),
        ] {
            let mut case = group.case(name, "the ids at both ends, and the traffic key of one direction");
            let origin = Origin::new(&mut case, 3, 32);
            let parameters = [&[algorithm][..], &generation.to_be_bytes()].concat();
            let made = origin.export("skex x1 tcp ao", 0, 6, &parameters, 32, 16);
            let (source, destination) =
                if v6_too { (v6.0.to_vec(), v6.1.to_vec()) } else { (v4.0.to_vec(), v4.1.to_vec()) };
            let master = if algorithm == 1 { &made.key[..] } else { &made.key[..16] };
            let bits: u16 = if algorithm == 1 { 160 } else { 128 };
            let input = [
                &[1][..],
                b"TCP-AO",
                &source,
                &destination,
                &40001_u16.to_be_bytes(),
                &179_u16.to_be_bytes(),
                &0x0102_0304_u32.to_be_bytes(),
                &isn.to_be_bytes(),
                &bits.to_be_bytes(),
            ]
            .concat();
            let traffic = if algorithm == 1 { hmac_sha1(master, &input) } else { aes_cmac(master, &input) };
            let send_id = 2 * (generation % 128);
            case.set("number", 6).set("generation", generation).set("algorithm", algorithm);
            case.hex("source", &source).hex("destination", &destination);
            case.set("sourcePort", 40001).set("destinationPort", 179);
            case.set("sourceIsn", 0x0102_0304_u32).set("destinationIsn", isn);
            case.set("sendId", send_id).set("recvId", send_id + 1);
            case.hex("masterKey", master).hex("trafficKey", &traffic);
            case.valid(&[flag]);
        }
    });
    file.group("Edhoc", "edhoc credentials", json!({}), |group| {
        for (name, subject) in [("short subject", "pump 7"), ("long subject", "station 12, second floor")] {
            let mut case = group.case(name, "identifier and credential, without the key");
            let origin = Origin::new(&mut case, 5, 32);
            let kid = origin.export("skex x1 edhoc", 2, 1, &[], 32, 8).name;
            let length = subject.len() as u8;
            let head = if length < 24 { vec![0x60 + length] } else { vec![0x78, length] };
            let compact = [&[0x48][..], &kid].concat();
            case.set("direction", 2).set("number", 1).set("subject", subject);
            case.hex("idCred", &[&[0xa1, 4][..], &compact].concat()).hex("idCredCompact", &compact);
            let credential =
                [&[0xa2, 2][..], &head, subject.as_bytes(), &[8, 0xa1, 1, 0xa2, 1, 4, 2], &compact].concat();
            case.hex("credential", &credential);
            case.valid(&["Normal"]);
        }
    });
    file.group("StatusDatagram", "status datagrams", json!({}), |group| {
        for (name, end, generation, flag) in [
            ("from a, the first generation", 1_u8, 1_u64, "Boundary"),
            ("from b", 2, 300, "Normal"),
            ("from a, the last generation", 1, u64::MAX, "Boundary"),
        ] {
            let mut case = group.case(name, "a status on its way between the ends of a link");
            let origin = Origin::new(&mut case, 6, 32);
            let made = origin.export("skex x1 raw", 0, 0, b"skex link status", 32, 16);
            // What is in it is not looked at on the way.
            let status = case.secret("status", 90);
            let signed = [&[1, end, 0, 0][..], &generation.to_be_bytes(), &made.name, &status].concat();
            let tag = &mac(sha256(), &made.key, &signed)[..16];
            case.set("end", end).set("generation", generation).hex("keyName", &made.name);
            case.hex("datagram", &[&signed[..], tag].concat());
            case.valid(&[flag]);
        }
    });
    file.finish::<TestGroup>()
}

/// Label, direction, parameters, octets of key and of name, and the form of the name.
type Consumer = (&'static str, u8, Vec<u8>, usize, usize, fn(&[u8]) -> Vec<u8>);

fn exports(file: &mut File) {
    let generation = |first: u8, generation: u64| [&[first][..], &generation.to_be_bytes()].concat();
    let groups: Vec<(&str, Vec<(&str, Consumer)>)> = vec![
        ("raw", vec![("32 octets", ("skex x1 raw", 0, b"backup".to_vec(), 32, 16, as_it_is))]),
        ("ikev2", vec![("ppk", ("skex x1 ike ppk", 0, vec![], 32, 16, ppk_identity))]),
        (
            "tls",
            vec![
                ("a alone sha256", ("skex x1 tls psk", 1, vec![1, 0, 1], 32, 16, tls_identity)),
                ("b alone sha384", ("skex x1 tls psk", 2, vec![1, 0, 2], 32, 16, tls_identity)),
                ("a with certificates", ("skex x1 tls psk", 1, vec![2, 0, 1], 32, 16, tls_identity)),
            ],
        ),
        (
            "tls importable",
            vec![
                ("a alone", ("skex x1 tls epsk", 1, vec![1], 32, 16, tls_identity)),
                ("b with certificates", ("skex x1 tls epsk", 2, vec![2], 32, 16, tls_identity)),
            ],
        ),
        (
            "macsec cak",
            vec![
                ("16 octets", ("skex x1 mac cak", 0, vec![16], 16, 32, as_it_is)),
                ("32 octets", ("skex x1 mac cak", 0, vec![32], 32, 32, as_it_is)),
            ],
        ),
        (
            "macsec sak",
            vec![
                ("from a, 32 octets", ("skex x1 mac sak", 1, generation(32, 5), 32, 16, as_it_is)),
                ("from b, 16 octets", ("skex x1 mac sak", 2, generation(16, 5), 16, 16, as_it_is)),
            ],
        ),
        ("tcp-ao", vec![("sha1", ("skex x1 tcp ao", 0, generation(1, 300), 32, 16, as_it_is))]),
        ("wireguard", vec![("psk", ("skex x1 wg psk", 0, vec![], 32, 16, as_it_is))]),
        (
            "edhoc",
            vec![
                ("a begins", ("skex x1 edhoc", 1, vec![], 32, 8, as_it_is)),
                ("b begins", ("skex x1 edhoc", 2, vec![], 32, 8, as_it_is)),
            ],
        ),
    ];
    for (name, consumers) in groups {
        let label = consumers[0].1.0;
        file.group("Export", &format!("export {name}"), json!({ "label": label }), |group| {
            for (name, consumer) in consumers {
                for (suffix, index, secret, number, flag) in [
                    ("", 0, 32, 0, "Normal"),
                    (", long secret", 1 << 63, 64, 7, "LongSecret"),
                    (", highest number", u64::MAX, 32, u32::MAX, "Boundary"),
                ] {
                    let mut case = group.case(&format!("{name}{suffix}"), "a key and its name");
                    export(&mut case, &consumer, index, secret, number);
                    case.valid(&[flag]);
                }
            }
            if label != "skex x1 raw" {
                return;
            }
            let consumer =
                |length| ("skex x1 raw", 0, b"backup".to_vec(), length, 16, as_it_is as fn(&[u8]) -> _);
            let mut case = group.case("64 octets", "two blocks");
            export(&mut case, &consumer(64), 0, 200, 1);
            case.valid(&["LongSecret"]);
            for (name, flag, layer, secret, confirmed, length) in [
                ("not confirmed", "Unconfirmed", Layer::Key, 32, false, 32),
                ("31 octets", "ShortSecret", Layer::Key, 31, true, 32),
                ("no octets", "BadLength", Layer::Argument, 32, true, 0),
                ("more than there are", "BadLength", Layer::Argument, 32, true, 8161),
            ] {
                let mut case = group.case(name, "nothing may be derived");
                let _ = Origin::new(&mut case, 0, secret);
                case.set("confirmed", confirmed).set("direction", 0).set("number", 0);
                case.hex("parameters", b"backup").set("length", length);
                for field in ["prk", "key", "nameOctets", "identifier"] {
                    case.set(field, Value::Null);
                }
                case.invalid(layer, flag);
            }
        });
    }
}

fn export(case: &mut Case<'_>, consumer: &Consumer, index: u64, secret: usize, number: u32) {
    let (label, direction, parameters, length, name_length, form) = consumer;
    let origin = Origin::new(case, index, secret);
    let made = origin.export(label, *direction, number, parameters, *length, *name_length);
    case.set("confirmed", true).set("direction", *direction).set("number", number);
    case.hex("parameters", parameters).set("length", *length);
    case.set("prk", hex(&origin.prk())).set("key", hex(&made.key));
    case.set("nameOctets", hex(&made.name)).set("identifier", hex(&form(&made.name)));
}

fn as_it_is(name: &[u8]) -> Vec<u8> {
    name.to_vec()
}

fn text(name: &[u8], suffix: &str) -> Vec<u8> {
    format!("skex-{}{suffix}", hex(name)).into_bytes()
}

fn tls_identity(name: &[u8]) -> Vec<u8> {
    text(name, "")
}

fn ppk_identity(name: &[u8]) -> Vec<u8> {
    [&[2][..], &text(name, "@skex.invalid")].concat()
}

/// An output key.
struct Origin {
    context: Vec<u8>,
    secret: Vec<u8>,
}

struct Made {
    key: Vec<u8>,
    name: Vec<u8>,
}

impl Origin {
    fn new(case: &mut Case<'_>, index: u64, secret: usize) -> Self {
        let (id, secret) = (case.secret("keyId", 16), case.secret("secret", secret));
        case.set("index", index);
        Self { context: [&id[..], &index.to_be_bytes()].concat(), secret }
    }

    fn prk(&self) -> Vec<u8> {
        extract(sha256(), b"skex x1 salt", &self.secret)
    }

    fn export(
        &self,
        label: &str,
        direction: u8,
        number: u32,
        parameters: &[u8],
        length: usize,
        name: usize,
    ) -> Made {
        let context = [&self.context[..], &[direction], &number.to_be_bytes(), parameters].concat();
        let named = [&[label.len() as u8][..], label.as_bytes(), &context].concat();
        Made {
            key: expand_label(sha256(), &self.prk(), label, &context, length),
            name: expand_label(sha256(), &self.prk(), "skex x1 name", &named, name),
        }
    }
}

fn sha256() -> Suite {
    Suite::from_id(SuiteId::new(1)).expect("suite 1")
}

fn aes_cmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    match key.len() {
        16 => Cmac::<Aes128>::new_from_slice(key).expect("16 octets").chain_update(message).finalize(),
        _ => {
            return Cmac::<Aes256>::new_from_slice(key)
                .expect("32")
                .chain_update(message)
                .finalize()
                .into_bytes()
                .to_vec();
        }
    }
    .into_bytes()
    .to_vec()
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(key).expect("any length");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}
