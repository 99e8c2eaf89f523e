//! Cisco SKIP (draft-cisco-skip-02, draft-singh-skip-00).
//!
//! Each SAE sees a key provider of its own, whose localSystemID is the name of the SAE; remoteSystemID names the SAE at the
//! other end. So the rules are those of [`Keeper`], and an id that came by one interface serves in the other.

use rand_core::CryptoRng;
use serde_json::json;
use skex_core::machine::Instant;
use zeroize::Zeroizing;

use super::api::{Method, Request, bad_method, number, parameters};
use super::json::Response;
use super::keeper::{Keeper, Refusal, Vault};
use super::name::Name;
use super::naming::{Delivery, DeliveryId};

/// Bits of the most entropy that is given at once.
const MOST_ENTROPY: u32 = 8192;

pub(super) fn only_get(request: &Request<'_>, answer: impl FnOnce() -> Response) -> Response {
    if request.method == Method::Get { answer() } else { bad_method() }
}

/// Section 4.1.
pub(super) fn capabilities<V: Vault>(keeper: &Keeper<V>, sae: &Name) -> Response {
    let remote: Vec<&str> = keeper.partners(sae).map(Name::as_str).collect();
    let capabilities = json!({
        "entropy": true,
        "key": true,
        "algorithm": "DSKE",
        "localSystemID": sae.as_str(),
        "remoteSystemID": remote,
    });
    Response::of(200, &capabilities)
}

/// Section 4.2: a new key.
pub(super) fn new_key<V: Vault>(
    keeper: &mut Keeper<V>,
    now: Instant,
    sae: &Name,
    request: &Request<'_>,
) -> Response {
    let Some([Some(remote), size]) = parameters(request.query, ["remoteSystemID", "size"]) else {
        return malformed();
    };
    let size = size.map_or_else(|| Some(keeper.settings().key_size), |size| number(&size));
    let (Some(remote), Some(size)) = (Name::parse(&remote), size) else { return malformed() };
    keys(keeper.begin(now, (sae, &remote), 1, size))
}

/// Section 4.2: the key of this id.
pub(super) fn key_of<V: Vault>(
    keeper: &mut Keeper<V>,
    sae: &Name,
    id: &str,
    request: &Request<'_>,
) -> Response {
    let Some([Some(remote)]) = parameters(request.query, ["remoteSystemID"]) else { return malformed() };
    let (Some(remote), Some(id)) = (Name::parse(&remote), DeliveryId::from_hex(id)) else {
        return malformed();
    };
    keys(keeper.follow((sae, &remote), &[id]))
}

/// Section 4.3.
pub(super) fn entropy(rng: &mut dyn CryptoRng, request: &Request<'_>) -> Response {
    let Some([bits]) = parameters(request.query, ["minentropy"]) else { return malformed() };
    let bits = bits.map_or(Some(256), |bits| number(&bits));
    let is_size = |bits: &u32| bits.is_multiple_of(8) && (8..=MOST_ENTROPY).contains(bits);
    let Some(bits) = bits.filter(is_size) else {
        return Response::error(400, "minentropy is a multiple of 8 from 8 to 8192", &[]);
    };
    let mut octets = Zeroizing::new(vec![0; usize::try_from(bits / 8).unwrap_or(0)]);
    rng.fill_bytes(&mut octets);
    let digits = Zeroizing::new(hex::encode(&*octets));
    let bits = bits.to_string();
    Response::secret(&[b"{\"randomStr\":\"", digits.as_bytes(), b"\",\"minentropy\":", bits.as_bytes(), b"}"])
}

fn keys(keys: Result<Vec<Delivery>, Refusal>) -> Response {
    let delivery = match keys.map(|keys| keys.into_iter().next()) {
        Ok(Some(delivery)) => delivery,
        Ok(None) => return refused(Refusal::NotFound),
        Err(refusal) => return refused(refusal),
    };
    let (id, key) = (delivery.id.to_hex(), Zeroizing::new(hex::encode(delivery.key.expose())));
    Response::secret(&[b"{\"keyId\":\"", id.as_bytes(), b"\",\"key\":\"", key.as_bytes(), b"\"}"])
}

fn malformed() -> Response {
    Response::error(400, "the request is malformed: see SKIP, section 4", &[])
}

/// Tables 3 and 7, and 503 where trying again helps.
fn refused(refusal: Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::NoLink => (400, "remoteSystemID is none of those in the capabilities"),
        Refusal::Size | Refusal::Number => (400, "size is not one that this key provider gives"),
        Refusal::NotFound | Refusal::Twice => (400, "the key was not found"),
        Refusal::NotReady => (503, "no key is ready: try again"),
        // ETSI's alone.
        Refusal::Additional(_) => (400, "the request is malformed: see SKIP, section 4"),
        Refusal::TooMany => (503, "too many keys in a minute: try again later"),
        Refusal::Broken => (500, "the storage of the key provider failed: see its log"),
    };
    Response::error(status, message, &[])
}
