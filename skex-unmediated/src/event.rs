//! What a peer tells the application.

use skex_core::{KeyId, OutputKey, Suite};

/// The part that an end had in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// It sent the first message.
    Initiator,
    /// It answered it.
    Responder,
}

/// A session, as both ends know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Its id, the same at both ends; with an index it names an output.
    pub id: KeyId,
    /// The epoch that its handshake began; epoch 0 is the enrolment.
    pub epoch: u64,
    /// The suite of its keys and of the next handshake.
    pub suite: Suite,
    /// The part that this end had.
    pub role: Role,
    /// Whether the peer is known to have it: always, but for an initiator before the confirmation.
    pub confirmed: bool,
    /// Whether this end may name outputs. After a start it may only answer the peer's.
    pub may_name: bool,
    /// Whether fresh secret material was mixed into its handshake: then whoever stole the state of an end before, and
    /// not the block, is locked out.
    pub mixed: bool,
}

/// What a peer tells the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session is there. Tell apart by its id: after a crash the same one may be told again.
    ///
    /// An initiator hears of it once it is confirmed; where the consumer confirms, as soon as it can give keys.
    Established(Session),
    /// A session from before the start is there still.
    Resumed(Session),
    /// The session was told with `confirmed: false`, and now the peer is known to have it.
    Confirmed(KeyId),
    /// The key that [`Peer::export_at`](crate::Peer::export_at) was asked for.
    KeyReady(OutputKey),
    /// A handshake came to its end too late to be trusted: both ends are in the next epoch, without a session.
    Void(KeyId),
    /// The peer says that it does not have this session, or no more. It gives no more keys here either.
    PeerVoid(KeyId),
    /// The session's time is over. It gives no more keys.
    Expired(KeyId),
    /// The blocks given to [`Peer::provide_mix`](crate::Peer::provide_mix) are durable here: erase every other copy.
    MixStored,
    /// The peer moved on with a block of fresh secret material that this end held and has lost: its store was rolled
    /// back. Provide the block again if it can be had, or enrol the pair anew; nothing else helps.
    MixLost,
    /// One of the ends requires fresh secret material, and they have no block in common. An attempt that offers one goes on:
    /// it is answered as soon as the peer has the block. Blocks that were withdrawn here give their places to others now.
    MixRefused,
    /// Nobody answered the first messages. Nothing is lost; try again. If it stays so: the peer is down or not reached, or was
    /// enrolled with something else (secret, ids, context, lane, initial suite) or has both ends on one side. It cannot tell:
    /// what it does not know it does not answer.
    ///
    /// A third message without an answer is no such case: it is repeated as long as it takes, and
    /// [`Peer::is_ahead`](crate::Peer::is_ahead) says so.
    Unanswered,
    /// The peer proved that it is ahead: this end was rolled back or cloned, and has to be enrolled anew. Its session is over,
    /// and it heeds no message any more.
    RolledBack,
}
