//! The program `skex`: two symmetric key establishment protocols over UDP, files and the operating system's entropy.

mod bell;
mod clock;
mod command;
mod config;
mod consumer;
mod control;
mod driver;
mod entropy;
mod feed;
mod keys;
mod kme;
mod provisioning;
mod report;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Symmetric keys for two devices, without public-key cryptography.
///
/// Through hubs (DSKE): two clients that share random tables with the same hubs agree on a key; fewer hubs than the
/// threshold learn nothing about it. Between two (unmediated): two enrolled peers make fresh keys with nobody's help.
///
/// Not audited: for experiments.
#[derive(Parser)]
#[command(name = "skex", version, max_term_width = 110, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  See it all, on this machine, in a few seconds:
    skex demo

  What a key costs on this machine, beside what you would pick instead:
    skex bench

  Five hubs and two clients, on this machine:
    skex provision --out net --hubs 5 --clients alice,bob
    skex hub --dir net/hub-1          (and so on, each in a terminal of its own)
    skex client --dir net/bob wait --out-dir keys-of-bob
    skex client --dir net/alice get bob --threshold 3 --out key-with-bob

  Two peers and no hub; both have the same 32 random octets in the file `secret`:
    skex peer --dir a enrol --role a --id alice --peer-id bob --secret-file secret
    skex peer --dir b enrol --role b --id bob --peer-id alice --secret-file secret
    skex peer --dir b listen --bind 127.0.0.1:4500
    skex peer --dir a connect 127.0.0.1:4500

Each directory belongs to one device: carry it there, and never run two copies of it.";

#[derive(Subcommand)]
enum Command {
    Provision(command::provision::Arguments),
    Hub(command::hub::Arguments),
    Client(command::client::Arguments),
    Kme(command::kme::Arguments),
    Peer(command::peer::Arguments),
    Status(command::status::Arguments),
    Demo(command::demo::Arguments),
    Bench(command::bench::Arguments),
    Load(command::load::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Provision(arguments) => command::provision::run(&arguments),
        Command::Hub(arguments) => command::hub::run(&arguments),
        Command::Client(arguments) => command::client::run(arguments),
        Command::Kme(arguments) => command::kme::run(arguments),
        Command::Peer(arguments) => command::peer::run(arguments),
        Command::Status(arguments) => command::status::run(&arguments),
        Command::Demo(arguments) => command::demo::run(&arguments),
        Command::Bench(arguments) => command::bench::run(&arguments),
        Command::Load(arguments) => command::load::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skex: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each once: the libraries' errors have the text of their cause in their own.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
