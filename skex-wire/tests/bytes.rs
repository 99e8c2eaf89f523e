//! The tables of sizes in docs/draft-skex-dske.md, "Bytes", held against the encoders: every message, by suite, for several
//! numbers of hubs and lengths of keys; what one key costs on the wire and in pads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::collections::BTreeSet;

use skex_wire::dske::*;

/// The rows of the table that has this title, cells without their blanks.
fn table(title: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/draft-skex-dske.md");
    let draft = std::fs::read_to_string(path).unwrap();
    let before = draft.split(&format!("{{: title=\"{title}\"}}")).next().unwrap();
    assert!(before.len() < draft.len(), "no table {title}");
    let rows =
        before.lines().rev().skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let line = line.trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows: Vec<Vec<String>> = rows.map(cells).collect();
    rows.reverse();
    // Without its head and the line below that.
    rows.split_off(2)
}

/// What the letters of the table stand for.
#[derive(Clone, Copy)]
struct Case {
    hubs: u8,
    key_len: u32,
    name: usize,
    suites: usize,
    refill: usize,
}

impl Case {
    fn elements(self) -> usize {
        share_elements(self.key_len).unwrap() as usize
    }

    fn letter(self, letter: &str) -> usize {
        match letter {
            "n" => usize::from(self.hubs),
            "c" => usize::from(self.hubs).div_ceil(8),
            "L" => self.elements(),
            "a" => self.name,
            "f" => 6 + self.suites + usize::from(self.hubs),
            "m" => self.refill,
            other => panic!("{other}"),
        }
    }

    /// A sum of numbers, letters, and numbers of letters.
    fn evaluate(self, formula: &str) -> usize {
        let summand = |summand: &str| match summand.split_once(' ') {
            Some((number, letter)) => number.parse::<usize>().unwrap() * self.letter(letter),
            None => summand.parse().unwrap_or_else(|_| self.letter(summand)),
        };
        formula.split(" + ").map(summand).sum()
    }

    /// The length of the message that a row names, as the encoder has it.
    fn encoded_len(self, message: &str) -> usize {
        let coordinates: Vec<u8> = (1..=self.hubs).collect();
        let bitmap = vec![0; usize::from(self.hubs).div_ceil(8)];
        let share = vec![0; self.elements() * ELEMENT_LEN];
        let upload = |inner_type, number: Option<u8>, suite, share| {
            let terms = Terms::new(suite, 2, self.key_len, 600, &coordinates, &bitmap).unwrap();
            let position = match number {
                None => BlockPosition::new(0, 2, 2),
                Some(number) => BlockPosition::in_epoch(0, 2, number, 2),
            };
            let message = ShareMessage::new(inner_type, position, [0; 16], [0; 16], terms, [0; 16], share);
            message.unwrap().encoded_len()
        };
        let confirmation = || Confirmation::new(&bitmap, &bitmap, [0; 16]).unwrap();
        let answer = |confirmation, number| {
            let answer = Answer::new(0, 0, AnswerStatus::ACCEPTED, confirmation).unwrap();
            answer.in_epoch(number).encoded_len()
        };
        let suites: Vec<u8> = (1..=self.suites as u8).collect();
        let offer = || Offer::new(2, true, 600, &suites, &coordinates).unwrap();
        let command = |body| Command::new(BlockPosition::new(0, 0, 0), body).unwrap().encoded_len();
        let outcome = |found| Outcome::new(0, 0, OutcomeStatus::DONE, found).unwrap().encoded_len();
        let (its, sealed) = (DskeSuiteId::ITS, DskeSuiteId::AES256GCM);
        match message {
            "HELLO" | "HELLO_REPLY" => Hello::LEN,
            "HELLO_REQUEST" => HelloRequest::LEN,
            "SEALED, without what it carries" => SealedHeader::LEN + TAG_LEN,
            "SEALED_FRESH, without what it carries" => SealedHeader::FRESH_LEN + TAG_LEN,
            "LEASE_REQUEST" => LeaseRequest::LEN,
            "LEASE_GRANT" => LeaseGrant::LEN,
            "LEASE_DENIED" => LeaseDenied::LEN,
            "UPLOAD" => upload(InnerType::UPLOAD, None, its, &share),
            "UPLOAD, direct" => upload(InnerType::UPLOAD, None, its, &[]),
            "UPLOAD_SEALED" => upload(InnerType::UPLOAD_SEALED, Some(255), sealed, &share),
            "DELIVERY" => upload(InnerType::DELIVERY, None, its, &share),
            "DELIVERY_SEALED" => upload(InnerType::DELIVERY_SEALED, Some(255), sealed, &share),
            "ANSWER" => answer(None, None),
            "ANSWER, confirming" => answer(Some(confirmation()), None),
            "ANSWER_SEALED" => answer(None, Some(255)),
            "ANSWER_SEALED, confirming" => answer(Some(confirmation()), Some(255)),
            "BUSY" => Busy::LEN,
            "CONFIRM" => Confirm::new([0; 16], [0; 16], confirmation()).encoded_len(),
            "SEVERAL, of two BUSY" => Several::HEAD_LEN + 2 * (Several::FRAME_LEN + Busy::LEN),
            "FETCH" => Fetch::LEN,
            "FETCHED" => Fetched::LEN,
            "LOOKUP" => command(CommandBody::Lookup(&vec![b'a'; self.name])),
            "PUBLISH" => command(CommandBody::Publish(Some(offer()))),
            "PUBLISH, withdrawing" => command(CommandBody::Publish(None)),
            "WITHDRAW" => command(CommandBody::Withdraw([0; 16])),
            "AUTHORISE" => command(CommandBody::Authorise { client: [0; 16], allowed: true }),
            "OUTCOME" => outcome(None),
            "OUTCOME, found" => outcome(Some(Found::new([0; 16], None))),
            "OUTCOME, found with an offer" => outcome(Some(Found::new([0; 16], Some(offer())))),
            "REFILL" => {
                let pad = vec![0; self.refill * ELEMENT_LEN];
                Refill::new(Direction::UPLINK, 1, 4096, 0, &pad).unwrap().encoded_len()
            }
            "REFILLED" => Refilled::LEN,
            other => panic!("a row that the test does not know: {other}"),
        }
    }
}

/// Of the last column.
const EXAMPLE: Case = Case { hubs: 5, key_len: 32, name: 16, suites: 2, refill: 64 };

#[test]
fn every_message_has_the_size_that_the_draft_says() {
    let rows = table("Sizes");
    for row in &rows {
        let (message, formula) = (&row[0], &row[2]);
        assert_eq!(EXAMPLE.evaluate(formula), row[3].parse().unwrap(), "{message}: the last column");
        for (hubs, key_len) in [(2, 16), (5, 32), (8, 33), (9, 64), (16, 100), (17, 1 << 20), (31, 48)] {
            for (name, suites, refill) in [(1, 1, 1), (64, 8, 64)] {
                let case = Case { hubs, key_len, name, suites, refill };
                assert_eq!(case.encoded_len(message), case.evaluate(formula), "{message}: {hubs}, {key_len}");
            }
        }
    }
    // And none is missing.
    let names = rows.iter().map(|row| row[0].split(',').next().unwrap().to_owned());
    let names: BTreeSet<String> = names.collect();
    let outer = OuterType::KNOWN.iter().filter_map(|known| known.name());
    let inner = InnerType::KNOWN.iter().filter_map(|known| known.name());
    assert_eq!(names, outer.chain(inner).map(str::to_owned).collect());
}

#[test]
fn one_key_costs_the_octets_on_the_wire_that_the_draft_says() {
    let envelope = EXAMPLE.encoded_len("SEALED, without what it carries");
    let sizes = ["UPLOAD, direct", "UPLOAD", "ANSWER", "DELIVERY", "ANSWER, confirming", "CONFIRM"];
    let rows = table("Traffic of one key, ITS");
    let (sums, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row[0] == "sum");
    assert_eq!(rows.len(), sizes.len());
    let mut sum = 0;
    for (row, message) in rows.iter().zip(sizes) {
        let count: usize = row[0].split(' ').next().unwrap().parse().unwrap();
        let size = EXAMPLE.encoded_len(message);
        assert!(row[0].ends_with(&format!(", {size} + {envelope} each")), "{row:?}");
        assert_eq!(row[1].parse::<usize>().unwrap(), count * (size + envelope), "{row:?}");
        if message != "CONFIRM" {
            sum += count * (size + envelope);
        }
    }
    assert_eq!(sums[0][1].parse::<usize>().unwrap(), sum);
    // The sentence behind it.
    let messages = ["UPLOAD_SEALED", "ANSWER_SEALED", "DELIVERY_SEALED", "ANSWER_SEALED, confirming"];
    let sizes = messages.map(|message| EXAMPLE.encoded_len(message));
    let sum: usize = sizes.iter().map(|size| 5 * (size + envelope)).sum();
    assert_eq!((sizes, sum), ([203, 25, 203, 43], 2870));
}

#[test]
fn one_key_costs_the_pads_that_the_draft_says() {
    let number = |cell: &str| cell.replace(',', "").parse::<u32>().unwrap();
    for row in table("PSRD of one key, octets, ITS") {
        let key_len = match row[0].split_once(' ').unwrap() {
            (bits, "bits") => number(bits) / 8,
            (mebibytes, "MiB") => number(mebibytes) << 20,
            other => panic!("{other:?}"),
        };
        let (share, block) = (share_elements(key_len).unwrap(), block_elements(key_len).unwrap());
        let octets = block * ELEMENT_LEN as u32;
        let stated: Vec<u32> = row[1..].iter().map(|cell| number(cell)).collect();
        assert_eq!(stated, [share, block, octets, 5 * octets], "{row:?}");
    }
}
