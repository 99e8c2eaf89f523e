//! A request goes in, a response comes out: whom it is from, and which interface it is for.

use rand_core::CryptoRng;
use skex_core::machine::Instant;

use super::etsi;
pub(crate) use super::json::Response;
use super::keeper::{Keeper, Vault};
use super::name::Name;
use super::skip;

/// What an SAE asks.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Whom the certificate names; `None` if it names nobody.
    pub(crate) sae: Option<&'a Name>,
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

/// Octets of the longest body that is looked at.
pub(crate) const LONGEST_BODY: usize = 65536;

/// Answers a request.
pub(crate) fn answer<V: Vault>(
    keeper: &mut Keeper<V>,
    now: Instant,
    rng: &mut dyn CryptoRng,
    request: &Request<'_>,
) -> Response {
    let Some(sae) = request.sae.filter(|sae| keeper.is_local(sae)) else {
        return Response::error(401, "the common name of this certificate is no SAE of this KME", &[]);
    };
    if request.method == Method::Get && !request.body.is_empty() {
        return Response::error(400, "a GET request has no body", &[]);
    }
    let segments: Vec<&str> = request.path.split('/').collect();
    match segments.as_slice() {
        ["", "api", "v1", "keys", other, what] => etsi::answer(keeper, now, sae, other, what, request),
        ["", "capabilities"] => skip::only_get(request, || skip::capabilities(keeper, sae)),
        ["", "key"] => skip::only_get(request, || skip::new_key(keeper, now, sae, request)),
        ["", "key", id] => skip::only_get(request, || skip::key_of(keeper, sae, id, request)),
        ["", "entropy"] => skip::only_get(request, || skip::entropy(rng, request)),
        _ => nothing_here(),
    }
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
