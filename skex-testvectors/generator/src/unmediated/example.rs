//! The example exchange that the specification prints, from the vectors.

use core::fmt::Write as _;

use serde_json::Value;

const TEST: &str = "four messages";
/// Octets on a line.
const LINE: usize = 32;

/// The lines between the fences under the heading of the example, from the text of unmediated-transcripts.json.
pub(crate) fn text(transcripts: &str) -> String {
    let file: Value = serde_json::from_str(transcripts).expect("a file");
    let tests = file["testGroups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["tests"].as_array().expect("tests"));
    let mut named = tests.filter(|test| test["name"] == TEST);
    let test = named.next().expect("the exchange that is printed");
    let mut example = Example { out: String::new() };
    example.print(test);
    example.out
}

struct Example {
    out: String,
}

impl Example {
    fn print(&mut self, test: &Value) {
        let handshake = &test["handshakes"][0];
        let random = [0, 1].map(|at| string(&test["ends"][at]["random"]));
        self.heading(
            "Enrolment: side a \"alice\", side b \"bob\", lane 0, suite 1,\n           context \"vectors\"",
        );
        self.field("ES", string(&test["secret"]));
        self.field("EB", string(&handshake["binding"]));
        self.field("CK_0", string(&handshake["chainKey"]));
        // At the start: 8 octets of no meaning, then BK.
        self.field("BK of b", &random[1][16..80]);

        self.heading("First message, from a: offers 1 and 2");
        self.field("kid_a,0", string(&handshake["pseudonym"]));
        self.field("k1_a,0", string(&handshake["macKey"]));
        self.field("Ni[0..12], drawn", &random[0][80..104]);
        self.field("message", &joined(handshake, &["firstBody", "mac1"]));
        self.field("H1", string(&handshake["h1"]));

        self.heading("Second message, from b in slot 0: chooses 1");
        self.field("message", &joined(handshake, &["secondBody", "mac2"]));
        self.field("H2", string(&handshake["h2"]));
        self.field("TH", string(&handshake["transcriptHash"]));
        self.field("MS", string(&handshake["masterSecret"]));

        self.heading("Third message, from a");
        self.field("message", string(&handshake["third"]));
        self.field("the long form, which would be sent again", string(&handshake["longThird"]));

        self.heading("Fourth message, from b: good");
        self.field("message", string(&handshake["fourthGood"]));
        self.field("had it been void", string(&handshake["fourthVoid"]));

        self.heading("Session and epoch 1");
        self.field("SID_1", string(&handshake["sessionId"]));
        self.field("XC_a,0", string(&handshake["exportA"]));
        self.field("XC_b,0", string(&handshake["exportB"]));
        self.field("CK_1", string(&handshake["nextChainKey"]));

        self.heading("Keys");
        for step in test["steps"].as_array().expect("steps") {
            let input = &step["input"];
            if input["type"] == "Name" {
                let index = input["index"].as_u64().expect("a number");
                let (label, context) = (string(&input["label"]), string(&input["context"]));
                let context = if context.is_empty() { "empty".to_owned() } else { context.to_owned() };
                self.field(
                    &format!("index {index:016x}, \"{label}\", context {context}"),
                    string(&input["key"]),
                );
            }
        }
    }

    fn heading(&mut self, text: &str) {
        let gap = if self.out.is_empty() { "" } else { "\n" };
        writeln!(self.out, "{gap}{text}").expect("a string");
    }

    fn field(&mut self, name: &str, digits: &str) {
        writeln!(self.out, "  {name}").expect("a string");
        for line in digits.as_bytes().chunks(2 * LINE) {
            writeln!(self.out, "    {}", core::str::from_utf8(line).expect("digits")).expect("a string");
        }
    }
}

fn string(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn joined(handshake: &Value, fields: &[&str]) -> String {
    fields.iter().map(|field| string(&handshake[*field])).collect()
}
