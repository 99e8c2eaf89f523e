//! A feed at both ends of a link, with a stand-in for the program `wg`: real consumers have their tests in examples/consumers.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::{Running, run, start, text};

const PUBLIC_KEY: &str = "YAnz5TF+lXXJte14tji3zlMNftqL5tRlUhg+qYV+gWM=";

/// A pair of peers, each with a `wg` whose interface is a file.
struct Pair {
    directory: tempfile::TempDir,
    /// For the names of its interfaces: two pairs must not feed the same one.
    number: u32,
}

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        static PAIRS: AtomicU32 = AtomicU32::new(0);
        let pair = Self { directory, number: PAIRS.fetch_add(1, Ordering::Relaxed) };
        let secret = pair.path("secret");
        fs::write(&secret, [9; 32]).unwrap();
        for (side, other) in [("a", "b"), ("b", "a")] {
            let home = pair.path(side);
            run([
                "peer",
                "--dir",
                text(&home),
                "enrol",
                "--role",
                side,
                "--id",
                side,
                "--peer-id",
                other,
                "--secret-file",
                text(&secret),
            ])
            .succeeded();
            let wg = pair.path(&format!("wg-{side}"));
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = set ]; then cat > \"$0.key\"\nelif [ \"$3\" = preshared-keys ]; then\n\
                 printf '%s\\t%s\\n' {PUBLIC_KEY} \"$(cat \"$0.key\" 2>/dev/null || echo '(none)')\"\n\
                 else printf '%s\\t%s\\n' {PUBLIC_KEY} 0; fi\n"
            );
            fs::write(&wg, script).unwrap();
            fs::set_permissions(&wg, fs::Permissions::from_mode(0o700)).unwrap();
        }
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn preshared(&self, side: &str) -> String {
        fs::read_to_string(self.path(&format!("wg-{side}.key"))).unwrap_or_default()
    }

    fn interface(&self, side: &str) -> String {
        format!("w{}-{}{side}", std::process::id(), self.number)
    }

    fn arguments(&self, side: &str, options: &[&str]) -> Vec<String> {
        let (home, wg, interface) = (self.path(side), self.path(&format!("wg-{side}")), self.interface(side));
        let mut all = vec!["peer", "--dir", text(&home), "feed", "--bind", "127.0.0.1:0"];
        all.extend(["--link-bind", "127.0.0.1:0", "--grace", "0"]);
        all.extend(options);
        all.extend(["wireguard", "--interface", &interface, "--public-key", PUBLIC_KEY, "--wg", text(&wg)]);
        all.into_iter().map(str::to_owned).collect()
    }

    /// b, which learns where a is, and a, which takes orders and reports in JSON.
    fn start(&self) -> (Running, Running) {
        let mut b = start(self.arguments("b", &[]));
        let (address, link) = (b.address(), b.address());
        let a = start(self.arguments("a", &["--peer", &address, "--link-peer", &link, "--steered"]));
        (a, b)
    }
}

/// Both ends of a link, and a key that a orders, up to when both transmit with it.
fn rotate((a, b): (&mut Running, &mut Running), generation: u64) {
    a.order("rotate");
    a.said(&[&format!(r#""step":"rotated","generation":{generation},"#)]);
    b.said(&[&format!("generation {generation}: rotated")]);
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn keys_follow_each_other_at_both_ends_and_old_ones_are_erased() {
    let pair = Pair::new();
    let (mut a, mut b) = pair.start();
    let mut before = String::new();
    for generation in 1..4 {
        rotate((&mut a, &mut b), generation);
        assert_eq!(pair.preshared("a"), pair.preshared("b"));
        assert_eq!(pair.preshared("a").len(), 44);
        assert_ne!(pair.preshared("a"), before);
        before = pair.preshared("a");
    }
    a.said(&[r#""step":"retired","generation":1,"#, r#""step":"retired","generation":2,"#]);
    b.said(&["generation 1: retired", "generation 2: retired"]);
    for side in ["a", "b"] {
        let link = pair.path(side).join("link");
        let keys: Vec<String> = names(&link).into_iter().filter(|name| name.ends_with(".key")).collect();
        assert_eq!(keys, ["3.key"]);
        assert_eq!(fs::metadata(link.join("3.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn both_ends_killed_at_once_go_on_with_the_key_that_they_had() {
    let pair = Pair::new();
    let (mut a, mut b) = pair.start();
    rotate((&mut a, &mut b), 1);
    rotate((&mut a, &mut b), 2);
    let had = pair.preshared("a");
    a.kill();
    b.kill();
    drop((a, b));
    let (mut a, mut b) = pair.start();
    for end in [&mut a, &mut b] {
        end.said(&["transmits with 2"]);
    }
    assert_eq!((pair.preshared("a"), pair.preshared("b")), (had.clone(), had.clone()));
    rotate((&mut a, &mut b), 3);
    assert_eq!(pair.preshared("a"), pair.preshared("b"));
    assert_ne!(pair.preshared("a"), had);
}

/// Another directory that feeds the same peer of the same interface would set its own keys over those of the first.
#[test]
fn two_directories_do_not_feed_one_interface() {
    let (pair, other) = (Pair::new(), Pair::new());
    let (mut a, mut b) = pair.start();
    rotate((&mut a, &mut b), 1);
    let had = pair.preshared("a");
    let mut arguments = other.arguments("a", &[]);
    let at = arguments.iter().position(|argument| *argument == other.interface("a")).unwrap();
    arguments[at] = pair.interface("a");
    run(&arguments).refused(&["another skex process feeds", &pair.interface("a"), "stop it first"]);
    assert_eq!(pair.preshared("a"), had);
    // Its end, however it ends, lets the other begin.
    a.kill();
    start(&arguments).address();
}

#[test]
fn a_directory_of_keys_that_others_can_read_is_refused() {
    let pair = Pair::new();
    let link = pair.path("a").join("link");
    fs::create_dir(&link).unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).unwrap();
    run(pair.arguments("a", &[])).refused(&["others may look into", "chmod 700"]);
}

#[test]
fn options_that_cannot_be_are_refused_before_anything_starts() {
    let pair = Pair::new();
    let ended = run(pair.arguments("a", &["--every", "0"]));
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    run(pair.arguments("a", &["--peer", "nowhere.invalid"])).refused(&["nowhere.invalid", "HOST:PORT"]);
    let mut arguments = pair.arguments("a", &[]);
    arguments.iter_mut().filter(|argument| *argument == PUBLIC_KEY).for_each(|key| "short".clone_into(key));
    run(&arguments).refused(&["44 characters of base64"]);
}
