use serde_json::{Value, json};

use super::super::keeper::tests::{Memory, NOW, Two, name};
use super::*;
use crate::entropy::Entropy;

fn decide(
    keeper: &mut Keeper<Memory>,
    from: &str,
    (method, path, query): (Method, &str, &str),
    body: &[u8],
    reached: &[usize],
) -> Answer {
    let (from, reached) = (name(from), reached.iter().copied().collect());
    let request = Request { from: Some(&from), reached: &reached, method, path, query, body };
    answer(keeper, NOW, &mut Entropy::open().unwrap(), &request)
}

#[track_caller]
fn now(answer: Answer) -> Response {
    let Answer::Now(response) = answer else { panic!("{answer:?}") };
    response
}

/// An SAE's request to a KME; the status and what is in the answer.
fn ask(keeper: &mut Keeper<Memory>, sae: &str, method: Method, target: &str, body: &str) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let response = now(decide(keeper, sae, (method, path, query), body.as_bytes(), &[]));
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

fn get(keeper: &mut Keeper<Memory>, sae: &str, target: &str) -> (u16, Value) {
    ask(keeper, sae, Method::Get, target, "")
}

fn post(keeper: &mut Keeper<Memory>, sae: &str, target: &str, body: &Value) -> (u16, Value) {
    ask(keeper, sae, Method::Post, target, &body.to_string())
}

#[track_caller]
fn assert_refused((status, answer): (u16, Value), expected: u16) -> String {
    assert_eq!(status, expected, "{answer}");
    let message = answer["message"].as_str().unwrap().to_owned();
    assert!(!message.is_empty());
    message
}

const ENC: &str = "/api/v1/keys/sae-b/enc_keys";
const DEC: &str = "/api/v1/keys/sae-a/dec_keys";

#[test]
fn scenario_69_status_has_every_field_of_the_specification() {
    let mut two = Two::with_keys(3);
    let expected = json!({
        "source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": "sae-a", "slave_SAE_ID": "sae-b",
        "key_size": 256, "stored_key_count": 3, "max_key_count": 8, "max_key_per_request": 4,
        "max_key_size": 1024, "min_key_size": 64, "max_SAE_ID_count": 0,
    });
    assert_eq!(get(&mut two.a, "sae-a", "/api/v1/keys/sae-b/status"), (200, expected));
}

#[test]
fn scenario_69_keys_by_get_and_by_post_are_the_same_at_both_ends() {
    let mut two = Two::with_keys(8);
    for (method, target, body, count, octets) in [
        (Method::Get, ENC.to_owned(), String::new(), 1, 32),
        (Method::Get, format!("{ENC}?number=2&size=512"), String::new(), 2, 64),
        (Method::Post, ENC.to_owned(), String::new(), 1, 32),
        (Method::Post, ENC.to_owned(), json!({"number": 2, "size": 128}).to_string(), 2, 16),
        // As the crate etsi014 0.4.1 writes it, and etsi014-client 0.2.0.
        (
            Method::Post,
            ENC.to_owned(),
            json!({"number": null, "size": null, "additional_slave_SAE_IDs": null}).to_string(),
            1,
            32,
        ),
        (
            Method::Post,
            ENC.to_owned(),
            json!({"number": 1, "size": 256, "additional_target_sae_ids": []}).to_string(),
            1,
            32,
        ),
    ] {
        let (status, at_a) = ask(&mut two.a, "sae-a", method, &target, &body);
        assert_eq!(status, 200, "{at_a}");
        let keys = at_a["keys"].as_array().unwrap();
        assert_eq!(keys.len(), count);
        let base64_len = usize::div_ceil(octets, 3) * 4;
        assert!(keys.iter().all(|key| key["key"].as_str().unwrap().len() == base64_len));
        if count == 1 {
            let target = format!("{DEC}?key_ID={}", keys[0]["key_ID"].as_str().unwrap());
            assert_eq!(get(&mut two.b, "sae-b", &target), (200, at_a.clone()));
            assert_refused(get(&mut two.b, "sae-b", &target), 400);
        } else {
            let ids: Vec<Value> = keys.iter().map(|key| json!({"key_ID": key["key_ID"]})).collect();
            let wanted = json!({"key_IDs": ids, "key_IDs_extension": {"anything": 1}});
            assert_eq!(post(&mut two.b, "sae-b", DEC, &wanted), (200, at_a.clone()));
            assert_refused(post(&mut two.b, "sae-b", DEC, &wanted), 400);
        }
    }
}

/// The texts are those of ETSI GS QKD 014, where it has one.
#[test]
fn scenario_69_what_cannot_be_granted_is_refused_in_the_words_of_the_specification() {
    let mut two = Two::with_keys(2);
    for (body, status, message) in [
        (json!({"size": 255}), 400, "size shall be a multiple of 8"),
        (json!({"size": 56}), 400, "size is outside min_key_size and max_key_size"),
        (json!({"size": 1032}), 400, "size is outside"),
        (json!({"number": 0}), 400, "max_key_per_request"),
        (json!({"number": 5}), 400, "max_key_per_request"),
        (json!({"number": 3}), 503, "fewer keys are ready"),
        (
            json!({"additional_slave_SAE_IDs": ["sae-d"]}),
            400,
            "more additional_slave_SAE_IDs than max_SAE_ID_count",
        ),
        (
            json!({"extension_mandatory": [{"abc_route_type": "direct"}]}),
            400,
            "not all extension_mandatory parameters are supported",
        ),
    ] {
        let refused = assert_refused(post(&mut two.a, "sae-a", ENC, &body), status);
        assert!(refused.contains(message), "{refused}");
    }
    let (_, answer) = post(&mut two.a, "sae-a", ENC, &json!({"extension_mandatory": [{"x": 1}]}));
    assert!(answer["details"][0]["extension_mandatory_unsupported"].is_string());
    // What may be left aside is.
    let body =
        json!({"additional_slave_SAE_IDs": [], "extension_mandatory": [], "extension_optional": [{"x": 1}]});
    assert_eq!(post(&mut two.a, "sae-a", ENC, &body).0, 200);
    let never = json!({"key_IDs": [{"key_ID": "bc490419-7d60-487f-adc1-4ddcc177c139"}]});
    let refused = assert_refused(post(&mut two.b, "sae-b", DEC, &never), 400);
    assert_eq!(refused, "one or more keys specified are not found on KME");
}

#[test]
fn scenario_69_a_malformed_request_is_refused_and_burns_nothing() {
    let mut two = Two::with_keys(2);
    for body in [
        "{",
        "[]",
        "null",
        "7",
        "{\"number\": -1}",
        "{\"number\": 1.5}",
        "{\"number\": \"1\"}",
        "{\"size\": 4294967296}",
        "{\"number\": 1, \"number\": 1}",
        "{\"additional_slave_SAE_IDs\": \"sae-d\"}",
        "{\"additional_slave_SAE_IDs\": [7]}",
        "{\"additional_slave_SAE_IDs\": [null]}",
        "{\"extension_mandatory\": {}}",
        "{} {}",
        "\u{feff}{}",
        "[1, 256, null, null, null]",
    ] {
        assert_refused(ask(&mut two.a, "sae-a", Method::Post, ENC, body), 400);
    }
    for query in
        ["number=", "number=+1", "number=1&number=1", "size=0x80", "number=%31%", "number=１", "size=-8"]
    {
        assert_refused(get(&mut two.a, "sae-a", &format!("{ENC}?{query}")), 400);
    }
    assert_refused(ask(&mut two.a, "sae-a", Method::Get, ENC, "{}"), 400);
    // Deep, and too much for the size: no stack is used up on the way there.
    let deep = format!("{{\"extension_optional\":[{}1{}],\"size\":7}}", "[".repeat(30000), "]".repeat(30000));
    assert_refused(ask(&mut two.a, "sae-a", Method::Post, ENC, &deep), 400);
    assert_eq!(get(&mut two.a, "sae-a", &format!("{ENC}?number=2")).0, 200, "both are still there");
    for body in ["", "{}", "{\"key_IDs\": []}", "{\"key_IDs\": [7]}", "{\"key_IDs\": [{\"key_ID\": \"x\"}]}"]
    {
        assert_refused(ask(&mut two.b, "sae-b", Method::Post, DEC, body), 400);
    }
    for query in ["", "?key_ID=", "?key_id=bc490419-7d60-487f-adc1-4ddcc177c139", "?key_ID=..%2f"] {
        assert_refused(get(&mut two.b, "sae-b", &format!("{DEC}{query}")), 400);
    }
}

/// Nothing that an SAE says comes back to it, so that no log and no browser is written to.
#[test]
fn an_error_repeats_nothing_of_the_request() {
    let mut two = Two::with_keys(1);
    for (target, body) in [
        ("/api/v1/keys/EVIL<script>/enc_keys", json!({})),
        ("/EVIL", json!({})),
        (ENC, json!({"number": "EVIL"})),
        (ENC, json!({"extension_mandatory": [{"EVIL": "EVIL"}]})),
        ("/api/v1/keys/sae-b/dec_keys", json!({"key_IDs": [{"key_ID": "EVIL"}]})),
    ] {
        let (status, answer) = post(&mut two.a, "sae-a", target, &body);
        assert!(status >= 400 && !answer.to_string().contains("EVIL"), "{answer}");
    }
}

#[test]
fn whoever_is_no_sae_of_this_kme_gets_nothing_whatever_it_asks() {
    let mut two = Two::with_keys(1);
    for target in
        [ENC, "/api/v1/keys/sae-b/status", "/capabilities", "/key?remoteSystemID=sae-b", "/entropy", "/"]
    {
        // Of the same authority: the SAE at the other end, the KME itself, somebody else.
        for sae in ["sae-b", "kme-a", "mallory"] {
            assert_refused(get(&mut two.a, sae, target), 401);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let reached = BTreeSet::new();
        let nobody = Request { from: None, reached: &reached, method: Method::Get, path, query, body: b"" };
        let answer = answer(&mut two.a, NOW, &mut Entropy::open().unwrap(), &nobody);
        assert_eq!(now(answer).status, 401);
    }
    for target in ["/api/v1/keys/sae-d/enc_keys", "/api/v1/keys/sae-a/enc_keys", "/api/v1/keys/nobody/status"]
    {
        assert_refused(get(&mut two.a, "sae-a", target), 401);
    }
    assert_eq!(get(&mut two.a, "sae-a", ENC).0, 200);
}

#[test]
fn a_path_leads_to_one_place_however_it_is_spelt() {
    let mut two = Two::with_keys(4);
    for path in [
        "",
        "/",
        "/api/v1/keys/sae-b",
        "/api/v1/keys/sae-b/enc_keys/",
        "//api/v1/keys/sae-b/enc_keys",
        "/api/v1/keys/x/../sae-b/enc_keys",
        "/api/v1/keys/sae-b/./enc_keys",
        "/API/v1/keys/sae-b/enc_keys",
        "/api/v2/keys/sae-b/enc_keys",
        "/api/v1/keys/sae-b/enc%5fkeys",
        "/api/v1/keys/sae-b/enc_keys;x=1",
        "/api/v1/keys/sae-b%2fenc_keys",
        "/key/",
        "/key/a/b",
        "/KEY",
    ] {
        let (status, _) = get(&mut two.a, "sae-a", path);
        assert!(status == 404 || status == 400, "{path:?} gave {status}");
    }
    for sae in
        ["sae%2Fb", "sae-b%00", "sae%252db", "sae-%62%20", "..", "%2e%2e", "s%C3%A4e-b", "sae-b%", "%ff"]
    {
        let target = format!("/api/v1/keys/{sae}/enc_keys");
        assert_refused(get(&mut two.a, "sae-a", &target), 401);
    }
    // One decoding is what HTTP demands: this is the same name.
    assert_eq!(get(&mut two.a, "sae-a", "/api/v1/keys/%73ae%2Db/enc_keys").0, 200);
    for (method, target) in [
        (Method::Post, "/api/v1/keys/sae-b/status"),
        (Method::Other, ENC),
        (Method::Other, "/api/v1/keys/sae-b/dec_keys"),
        (Method::Post, "/capabilities"),
        (Method::Post, "/key"),
        (Method::Other, "/entropy"),
    ] {
        assert_refused(ask(&mut two.a, "sae-a", method, target, ""), 405);
    }
    assert_refused(ask(&mut two.a, "sae-a", Method::Other, "/api/v1/keys/sae-b/delete", ""), 404);
    assert_eq!(get(&mut two.a, "sae-a", &format!("{ENC}?number=3")).0, 200, "only one was spent");
}

#[test]
fn skip_gives_the_same_key_at_both_ends_once() {
    let mut two = Two::with_keys(3);
    let expected = json!({
        "entropy": true, "key": true, "algorithm": "DSKE", "localSystemID": "sae-a", "remoteSystemID": ["sae-b"],
    });
    assert_eq!(get(&mut two.a, "sae-a", "/capabilities"), (200, expected));
    for (query, octets) in [("", 32), ("&size=128", 16)] {
        let (status, at_a) = get(&mut two.a, "sae-a", &format!("/key?remoteSystemID=sae-b{query}"));
        assert_eq!((status, at_a["key"].as_str().unwrap().len()), (200, 2 * octets));
        let id = at_a["keyId"].as_str().unwrap();
        assert_eq!(id.len(), 32);
        let target = format!("/key/{id}?remoteSystemID=sae-a");
        assert_refused(get(&mut two.b, "sae-d", &target.replace("sae-a", "sae-c")), 400);
        assert_eq!(get(&mut two.b, "sae-b", &target), (200, at_a.clone()));
        assert_refused(get(&mut two.b, "sae-b", &target), 400);
    }
    for target in [
        "/key",
        "/key?remoteSystemId=sae-b",
        "/key?remoteSystemID=sae-d",
        "/key?remoteSystemID=*",
        "/key?remoteSystemID=sae-b&size=7",
        "/key?remoteSystemID=sae-b&size=x",
        "/key/xyz?remoteSystemID=sae-b",
        "/key/bc4904197d60487fadc14ddcc177c139?remoteSystemID=sae-b",
        "/key/bc4904197d60487fadc14ddcc177c139",
    ] {
        assert_refused(get(&mut two.a, "sae-a", target), 400);
    }
    assert_eq!(two.a.missing().next().unwrap().2, 7, "one is left");
}

/// One core behind both: a key taken by one interface is taken for the other too.
#[test]
fn a_key_of_one_interface_is_fetched_by_the_other_once() {
    let mut two = Two::with_keys(1);
    let (_, at_a) = get(&mut two.a, "sae-a", ENC);
    let uuid = at_a["keys"][0]["key_ID"].as_str().unwrap();
    let target = format!("/key/{}?remoteSystemID=sae-a", uuid.replace('-', ""));
    assert_eq!(get(&mut two.b, "sae-b", &target).0, 200);
    assert_refused(get(&mut two.b, "sae-b", &format!("{DEC}?key_ID={uuid}")), 400);
}

#[test]
fn entropy_comes_in_the_length_that_is_asked_for_and_differs_each_time() {
    let mut two = Two::with_keys(0);
    let (status, first) = get(&mut two.a, "sae-a", "/entropy");
    assert_eq!((status, first["minentropy"].as_u64()), (200, Some(256)));
    assert_ne!(get(&mut two.a, "sae-a", "/entropy").1["randomStr"], first["randomStr"]);
    let (_, longer) = get(&mut two.a, "sae-a", "/entropy?minentropy=512");
    assert_eq!(
        (longer["randomStr"].as_str().unwrap().len(), longer["minentropy"].as_u64()),
        (128, Some(512))
    );
    for bad in ["0", "7", "8200", "4294967296", "-8", "x", ""] {
        assert_refused(get(&mut two.a, "sae-a", &format!("/entropy?minentropy={bad}")), 400);
    }
}
