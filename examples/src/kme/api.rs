//! A request goes in, a response comes out: whom it is from, and which interface it is for.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use skex_core::machine::Instant;

use super::etsi;
pub(crate) use super::json::{OCTETS, Response};
use super::keeper::{Declined, Keeper, Relay, Vault};
use super::name::Name;
use super::skip;

/// What an SAE asks, or another KME.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Whom the certificate names; `None` if it names nobody.
    pub(crate) from: Option<&'a Name>,
    /// Peers whose KMEs have been reached for this request.
    pub(crate) reached: &'a BTreeSet<usize>,
    pub(crate) method: Method,
    /// As it came: not decoded.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Other,
}

/// What is to happen to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Now(Response),
    /// The KMEs of these peers are to be reached, each for this SAE, and then it is to be asked again. Nothing happened yet.
    Reach(BTreeMap<usize, Name>),
    /// This goes out when the other KMEs have taken over what is in the relays; if one has not, [`not_relayed`] does.
    After(Vec<Relay>, Response),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

/// Octets of the longest body that is looked at.
pub(crate) const LONGEST_BODY: usize = 65536;

/// Where other KMEs bring keys for SAEs here.
pub(crate) const RELAY_PATH: &str = "/kme/v1/relay";

/// Answers a request.
pub(crate) fn answer<V: Vault>(
    keeper: &mut Keeper<V>,
    now: Instant,
    rng: &mut dyn CryptoRng,
    request: &Request<'_>,
) -> Answer {
    if request.path == RELAY_PATH {
        return relay(keeper, request).into();
    }
    let Some(sae) = request.from.filter(|name| keeper.is_local(name)) else {
        return Response::error(401, "the common name of this certificate is no SAE of this KME", &[]).into();
    };
    if request.method == Method::Get && !request.body.is_empty() {
        return Response::error(400, "a GET request has no body", &[]).into();
    }
    let segments: Vec<&str> = request.path.split('/').collect();
    match segments.as_slice() {
        ["", "api", "v1", "keys", other, what] => etsi::answer(keeper, now, sae, other, what, request),
        ["", "capabilities"] => skip::only_get(request, || skip::capabilities(keeper, sae)).into(),
        ["", "key"] => skip::only_get(request, || skip::new_key(keeper, now, sae, request)).into(),
        ["", "key", id] => skip::only_get(request, || skip::key_of(keeper, sae, id, request)).into(),
        ["", "entropy"] => skip::only_get(request, || skip::entropy(rng, request)).into(),
        _ => nothing_here().into(),
    }
}

/// Keys from another KME for an SAE here.
fn relay<V: Vault>(keeper: &mut Keeper<V>, request: &Request<'_>) -> Response {
    let Some(kme) = request.from.filter(|name| keeper.is_kme(name)) else {
        return Response::error(
            401,
            "the common name of this certificate is no KME that this one knows",
            &[],
        );
    };
    match request.method {
        Method::Post => {}
        // Whether it would be heard, which it asks before it takes keys.
        Method::Get if !keeper.is_broken() => return Response::octets(&[]),
        Method::Get => return Response::error(503, "the storage of the KME failed: see its log", &[]),
        Method::Other => return bad_method(),
    }
    let (status, message) = match keeper.take_over(kme, request.body) {
        Ok(answer) => return Response::octets(&answer),
        Err(Declined::Malformed) => (400, "this is no relay"),
        Err(Declined::NoLink) => (401, "no link is between these SAEs by this KME"),
        Err(Declined::Size) => (400, "size is outside min_key_size and max_key_size"),
        Err(Declined::NotFound) => (400, "the wrapping key is not here, or was not used for this"),
        Err(Declined::Taken) => (400, "another key of this key_ID waits"),
        Err(Declined::NoRoom) => (400, "so many keys may not wait here"),
        Err(Declined::Broken) => (503, "the storage of the KME failed: see its log"),
    };
    Response::error(status, message, &[])
}

/// The refusal of a request, where the KME of this additional SAE was not reached or did not take the key over.
pub(crate) fn not_relayed(what: &str, why: &str) -> Response {
    let details = [("additional_slave_SAE_IDs", why)];
    Response::error(503, what, &details)
}

pub(super) fn nothing_here() -> Response {
    Response::error(404, "there is nothing of this name: see ETSI GS QKD 014 or SKIP", &[])
}

pub(super) fn bad_method() -> Response {
    Response::error(405, "this method is not for this name: see ETSI GS QKD 014 or SKIP", &[])
}

/// A name in a path or a query. Percent signs are decoded once; whatever then has more than one spelling is no name.
pub(super) fn name(text: &str) -> Option<Name> {
    Name::parse(&percent_decoded(text)?)
}

/// The values of the parameters of a query that are asked for, each at most once. Others are not looked at.
pub(super) fn parameters<const N: usize>(query: &str, names: [&str; N]) -> Option<[Option<String>; N]> {
    let mut values = [const { None }; N];
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = percent_decoded(name)?;
        for (value_of, wanted) in values.iter_mut().zip(names) {
            if name == wanted && value_of.replace(percent_decoded(value)?).is_some() {
                return None;
            }
        }
    }
    Some(values)
}

/// A number as a query writes it: digits alone.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            octets.extend(decoded);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests;
