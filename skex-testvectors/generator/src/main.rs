//! Writes the files of skex-testvectors and the example in the specification, or compares them with what it would write.
//!
//! ```text
//! cargo run -p skex-testvectors-generator -- write
//! cargo run -p skex-testvectors-generator -- check
//! cargo run -p skex-testvectors-generator -- release
//! ```
//!
//! `release` writes what machines of this version store into skex-testvectors/released/VERSION, once: at its release.
//!
//! From the implementation it takes hashes, HMACs and AEADs. Everything else (fields, sharing, tags, the key schedule,
//! encodings, frames) is written here a second time, from the specification and as plainly as can be, so that the
//! tests that hold the crates against the files compare two programs. What the ends of a transcript do is what real
//! machines did; a witness explains each octet of it from that second program, or stops this one.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a program for developers: whatever is wrong in it ought to stop it"
)]

mod consumers;
mod dske_envelope;
mod dske_epochs;
mod dske_key;
mod dske_transcripts;
mod dske_wire;
mod field;
mod file;
mod key_schedule;
mod labels;
mod primitives;
mod records;
mod released;
mod seed;
mod shamir;
mod suites;
mod tags;
mod unmediated;

use std::path::PathBuf;
use std::process::ExitCode;

/// Every file: its name and its text.
fn files() -> Vec<(&'static str, String)> {
    vec![
        labels::file(),
        suites::file(),
        key_schedule::file(),
        tags::file(),
        shamir::file(),
        dske_key::file(),
        dske_wire::file(),
        dske_envelope::file(),
        dske_epochs::file(),
        dske_transcripts::file(),
        records::file(),
        unmediated::keys::file(),
        unmediated::exporter::file(),
        unmediated::transcripts::file(),
        unmediated::records::file(),
        consumers::file(),
    ]
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

fn write() -> std::io::Result<()> {
    std::fs::create_dir_all(directory())?;
    let files = files();
    for (name, text) in &files {
        std::fs::write(directory().join(format!("{name}.json")), text)?;
    }
    let draft = std::fs::read_to_string(draft())?;
    std::fs::write(self::draft(), with_example(&draft, &files))
}

/// What machines of this version store. That of a version that is out is never written again.
fn release() -> std::io::Result<()> {
    let released = directory().join("../released");
    std::fs::create_dir_all(&released)?;
    let directory = released.join(env!("CARGO_PKG_VERSION"));
    std::fs::create_dir(&directory)?;
    for (name, text) in released::files() {
        std::fs::write(directory.join(format!("{name}.json")), text)?;
    }
    Ok(())
}

/// The specification that prints one of the exchanges.
fn draft() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/draft-skex-unmediated.md")
}

/// The specification with the example as it must be: what stands between the fences under its heading.
fn with_example(draft: &str, files: &[(&str, String)]) -> String {
    let fence = "\n~~~\n";
    let (_, transcripts) = files.iter().find(|(name, _)| *name == "unmediated-transcripts").expect("a file");
    let heading = draft.find("{#example}").expect("the draft has an example");
    let begin = heading + draft[heading..].find(fence).expect("a fence") + fence.len();
    let end = begin + draft[begin..].find(&fence[1..]).expect("a second fence");
    [&draft[..begin], &unmediated::example::text(transcripts), &draft[end..]].concat()
}

/// What differs from the files in the directory, and from the example in the specification; empty if nothing does.
fn differences() -> Vec<String> {
    let files = files();
    let mut found = Vec::new();
    for (name, text) in &files {
        let name = format!("{name}.json");
        match std::fs::read_to_string(directory().join(&name)) {
            Err(error) => found.push(format!("{name}: {error}")),
            Ok(present) if present == *text => {}
            Ok(present) => found.push(first_difference(&name, &present, text)),
        }
    }
    let entries = std::fs::read_dir(directory()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !files.iter().any(|(known, _)| name == format!("{known}.json")) {
            found.push(format!("{name}: this program does not write such a file"));
        }
    }
    let name = "docs/draft-skex-unmediated.md";
    match std::fs::read_to_string(draft()) {
        Err(error) => found.push(format!("{name}: {error}")),
        Ok(present) => {
            let wanted = with_example(&present, &files);
            if present != wanted {
                found.push(first_difference(name, &present, &wanted));
            }
        }
    }
    found
}

fn first_difference(name: &str, present: &str, wanted: &str) -> String {
    let (mut present_lines, mut wanted_lines) = (present.lines(), wanted.lines());
    for number in 1.. {
        match (present_lines.next(), wanted_lines.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let shown = |line: Option<&str>| line.map_or("(nothing)", str::trim).to_owned();
                return format!(
                    "{name}:{number}:\n  there is  {}\n  should be {}",
                    shown(left),
                    shown(right)
                );
            }
        }
    }
    format!("{name}: line ends differ")
}

fn written(done: std::io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write"] => written(write()),
        ["release"] => written(release()),
        ["check"] => {
            let found = differences();
            for difference in &found {
                eprintln!("{difference}");
            }
            if found.is_empty() {
                return ExitCode::SUCCESS;
            }
            eprintln!("If the change is meant, run `write` and look at `git diff`.");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: skex-testvectors-generator write|check|release");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_files_are_those_that_this_program_writes() {
        let found = super::differences();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
