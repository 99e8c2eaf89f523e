//! Answers, in JSON but for those to other KMEs. Those with keys are put together in memory that is wiped.

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// What goes back to the SAE, or to another KME.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

const JSON: &str = "application/json";
pub(crate) const OCTETS: &str = "application/octet-stream";

impl Response {
    /// Something that is no secret.
    pub(super) fn of(status: u16, content: &impl Serialize) -> Self {
        let body = serde_json::to_vec(content).unwrap_or_default();
        Self { status, content_type: JSON, body: Zeroizing::new(body) }
    }

    /// An error of ETSI GS QKD 014, section 6.5: also what SKIP gets, which does not say what goes with its codes. Nothing
    /// that the request said is repeated.
    pub(crate) fn error(status: u16, message: &str, details: &[(&str, &str)]) -> Self {
        let mut content = json!({ "message": message });
        if !details.is_empty() {
            let of = |(name, value): &(&str, &str)| json!({ *name: value });
            let details: Vec<Value> = details.iter().map(of).collect();
            if let Some(content) = content.as_object_mut() {
                content.insert("details".to_owned(), details.into());
            }
        }
        Self::of(status, &content)
    }

    /// Something that has secrets in it: `parts` in turn.
    pub(super) fn secret(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        // In one piece from the start: growing would leave copies.
        let mut body = Zeroizing::new(Vec::with_capacity(len));
        parts.iter().for_each(|part| body.extend_from_slice(part));
        Self { status: 200, content_type: JSON, body }
    }

    /// Octets that are no secret.
    pub(super) fn octets(octets: &[u8]) -> Self {
        Self { status: 200, content_type: OCTETS, body: Zeroizing::new(octets.to_vec()) }
    }
}
