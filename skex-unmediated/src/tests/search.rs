//! Every order of everything, within bounds: two real peers, each path replayed from the start.
//!
//! What may happen at any point: an end starts; any message ever sent arrives at its receiver, again or for the first time;
//! a timer expires; an end loses power and restarts, between two steps or in the middle of a write. After every step
//! the pair must be safe; from every state reached an honest run must reach a new session.

use std::collections::BTreeSet;
use std::string::String;
use std::vec::Vec;

use skex_core::Suite;

use super::pair::{Options, Pair, block};
use crate::rules::{Rule, without};
use crate::{MixPolicy, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Start(Side),
    /// A message, by its number in the order in which they were first sent.
    Deliver(usize),
    /// The same, and power is lost before (0) or after (1) the record is written.
    DeliverAndCrash(usize, usize),
    Timeout(Side),
    Crash(Side),
    /// The application withdraws its blocks of fresh secret material.
    Withdraw(Side),
    /// It provides block 2, where there is a place.
    Provide(Side),
}

#[derive(Clone, Copy)]
struct Bounds {
    attempts: usize,
    replies: usize,
    crashes: usize,
    timeouts: usize,
    /// Blocks withdrawn and provided, both ends together.
    changes: usize,
    /// Give up quietly after so many states.
    states: usize,
}

/// One path through the search.
struct Run {
    pair: Pair,
    messages: Vec<(Side, Vec<u8>)>,
    attempts: usize,
    crashes: usize,
    timeouts: usize,
    changes: usize,
}

impl Run {
    fn new(options: Options) -> Self {
        Self {
            pair: Pair::new(options),
            messages: Vec::new(),
            attempts: 0,
            crashes: 0,
            timeouts: 0,
            changes: 0,
        }
    }

    fn replay(options: Options, path: &[Step]) -> Self {
        let mut run = Self::new(options);
        for step in path {
            run.take(*step);
        }
        run
    }

    /// Takes a step, and says whether it could be taken at all.
    fn take(&mut self, step: Step) -> bool {
        let mut taken = true;
        match step {
            Step::Start(side) => {
                self.attempts += 1;
                self.pair.end(side).establish();
            }
            Step::Deliver(number) => {
                let (to, message) = self.messages[number].clone();
                let _ = self.pair.end(to).deliver(&message);
            }
            Step::DeliverAndCrash(number, point) => {
                self.crashes += 1;
                let (to, message) = self.messages[number].clone();
                let end = self.pair.end(to);
                end.crash_at = Some(end.steps + point);
                let writes = end.writes;
                let _ = end.deliver(&message);
                // A write was begun: it never landed, or it landed and was not reported.
                taken = end.peer.is_none() && end.writes == writes + point;
                end.crash();
                end.boot();
            }
            Step::Timeout(side) => {
                self.timeouts += 1;
                let end = self.pair.end(side);
                let before = end.now;
                end.wake_soon();
                taken = end.now > before;
            }
            Step::Withdraw(side) => {
                self.changes += 1;
                let end = self.pair.end(side);
                taken = end.peer().mix_blocks() > 0;
                end.peer().withdraw_mixes();
                end.drain();
            }
            Step::Provide(side) => {
                self.changes += 1;
                let end = self.pair.end(side);
                taken = end.peer().provide_mix(&block(2)).is_ok();
                end.drain();
            }
            Step::Crash(side) => {
                self.crashes += 1;
                self.pair.end(side).crash();
                self.pair.end(side).boot();
            }
        }
        self.collect();
        taken
    }

    fn collect(&mut self) {
        for side in BOTH {
            while let Some(message) = self.pair.end(side).sent.pop_front() {
                let sent = (side.other(), message);
                if !self.messages.contains(&sent) {
                    self.messages.push(sent);
                }
            }
        }
    }

    fn replies(&self) -> usize {
        self.messages.iter().filter(|(_, message)| message[0] == 0x12).count()
    }

    /// Nothing expires here: ends that know of each other that they are in one epoch both have its session, or none.
    fn check_status(&self) -> Result<(), &'static str> {
        let (Some(a), Some(b)) = (&self.pair.a.peer, &self.pair.b.peer) else { return Ok(()) };
        let settled = a.epoch() == b.epoch() && !a.is_ahead() && !b.is_ahead();
        if settled && a.session().is_some() != b.session().is_some() {
            return Err("one end believes in a void session");
        }
        Ok(())
    }

    /// What tells this state from others. Messages are a set: any of them can arrive at any time.
    fn key(&self) -> Vec<u8> {
        let mut text = String::new();
        for end in [&self.pair.a, &self.pair.b] {
            let peer = end.peer.as_ref().unwrap().fingerprint_for_tests();
            text += &std::format!("{peer} {:?} {:?} {:?};", end.durable(), end.now, end.believed);
        }
        let messages: BTreeSet<_> = self.messages.iter().map(|(_, message)| message).collect();
        text += &std::format!(
            "{messages:?} {} {} {} {}",
            self.attempts,
            self.crashes,
            self.timeouts,
            self.changes
        );
        Suite::all().next().unwrap().hash().chain(text.as_bytes()).finish().as_bytes().to_vec()
    }

    fn next_steps(&self, bounds: Bounds) -> Vec<Step> {
        let mut steps = Vec::new();
        for side in BOTH {
            if self.attempts < bounds.attempts {
                steps.push(Step::Start(side));
            }
            if self.timeouts < bounds.timeouts {
                steps.push(Step::Timeout(side));
            }
            if self.crashes < bounds.crashes {
                steps.push(Step::Crash(side));
            }
            if self.changes < bounds.changes {
                steps.extend([Step::Withdraw(side), Step::Provide(side)]);
            }
        }
        for number in 0..self.messages.len() {
            steps.push(Step::Deliver(number));
            if self.crashes < bounds.crashes {
                steps.extend([Step::DeliverAndCrash(number, 0), Step::DeliverAndCrash(number, 1)]);
            }
        }
        steps
    }
}

struct Found {
    states: usize,
    transitions: usize,
    complete: bool,
}

/// Searches breadth first. `Err` with what is broken, and the shortest way there.
fn search(options: Options, bounds: Bounds) -> Result<Found, (String, Vec<Step>)> {
    let options = Options { one_try: true, ..options };
    let mut seen = BTreeSet::new();
    let mut frontier = Vec::from([Vec::new()]);
    let mut found = Found { states: 0, transitions: 0, complete: true };
    seen.insert(Run::new(options).key());
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for path in frontier {
            for step in Run::replay(options, &path).next_steps(bounds) {
                if found.states >= bounds.states {
                    found.complete = false;
                    return Ok(found);
                }
                let mut run = Run::replay(options, &path);
                let taken = run.take(step);
                found.transitions += 1;
                if !taken || run.replies() > bounds.replies {
                    continue;
                }
                let mut path = path.clone();
                path.push(step);
                if let Err(broken) = run.pair.check_safe().and_then(|()| run.check_status()) {
                    return Err((String::from(broken), path));
                }
                if !seen.insert(run.key()) {
                    continue;
                }
                found.states += 1;
                for wants in BOTH {
                    let mut run = Run::replay(options, &path);
                    if let Err(broken) = run.pair.check_lives(wants) {
                        return Err((broken, path));
                    }
                }
                next.push(path);
            }
        }
        frontier = next;
    }
    Ok(found)
}

fn assert_holds(name: &str, options: Options, bounds: Bounds) {
    match search(options, bounds) {
        Ok(found) => {
            let Found { states, transitions, complete } = found;
            std::println!("{name}: {states} states, {transitions} transitions, complete: {complete}");
            assert!(complete, "{name}: raise the bound on states");
        }
        Err((broken, path)) => panic!("{name}: {broken} after {path:?}"),
    }
}

const SMALL: Bounds =
    Bounds { attempts: 2, replies: 2, crashes: 1, timeouts: 1, changes: 0, states: 1_000_000 };

/// Both ends hold a block and require one.
fn required() -> Options {
    Options { block: true, mix: Some(MixPolicy::Require), ..Options::default() }
}

#[test]
fn nothing_breaks_within_two_attempts_two_replies_one_crash_and_one_timeout() {
    assert_holds("fourth message", Options::default(), SMALL);
}

#[test]
fn nothing_breaks_in_any_variant() {
    let bounds = Bounds { timeouts: 0, ..SMALL };
    assert_holds("stateless", Options { stateless: true, ..Options::default() }, bounds);
    assert_holds("consumer", Options { consumer: true, ..Options::default() }, bounds);
    assert_holds("mixed", Options { block: true, ..Options::default() }, bounds);
}

#[test]
fn nothing_breaks_where_blocks_are_required_withdrawn_and_provided() {
    let bounds = Bounds { attempts: 1, replies: 2, crashes: 1, timeouts: 0, changes: 2, states: 1_000_000 };
    assert_holds("required", required(), bounds);
    let accepted = Options { block: true, ..Options::default() };
    assert_holds("accepted", accepted, Bounds { changes: 1, ..bounds });
}

#[test]
fn nothing_breaks_within_three_attempts_three_replies_and_one_crash() {
    let bounds = Bounds { attempts: 3, replies: 3, timeouts: 0, ..SMALL };
    assert_holds("fourth message", Options::default(), bounds);
}

/// Minutes: run it by name after a change of any rule, in a build for release:
/// `cargo test --release -p skex-unmediated --lib -- --ignored --nocapture search`.
#[test]
#[ignore = "takes long; run it after a change of a rule"]
fn nothing_breaks_within_three_attempts_three_replies_and_two_crashes() {
    let bounds = Bounds { attempts: 3, replies: 3, crashes: 2, timeouts: 0, changes: 0, states: 10_000_000 };
    assert_holds("fourth message", Options::default(), bounds);
}

/// The same with a block at both ends from the beginning.
#[test]
#[ignore = "takes long; run it after a change of a rule"]
fn nothing_breaks_with_a_block_within_three_attempts_three_replies_and_two_crashes() {
    let bounds = Bounds { attempts: 3, replies: 3, crashes: 2, timeouts: 0, changes: 0, states: 10_000_000 };
    assert_holds("mixed", Options { block: true, ..Options::default() }, bounds);
}

/// Blocks are required: the ends withdraw, restart, provide others, and start, in every order.
#[test]
#[ignore = "takes long; run it after a change of a rule"]
fn nothing_breaks_where_blocks_are_required_within_two_attempts_two_crashes_and_two_changes() {
    let bounds = Bounds { attempts: 2, replies: 2, crashes: 2, timeouts: 0, changes: 2, states: 10_000_000 };
    assert_holds("required", required(), bounds);
}

#[test]
fn each_rule_that_the_search_can_lose_is_found_missing() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(std::boxed::Box::new(|_| {}));
    let mut missed = Vec::new();
    let plain = [
        Rule::AnswerEndsAttempt,
        Rule::CurrentAttemptOnly,
        Rule::CommitBeforeThird,
        Rule::CommitBeforeFourth,
        Rule::KeepThird,
        Rule::FollowAlways,
        Rule::HeedStatus,
        Rule::StaleOnlyIfFollowed,
    ];
    let with_blocks = [Rule::KeepBlock, Rule::StoreBlock, Rule::AskForRoom];
    for (rules, options, changes) in [(&plain[..], Options::default(), 0), (&with_blocks, required(), 3)] {
        for rule in rules {
            let bounds = Bounds { attempts: 2, replies: 2, crashes: 1, timeouts: 0, changes, states: 4_000 };
            let caught = std::panic::catch_unwind(|| without(*rule, || search(options, bounds)));
            match caught {
                Ok(Ok(_)) => missed.push(*rule),
                Ok(Err((broken, path))) => std::println!("{rule:?}: {broken} after {path:?}"),
                Err(_) => std::println!("{rule:?}: a check inside panicked"),
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "nothing notices that these are gone: {missed:?}");
}
