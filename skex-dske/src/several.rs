//! Several messages in one envelope (docs/draft-skex-dske.md, "Several messages in one").

use skex_core::machine::{DiscardReason, Disposition};
use skex_wire::dske::{Inner, Several};

/// Has each message handled as if it had come alone. What came of them together: it was accepted if one was.
pub(crate) fn each_of(
    several: &Several<'_>,
    mut handle: impl FnMut(Result<Inner<'_>, DiscardReason>) -> Disposition,
) -> Disposition {
    let handled = several
        .messages()
        .map(|message| handle(Inner::decode(message).map_err(|_| DiscardReason::Malformed)));
    let either = |before, handled| if handled == Disposition::Accepted { handled } else { before };
    handled.reduce(either).unwrap_or(Disposition::Discarded(DiscardReason::Malformed))
}
