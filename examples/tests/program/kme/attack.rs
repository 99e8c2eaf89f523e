//! What a hostile SAE, and whoever can reach the port, may try.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::https::{answer, read_all};
use super::{Kmes, dec, enc, id_of};

/// Eight at once, with all of them at the same key: one gets it.
#[test]
fn of_many_that_ask_at_once_for_one_key_one_gets_it() {
    let kmes = Kmes::new(16);
    let (a, b) = (kmes.start("alice"), kmes.start("bob"));
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 16);
    for _ in 0..6 {
        let (_, at_a) = a.https.get(&sae_a, &enc("sae-b"));
        let request =
            format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", dec("sae-a", &id_of(&at_a)));
        // All but the last octet first, so that the answers are made at the same time.
        let mut connections: Vec<_> = (0..8).map(|_| b.https.connect(Some(&sae_b))).collect();
        for connection in &mut connections {
            connection.write_all(&request.as_bytes()[..request.len() - 1]).unwrap();
            connection.flush().unwrap();
        }
        let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
            let send = |mut connection: super::https::Connection| {
                connection.write_all(b"\n").unwrap();
                connection.flush().unwrap();
                answer(&read_all(&mut connection).unwrap())
            };
            let threads: Vec<_> =
                connections.into_iter().map(|connection| scope.spawn(move || send(connection))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let given: Vec<&Value> =
            answers.iter().filter(|(status, _)| *status == 200).map(|(_, key)| key).collect();
        assert_eq!(given, [&at_a]);
        assert!(answers.iter().all(|(status, _)| [200, 400].contains(status)), "{answers:?}");
    }
    // And many that begin at once get different ones.
    a.await_ready(&sae_a, "sae-b", 8);
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| id_of(&a.https.get(&sae_a, &enc("sae-b")).1))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 8);
}

/// Lengths that two readers see differently, heads and bodies without end, things that are no HTTP.
#[test]
fn a_request_that_is_none_is_refused_and_costs_no_key() {
    let kmes = Kmes::new(4);
    let (a, _b) = (kmes.start("alice"), kmes.start("bob"));
    let sae = kmes.sae("sae-a");
    a.await_ready(&sae, "sae-b", 4);
    let target = enc("sae-b");
    let inner = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let post = |head: &str, body: &str| {
        format!("POST /api/v1/keys/sae-b/dec_keys HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}")
    };
    let hidden = |head: &str| post(head, &format!("0\r\n\r\n{inner}"));
    let long = "x".repeat(70_000);
    for request in [
        // A second request hides behind the first one's body.
        hidden("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        hidden("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        hidden("Transfer-Encoding: xchunked"),
        hidden("Transfer-Encoding: chunked, identity"),
        hidden("Transfer-Encoding : chunked\r\nContent-Length: 5"),
        hidden("Content-Length: 5\r\nContent-Length: 50"),
        hidden("Content-Length: +5"),
        hidden("Content-Length: 5, 50"),
        hidden("Content-Length: 0x5"),
        post("Transfer-Encoding: chunked", &format!("-1\r\n\r\n{inner}")),
        post("Transfer-Encoding: chunked", &format!("fffffffffffffffff\r\n\r\n{inner}")),
        // Bodies and heads that are too long, said and unsaid.
        post("Content-Length: 70000", &long),
        post("Content-Length: 99999999999999999999999", ""),
        post("Transfer-Encoding: chunked", &format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len())),
        format!("GET /api/v1/keys/{long}/status HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65)),
        // No HTTP/1.1.
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHo\0st: x\r\n\r\n"),
        format!("GET {target}\r\n\r\n"),
        format!("GET  {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET {target} HTTP/9.9\r\nHost: x\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET \u{e9}{target} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "\r\n\r\n\r\n".to_owned(),
        "CONNECT sae-b:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
    ] {
        let shown = request.chars().take(120).collect::<String>();
        // Nothing, or refusals alone: not one answer with a key in it.
        let text = a.https.raw_half_closed(&sae, request.as_bytes()).unwrap_or_default();
        assert!(!text.contains("\"keys\"") && !text.contains(" 200 "), "{shown:?} gave {text}");
        // And after a request that two readers see differently, nothing is heard any more.
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "{shown:?} gave {text}");
    }
    // A length that is said and not kept.
    let text = a.https.raw_half_closed(&sae, post("Content-Length: 50", "{").as_bytes()).unwrap_or_default();
    assert!(!text.contains(" 200 "), "{text}");
    // Somebody who does not even speak TLS.
    let mut plain = TcpStream::connect(&a.https.address).unwrap();
    plain.write_all(inner.as_bytes()).unwrap();
    let mut said = Vec::new();
    let _ended = plain.read_to_end(&mut said);
    assert!(!said.windows(4).any(|window| window == b"keys"));

    let (status, answer) = a.https.get(&sae, &format!("{target}?number=4"));
    assert_eq!((status, answer["keys"].as_array().unwrap().len()), (200, 4), "all are there");
}

/// Whoever is slow, idle or many holds up nobody but himself.
#[test]
fn slow_ones_and_crowds_hold_nobody_up() {
    let kmes = Kmes::new(4);
    let (a, _b) = (kmes.start("alice"), kmes.start("bob"));
    let (hostile, other) = (kmes.sae("sae-a"), kmes.sae("sae-c"));
    a.await_ready(&other, "sae-d", 4);
    // Twenty that begin no handshake; one SAE with sixteen connections on which it says half a head, half a body, or nothing.
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&a.https.address).unwrap()).collect();
    let halves = [
        "GET /capabilities HT",
        "POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
        "",
    ];
    let mut slow = Vec::new();
    for number in 0..16 {
        let mut connection = a.https.connect(Some(&hostile));
        connection.conn.complete_io(&mut connection.sock).unwrap();
        connection.write_all(halves[number % 3].as_bytes()).unwrap();
        connection.flush().unwrap();
        slow.push(connection);
    }
    // Those that are there first have been counted once this one has been answered or turned away.
    let request = b"GET /capabilities HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let is_turned_away = (0..100).any(|_| {
        std::thread::sleep(core::time::Duration::from_millis(20));
        a.https.raw(Some(&hostile), request).map_or(true, |text| text.is_empty())
    });
    assert!(is_turned_away, "a seventeenth connection of one SAE is not served");
    assert_eq!(a.https.get(&other, &enc("sae-d")).0, 200);
    // All of them end by the server's will.
    for connection in &mut slow {
        let said = read_all(connection).unwrap_or_default();
        assert!(!said.contains(" 200 "), "{said}");
    }
    for stream in &mut silent {
        stream.set_read_timeout(Some(core::time::Duration::from_secs(60))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    assert_eq!(a.https.get(&hostile, "/capabilities").0, 200);
    assert_eq!(a.https.post(&other, &enc("sae-d"), &json!({"number": 1})).0, 200);
}
