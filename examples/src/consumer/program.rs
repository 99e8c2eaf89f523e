//! Consumers that are reached by a program of theirs: run with a limit of time and output, secrets by pipe only.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use zeroize::Zeroizing;

use super::Failure;

/// After this a program is taken for hung: some never return when their daemon has died.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that prints more talks nonsense.
const MOST_OUTPUT: usize = 1 << 20;

const PAUSE: Duration = Duration::from_millis(5);

/// Runs a program, with `input` on its standard input. What it prints may hold keys.
///
/// A program that is not there, hangs or prints too much is [`Failure::Away`]. One that ends badly is
/// [`Failure::Refused`], with nothing of what it printed: that may quote a key.
pub(super) fn run(
    program: &str,
    arguments: &[&str],
    input: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    run_within(PATIENCE, program, arguments, input)
}

fn run_within(
    patience: Duration,
    program: &str,
    arguments: &[&str],
    input: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::Away(format!("cannot run {program}: {error}")))?;
    let finished = talk(patience, &mut child, input);
    // Whatever happened, it does not outlive this call.
    let _ = child.kill();
    let waited = child.wait();
    let output = finished.map_err(|why| Failure::Away(format!("{program} {why}")))?;
    match waited {
        Ok(status) if status.success() => Ok(output),
        Ok(status) => Err(Failure::Refused(format!("{program} ended with {}", ending(status)))),
        Err(error) => Err(Failure::Away(format!("cannot wait for {program}: {error}"))),
    }
}

fn ending(status: ExitStatus) -> String {
    status.code().map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"))
}

fn talk(
    patience: Duration,
    child: &mut Child,
    input: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // Keys are shorter than a pipe, so this cannot hang. Who does not read them has ended, and is judged by how.
        let _ = pipe.write_all(input);
    }
    let Some(pipe) = child.stdout.take() else { return Err("has no output") };
    // A thread, because the program may print without end, or never close its output.
    let reader = thread::spawn(move || {
        let mut output = Zeroizing::new(Vec::with_capacity(MOST_OUTPUT.saturating_add(1)));
        let limit = u64::try_from(MOST_OUTPUT).unwrap_or(u64::MAX).saturating_add(1);
        pipe.take(limit).read_to_end(&mut output).map(|_| output)
    });
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) if reader.is_finished() => break,
            Ok(_) if began.elapsed() < patience => thread::sleep(PAUSE),
            Ok(_) => return Err("does not come to an end"),
            Err(_) => return Err("cannot be waited for"),
        }
    }
    match reader.join() {
        Ok(Ok(output)) if output.len() <= MOST_OUTPUT => Ok(output),
        Ok(Ok(_)) => Err("prints without end"),
        _ => Err("cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_by_the_pipe_comes_out() {
        assert_eq!(run("cat", &[], Some(b"secret")).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn a_program_that_fails_is_a_refusal_that_quotes_nothing() {
        let failed = run("sh", &["-c", "cat; cat >&2; exit 3"], Some(b"swordfish")).unwrap_err();
        let Failure::Refused(why) = failed else { panic!("{failed}") };
        assert!(why.contains("status 3") && !why.contains("swordfish"), "{why}");
    }

    #[test]
    fn a_program_that_is_missing_hangs_or_prints_without_end_is_away() {
        assert!(matches!(run("/nowhere/at-all", &[], None), Err(Failure::Away(_))));
        assert!(matches!(run("yes", &[], None), Err(Failure::Away(_))));
        assert!(matches!(run_within(PAUSE, "sleep", &["60"], None), Err(Failure::Away(_))));
    }
}
