//! The published vectors of the DSKE messages: every message decodes to the fields given and encodes to its octets, and
//! what the decoder must refuse it refuses for the cause given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

use skex_testvectors::dske_wire::{self, InnerTest, Message, OuterTest, ShareFields, TestGroup};
use skex_testvectors::{Hex, Layer, Verdict};
use skex_wire::Writer;
use skex_wire::dske::*;

fn array(octets: &Hex) -> [u8; 16] {
    octets.array().expect("16 octets")
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; MAX_SEVERAL_LEN];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    writer.written().to_vec()
}

fn header(id: u32, salt: Option<[u8; 16]>, seq: u32, ciphertext: &Hex, tag: &Hex) -> Vec<u8> {
    written(|w| {
        SealedHeader::new(id, salt, seq).encode(w).unwrap();
        w.bytes(ciphertext.as_bytes()).unwrap();
        w.bytes(tag.as_bytes()).unwrap();
    })
}

fn share(inner_type: InnerType, fields: &ShareFields, tag: &Hex) -> Vec<u8> {
    let terms = &fields.terms;
    let terms = Terms::new(
        DskeSuiteId::new(terms.suite),
        terms.threshold,
        terms.key_length,
        terms.lifetime,
        &terms.coordinates,
        terms.origins.as_bytes(),
    );
    let message = ShareMessage::new(
        inner_type,
        BlockPosition::new(fields.table, fields.index, fields.floor),
        array(&fields.key_id),
        array(&fields.peer),
        terms.unwrap(),
        array(&fields.secret_tag),
        fields.share.as_bytes(),
    );
    written(|w| {
        message.unwrap().encode_untagged(w).unwrap();
        w.bytes(tag.as_bytes()).unwrap();
    })
}

fn confirmation(fields: &dske_wire::Confirmation) -> Confirmation<'_> {
    Confirmation::new(fields.origins.as_bytes(), fields.lying.as_bytes(), array(&fields.tag)).unwrap()
}

/// The octets of a message, from its fields.
fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Hello { client_id, salt, tag } => written(|w| {
            Hello::new(*client_id, array(salt)).encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
        }),
        Message::HelloReply { client_id, salt, tag } => written(|w| {
            Hello::reply(*client_id, array(salt)).encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
        }),
        Message::HelloRequest { client_id, tag } => written(|w| {
            HelloRequest::new(*client_id).encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
        }),
        Message::Sealed { client_id, seq, ciphertext, tag } => {
            header(*client_id, None, *seq, ciphertext, tag)
        }
        Message::SealedFresh { client_id, salt, seq, ciphertext, tag } => {
            header(*client_id, Some(array(salt)), *seq, ciphertext, tag)
        }
        Message::LeaseRequest { table, nonce, mark, want } => {
            written(|w| LeaseRequest::new(*table, array(nonce), *mark, *want).encode(w).unwrap())
        }
        Message::LeaseGrant { table, nonce, start, end, tag } => written(|w| {
            LeaseGrant::new(*table, array(nonce), *start, *end).encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
        }),
        Message::LeaseDenied { table, nonce, mark } => {
            written(|w| LeaseDenied::new(*table, array(nonce), *mark).encode(w).unwrap())
        }
        Message::Upload { fields, tag } => share(InnerType::UPLOAD, fields, tag),
        Message::Delivery { fields, tag } => share(InnerType::DELIVERY, fields, tag),
        Message::Answer { table, index, status, confirmation: fields, tag } => written(|w| {
            let status = AnswerStatus::new(*status);
            let answer = Answer::new(*table, *index, status, fields.as_ref().map(confirmation)).unwrap();
            answer.encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
        }),
        Message::Busy { table, index } => written(|w| Busy::new(*table, *index).encode(w).unwrap()),
        Message::Confirm { key_id, peer, confirmation: fields } => written(|w| {
            Confirm::new(array(key_id), array(peer), confirmation(fields)).encode(w).unwrap();
        }),
        Message::Fetch {} => written(|w| Fetch::new().encode(w).unwrap()),
        Message::Fetched { waiting } => written(|w| Fetched::new(*waiting).encode(w).unwrap()),
        Message::Several { messages } => {
            let framed = messages.iter().map(|message| {
                let length = u16::try_from(message.as_bytes().len()).unwrap();
                [&length.to_be_bytes(), message.as_bytes()].concat()
            });
            let octets = [InnerType::SEVERAL.value()].into_iter().chain(framed.flatten()).collect::<Vec<_>>();
            written(|w| Several::decode(&octets).unwrap().encode(w).unwrap())
        }
        Message::Refill { direction, table, elements, first, pad } => written(|w| {
            let direction = Direction::new(*direction);
            Refill::new(direction, *table, *elements, *first, pad.as_bytes()).unwrap().encode(w).unwrap();
        }),
        Message::Refilled { direction, table, next } => {
            written(|w| Refilled::new(Direction::new(*direction), *table, *next).encode(w).unwrap())
        }
        Message::Lookup { table, index, floor, name, tag } => {
            command(*table, *index, *floor, CommandBody::Lookup(name.as_bytes()), tag)
        }
        Message::Publish { table, index, floor, offer: fields, tag } => {
            let body = CommandBody::Publish(fields.as_ref().map(offer));
            command(*table, *index, *floor, body, tag)
        }
        Message::Withdraw { table, index, floor, key_id, tag } => {
            command(*table, *index, *floor, CommandBody::Withdraw(array(key_id)), tag)
        }
        Message::Authorise { table, index, floor, allowed, client, tag } => {
            let body = CommandBody::Authorise { client: array(client), allowed: *allowed };
            command(*table, *index, *floor, body, tag)
        }
        Message::Outcome { table, index, status, found: fields, tag } => written(|w| {
            let found = fields.as_ref().map(|f| Found::new(array(&f.client), f.offer.as_ref().map(offer)));
            let outcome = Outcome::new(*table, *index, OutcomeStatus::new(*status), found).unwrap();
            outcome.encode_untagged(w).unwrap();
            w.bytes(tag.as_bytes()).unwrap();
            assert_eq!(w.written().len(), outcome.encoded_len());
        }),
        other => panic!("a message that this test does not know: {other:?}"),
    }
}

fn offer(fields: &dske_wire::Offer) -> Offer<'_> {
    Offer::new(
        fields.minimum_threshold,
        fields.information_theoretic,
        fields.maximum_lifetime,
        &fields.suites,
        &fields.coordinates,
    )
    .unwrap()
}

fn command(table: u16, index: u32, floor: u32, body: CommandBody<'_>, tag: &Hex) -> Vec<u8> {
    let command = Command::new(BlockPosition::new(table, index, floor), body).unwrap();
    let octets = written(|w| {
        command.encode_untagged(w).unwrap();
        w.bytes(tag.as_bytes()).unwrap();
    });
    assert_eq!(octets.len(), command.encoded_len());
    octets
}

/// A decoded outer message, written with the fields of the vectors.
fn outer_fields(octets: &[u8]) -> Result<Message, String> {
    Ok(match Outer::decode(octets).map_err(|error| format!("{:?}", error.kind))? {
        Outer::Hello(hello) => from_json(
            "HELLO",
            &[
                ("clientId", hello.message.client_id.to_string()),
                ("salt", quoted(&hello.message.salt)),
                ("tag", quoted(&hello.tag)),
            ],
        ),
        Outer::HelloReply(reply) => from_json(
            "HELLO_REPLY",
            &[
                ("clientId", reply.message.client_id.to_string()),
                ("salt", quoted(&reply.message.salt)),
                ("tag", quoted(&reply.tag)),
            ],
        ),
        Outer::HelloRequest(request) => from_json(
            "HELLO_REQUEST",
            &[("clientId", request.message.client_id.to_string()), ("tag", quoted(&request.tag))],
        ),
        Outer::Sealed(sealed) => {
            let mut fields = vec![
                ("clientId", sealed.header.client_id.to_string()),
                ("seq", sealed.header.seq.to_string()),
                ("ciphertext", quoted(sealed.ciphertext)),
                ("tag", quoted(&sealed.tag)),
            ];
            fields.extend(sealed.header.salt.map(|salt| ("salt", quoted(&salt))));
            from_json(if sealed.header.salt.is_some() { "SEALED_FRESH" } else { "SEALED" }, &fields)
        }
        other => panic!("a message that this test does not know: {other:?}"),
    })
}

fn inner_fields(octets: &[u8]) -> Result<Message, String> {
    let number = |n: u32| n.to_string();
    Ok(match Inner::decode(octets).map_err(|error| format!("{:?}", error.kind))? {
        Inner::LeaseRequest(m) => from_json(
            "LEASE_REQUEST",
            &[
                ("table", number(m.table.into())),
                ("nonce", quoted(&m.nonce)),
                ("mark", number(m.mark)),
                ("want", number(m.want)),
            ],
        ),
        Inner::LeaseGrant(m) => from_json(
            "LEASE_GRANT",
            &[
                ("table", number(m.message.table.into())),
                ("nonce", quoted(&m.message.nonce)),
                ("start", number(m.message.start)),
                ("end", number(m.message.end)),
                ("tag", quoted(&m.tag)),
            ],
        ),
        Inner::LeaseDenied(m) => from_json(
            "LEASE_DENIED",
            &[("table", number(m.table.into())), ("nonce", quoted(&m.nonce)), ("mark", number(m.mark))],
        ),
        Inner::Share(m) => {
            let ShareMessage { inner_type, position, terms, .. } = m.message;
            let terms_text = object(&[
                ("suite", number(terms.suite.value().into())),
                ("threshold", number(terms.threshold.into())),
                ("keyLength", number(terms.key_len)),
                ("lifetime", number(terms.lifetime.into())),
                ("coordinates", format!("{:?}", terms.coordinates)),
                ("origins", quoted(terms.origins)),
            ]);
            let fields = object(&[
                ("table", number(position.table.into())),
                ("index", number(position.index)),
                ("floor", number(position.floor)),
                ("keyId", quoted(&m.message.key_id)),
                ("peer", quoted(&m.message.peer)),
                ("terms", terms_text),
                ("secretTag", quoted(&m.message.secret_tag)),
                ("share", quoted(m.message.share)),
            ]);
            let kind = if inner_type == InnerType::UPLOAD { "UPLOAD" } else { "DELIVERY" };
            from_json(kind, &[("fields", fields), ("tag", quoted(&m.tag))])
        }
        Inner::Answer(m) => from_json(
            "ANSWER",
            &[
                ("table", number(m.message.table.into())),
                ("index", number(m.message.index)),
                ("status", number(m.message.status.value().into())),
                (
                    "confirmation",
                    m.message.confirmation.as_ref().map_or_else(|| "null".into(), confirmation_text),
                ),
                ("tag", quoted(&m.tag)),
            ],
        ),
        Inner::Busy(m) => from_json("BUSY", &[("table", number(m.table.into())), ("index", number(m.index))]),
        Inner::Confirm(m) => from_json(
            "CONFIRM",
            &[
                ("keyId", quoted(&m.key_id)),
                ("peer", quoted(&m.peer)),
                ("confirmation", confirmation_text(&m.confirmation)),
            ],
        ),
        Inner::Fetch(_) => from_json("FETCH", &[]),
        Inner::Fetched(m) => from_json("FETCHED", &[("waiting", number(m.waiting.into()))]),
        Inner::Several(m) => {
            let messages: Vec<String> = m.messages().map(quoted).collect();
            from_json("SEVERAL", &[("messages", format!("[{}]", messages.join(",")))])
        }
        Inner::Refill(m) => from_json(
            "REFILL",
            &[
                ("direction", number(m.direction.value().into())),
                ("table", number(m.table.into())),
                ("elements", number(m.elements)),
                ("first", number(m.first)),
                ("pad", quoted(m.pad)),
            ],
        ),
        Inner::Refilled(m) => from_json(
            "REFILLED",
            &[
                ("direction", number(m.direction.value().into())),
                ("table", number(m.table.into())),
                ("next", number(m.next)),
            ],
        ),
        Inner::Command(m) => {
            let Command { table, index, floor, body, .. } = m.message;
            let (kind, body) = match body {
                CommandBody::Lookup(name) => ("LOOKUP", vec![("name", quoted(name))]),
                CommandBody::Publish(offer) => ("PUBLISH", vec![("offer", offer_text(offer.as_ref()))]),
                CommandBody::Withdraw(key_id) => ("WITHDRAW", vec![("keyId", quoted(&key_id))]),
                CommandBody::Authorise { client, allowed } => {
                    ("AUTHORISE", vec![("allowed", allowed.to_string()), ("client", quoted(&client))])
                }
                other => panic!("a command that this test does not know: {other:?}"),
            };
            let mut fields =
                vec![("table", number(table.into())), ("index", number(index)), ("floor", number(floor))];
            fields.extend(body);
            fields.push(("tag", quoted(&m.tag)));
            from_json(kind, &fields)
        }
        Inner::Outcome(m) => {
            let found = m.message.found.as_ref().map_or_else(
                || "null".into(),
                |found| {
                    object(&[("client", quoted(&found.client)), ("offer", offer_text(found.offer.as_ref()))])
                },
            );
            from_json(
                "OUTCOME",
                &[
                    ("table", number(m.message.table.into())),
                    ("index", number(m.message.index)),
                    ("status", number(m.message.status.value().into())),
                    ("found", found),
                    ("tag", quoted(&m.tag)),
                ],
            )
        }
        other => panic!("a message that this test does not know: {other:?}"),
    })
}

fn confirmation_text(confirmation: &Confirmation<'_>) -> String {
    object(&[
        ("origins", quoted(confirmation.origins)),
        ("lying", quoted(confirmation.lying)),
        ("tag", quoted(&confirmation.tag)),
    ])
}

fn offer_text(offer: Option<&Offer<'_>>) -> String {
    let Some(offer) = offer else { return "null".into() };
    object(&[
        ("minimumThreshold", offer.minimum_threshold.to_string()),
        ("informationTheoretic", offer.information_theoretic.to_string()),
        ("maximumLifetime", offer.maximum_lifetime.to_string()),
        ("suites", format!("{:?}", offer.suites)),
        ("coordinates", format!("{:?}", offer.coordinates)),
    ])
}

fn quoted(octets: &[u8]) -> String {
    format!("\"{}\"", Hex::new(octets.to_vec()))
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn from_json(kind: &str, fields: &[(&str, String)]) -> Message {
    let mut all = vec![("type", format!("\"{kind}\""))];
    all.extend(fields.iter().cloned());
    serde_json::from_str(&object(&all)).expect("a message of the vectors")
}

/// Decodes, compares with the fields or the cause, and encodes again.
fn check(
    name: &str,
    octets: &Hex,
    wanted: Option<&Message>,
    refused: bool,
    flags: &[String],
    read: Result<Message, String>,
) {
    if refused {
        assert_eq!(read.as_ref().unwrap_err(), &flags[0], "{name}");
        assert_eq!(wanted, None, "{name}");
    } else {
        let read = read.unwrap_or_else(|cause| panic!("{name}: refused as {cause}"));
        assert_eq!(Some(&read), wanted, "{name}");
        assert_eq!(encode(&read), octets.as_bytes(), "{name}");
    }
}

fn outer(test: &OuterTest) {
    let OuterTest { name, octets, message, refused_by, flags, .. } = test;
    let refused = *refused_by == Some(Layer::Decode);
    assert_eq!(refused, test.result == Verdict::Invalid, "{name}");
    check(name, octets, message.as_ref(), refused, flags, outer_fields(octets.as_bytes()));
}

fn inner(test: &InnerTest, client_id: u32, hub_id: [u8; 16], hubs: u8) {
    let InnerTest { name, octets, message, refused_by, flags, .. } = test;
    let refused = *refused_by == Some(Layer::Decode);
    check(name, octets, message.as_ref(), refused, flags, inner_fields(octets.as_bytes()));
    if let Some(input) = &test.tag_input {
        let prefix = tag_prefix(Direction::new(test.direction), client_id, &hub_id);
        let untagged = &octets.as_bytes()[..octets.as_bytes().len() - TAG_LEN];
        assert_eq!(input.as_bytes(), [&prefix[..], untagged].concat(), "{name}");
    }
    let bitmaps = match Inner::decode(octets.as_bytes()) {
        Ok(Inner::Answer(answer)) => answer.message.confirmation,
        Ok(Inner::Confirm(confirm)) => Some(confirm.confirmation),
        _ => None,
    };
    if let Some(Confirmation { origins, lying, .. }) = bitmaps {
        let fit = bitmap_fits(origins, hubs) && bitmap_fits(lying, hubs);
        assert_eq!(fit, *refused_by != Some(Layer::State), "{name}");
    }
}

#[test]
fn every_message_is_what_the_vectors_say() {
    let file = dske_wire::load().unwrap();
    let mut count = 0;
    for group in &file.test_groups {
        match group {
            TestGroup::Outer(group) => {
                group.tests.iter().for_each(outer);
                count += group.tests.len();
            }
            TestGroup::Inner(group) => {
                for test in &group.tests {
                    inner(test, group.client_id, array(&group.hub_id), group.hubs);
                }
                count += group.tests.len();
            }
            other => panic!("a group that this test does not know: {}", other.name()),
        }
    }
    assert_eq!(count, file.number_of_tests as usize);
}
