//! ETSI GS QKD 014 v1.1.1: status, enc_keys, dec_keys.

use base64ct::{Base64, Encoding as _};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use skex_core::machine::Instant;
use zeroize::Zeroizing;

use super::api::{Answer, Method, Request, bad_method, name, nothing_here, number, parameters};
use super::json::Response;
use super::keeper::{Fault, Keeper, Refusal, Vault, Wanted};
use super::name::Name;
use super::naming::{Delivery, DeliveryId};

/// Section 5: `other` is the SAE that the path names.
pub(super) fn answer<V: Vault>(
    keeper: &mut Keeper<V>,
    now: Instant,
    sae: &Name,
    other: &str,
    what: &str,
    request: &Request<'_>,
) -> Answer {
    let Some(other) = name(other) else { return refused(Refusal::NoLink).into() };
    let done = match (what, request.method) {
        ("status", Method::Get) => status(keeper, sae, &other).map(Answer::Now),
        ("enc_keys", Method::Get | Method::Post) => enc_keys(keeper, now, sae, &other, request),
        ("dec_keys", Method::Get | Method::Post) => dec_keys(keeper, sae, &other, request).map(Answer::Now),
        ("status" | "enc_keys" | "dec_keys", _) => Err(bad_method()),
        _ => Err(nothing_here()),
    };
    done.unwrap_or_else(Answer::Now)
}

/// Section 6.1.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "as the specification writes them")]
struct Status<'a> {
    source_KME_ID: &'a str,
    target_KME_ID: &'a str,
    master_SAE_ID: &'a str,
    slave_SAE_ID: &'a str,
    key_size: u32,
    stored_key_count: usize,
    max_key_count: u32,
    max_key_per_request: u32,
    max_key_size: u32,
    min_key_size: u32,
    max_SAE_ID_count: u32,
}

/// Section 5.2.
fn status<V: Vault>(keeper: &Keeper<V>, master: &Name, slave: &Name) -> Result<Response, Response> {
    let (peer, ready) = keeper.stock(master, slave).map_err(refused)?;
    let settings = keeper.settings();
    let status = Status {
        source_KME_ID: settings.kme.as_str(),
        target_KME_ID: peer.kme.as_str(),
        master_SAE_ID: master.as_str(),
        slave_SAE_ID: slave.as_str(),
        key_size: settings.key_size,
        stored_key_count: ready,
        max_key_count: peer.ready,
        max_key_per_request: settings.max_key_per_request,
        max_key_size: settings.max_key_size,
        min_key_size: settings.min_key_size,
        max_SAE_ID_count: settings.max_sae_id_count(),
    };
    Ok(Response::of(200, &status))
}

/// Section 6.2. What is not in it is not looked at.
#[derive(Default, Deserialize)]
#[expect(non_snake_case, reason = "as the specification writes them")]
struct KeyRequest {
    number: Option<u32>,
    size: Option<u32>,
    additional_slave_SAE_IDs: Option<Vec<String>>,
    extension_mandatory: Option<Vec<IgnoredAny>>,
    /// Read, so that its form is checked; none is known here.
    #[expect(dead_code, reason = "none is known here")]
    extension_optional: Option<Vec<IgnoredAny>>,
}

/// Section 5.3.
fn enc_keys<V: Vault>(
    keeper: &mut Keeper<V>,
    now: Instant,
    master: &Name,
    slave: &Name,
    request: &Request<'_>,
) -> Result<Answer, Response> {
    let wanted = match request.method {
        Method::Get => {
            let values = parameters(request.query, ["number", "size"]).ok_or_else(malformed)?;
            let [count, size] = values.map(|value| value.map(|text| number(&text).ok_or_else(malformed)));
            KeyRequest { number: count.transpose()?, size: size.transpose()?, ..KeyRequest::default() }
        }
        // All of it can be left out.
        _ if request.body.is_empty() => KeyRequest::default(),
        _ => object(request.body)?,
    };
    if wanted.extension_mandatory.is_some_and(|extensions| !extensions.is_empty()) {
        let detail = "this KME knows no extensions";
        return Err(Response::error(
            400,
            "not all extension_mandatory parameters are supported",
            &[("extension_mandatory_unsupported", detail)],
        ));
    }
    let size = wanted.size.unwrap_or_else(|| keeper.settings().key_size);
    if !size.is_multiple_of(8) {
        return Err(Response::error(400, "size shall be a multiple of 8", &[]));
    }
    let additional = wanted.additional_slave_SAE_IDs.unwrap_or_default();
    let additional: Vec<Option<Name>> = additional.iter().map(|sae| Name::parse(sae)).collect();
    let number = wanted.number.unwrap_or(1);
    let wanted = Wanted { master, slave, additional: &additional, number, bits: size };
    // While a KME cannot be reached, no key is lost to it.
    let peers = keeper.peers_for(now, &wanted).map_err(refused)?;
    if !peers.keys().all(|peer| request.reached.contains(peer)) {
        return Ok(Answer::Reach(peers));
    }
    let begun = keeper.begin_for_several(now, &wanted).map_err(refused)?;
    let response = container(&begun.keys);
    Ok(if begun.relays.is_empty() { response.into() } else { Answer::After(begun.relays, response) })
}

/// Section 6.4.
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "as the specification writes them")]
struct KeyIds {
    key_IDs: Vec<KeyIdEntry>,
}

#[derive(Deserialize)]
#[expect(non_snake_case, reason = "as the specification writes them")]
struct KeyIdEntry {
    key_ID: String,
}

/// Section 5.4.
fn dec_keys<V: Vault>(
    keeper: &mut Keeper<V>,
    slave: &Name,
    master: &Name,
    request: &Request<'_>,
) -> Result<Response, Response> {
    let ids = match request.method {
        Method::Get => {
            let [id] = parameters(request.query, ["key_ID"]).ok_or_else(malformed)?;
            vec![id.ok_or_else(malformed)?]
        }
        _ => {
            let ids: KeyIds = object(request.body)?;
            ids.key_IDs.into_iter().map(|entry| entry.key_ID).collect()
        }
    };
    let ids: Option<Vec<DeliveryId>> = ids.iter().map(|id| DeliveryId::from_uuid(id)).collect();
    let keys = keeper.follow((slave, master), &ids.ok_or_else(malformed)?).map_err(refused)?;
    Ok(container(&keys))
}

/// Section 6.3.
fn container(keys: &[Delivery]) -> Response {
    let encoded: Vec<(String, Zeroizing<Vec<u8>>)> = keys
        .iter()
        .map(|delivery| {
            let octets = delivery.key.expose();
            let mut text = Zeroizing::new(vec![0; Base64::encoded_len(octets)]);
            // The room is what it takes.
            let _text = Base64::encode(octets, &mut text);
            (delivery.id.to_uuid(), text)
        })
        .collect();
    let mut parts: Vec<&[u8]> = vec![b"{\"keys\":["];
    for (number, (id, key)) in encoded.iter().enumerate() {
        let before: &[u8] = if number == 0 { b"{\"key_ID\":\"" } else { b",{\"key_ID\":\"" };
        parts.extend([before, id.as_bytes(), b"\",\"key\":\"", key, b"\"}"]);
    }
    parts.push(b"]}");
    Response::secret(&parts)
}

/// A JSON object; `serde` would take an array of the fields' values too.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    let object = body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok());
    object.flatten().ok_or_else(malformed)
}

fn malformed() -> Response {
    Response::error(400, "the request is malformed: see ETSI GS QKD 014, section 6", &[])
}

/// Section 6.5. Where the specification has a text, it is that.
fn refused(refusal: Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::NoLink => (401, "this SAE may have no keys with that one"),
        Refusal::Size => (400, "size is outside min_key_size and max_key_size"),
        Refusal::Number => (400, "the number of keys is 1 to max_key_per_request"),
        Refusal::Twice => (400, "a key is named twice"),
        Refusal::NotFound => (400, "one or more keys specified are not found on KME"),
        Refusal::NotReady => {
            (503, "fewer keys are ready than asked for: see stored_key_count, and try again")
        }
        Refusal::TooMany => (503, "this SAE asks for too many keys in a minute: try again later"),
        Refusal::Broken => (503, "the storage of the KME failed: see its log"),
        Refusal::Additional(Fault::TooMany) => {
            (400, "there are more additional_slave_SAE_IDs than max_SAE_ID_count")
        }
        Refusal::Additional(Fault::NoLink(_)) => {
            (400, "an additional SAE is none that this SAE may have keys with")
        }
        Refusal::Additional(Fault::Twice(_)) => {
            (400, "an additional SAE is named twice, or is the master or the slave")
        }
        Refusal::Additional(Fault::NoAddress(_)) => {
            (400, "the KME of an additional SAE has no address in the settings")
        }
        Refusal::Additional(Fault::Size) => (400, "with additional SAEs, size is at most 256"),
        Refusal::Additional(Fault::Number) => {
            (400, "with additional SAEs, the number of keys is at most 255")
        }
    };
    let Refusal::Additional(Fault::NoLink(place) | Fault::Twice(place) | Fault::NoAddress(place)) = refusal
    else {
        return Response::error(status, message, &[]);
    };
    // By its place: what the request says is not repeated.
    let which = format!("number {} of them", place.saturating_add(1));
    Response::error(status, message, &[("additional_slave_SAE_IDs", &which)])
}
