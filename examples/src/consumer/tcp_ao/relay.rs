//! Carries TCP connections between services and the other end, and keeps the keys of the sockets between the ends.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use skex_core::SecretVec;

use super::super::Failure;
use super::{Algorithm, MasterKey, socket};

/// Connections at once, each way.
const MOST_CONNECTIONS: usize = 256;

/// Keys that went, whose ids are kept: a connection that was accepted by the kernel meanwhile may have got them.
const MOST_GONE: usize = 8;

/// Segments that stay unanswered for so long end a connection: the other end lacks the key, or is not reached.
const UNANSWERED: Duration = Duration::from_secs(30);

/// After an accept that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// A relay that runs. Its threads end with the process.
pub(super) struct Relay {
    sockets: Arc<Sockets>,
}

/// The sockets between the ends.
struct Sockets {
    peer: IpAddr,
    /// Where the other end's connections come.
    listener: Option<TcpListener>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    /// The generation that is transmitted with.
    used: Option<u64>,
    /// SendID and RecvID of the last keys that went.
    gone: Vec<[u8; 2]>,
    connections: Vec<Weak<TcpStream>>,
}

struct Key {
    generation: u64,
    ids: [u8; 2],
    algorithm: Algorithm,
    key: SecretVec,
}

impl Key {
    fn master(&self) -> MasterKey<'_> {
        let [send_id, recv_id] = self.ids;
        MasterKey { send_id, recv_id, algorithm: self.algorithm, key: self.key.expose() }
    }
}

impl State {
    fn ids(&self, generation: Option<u64>) -> Option<[u8; 2]> {
        self.keys.iter().find(|key| Some(key.generation) == generation).map(|key| key.ids)
    }

    /// The connections that live.
    fn connections(&mut self) -> Vec<Arc<TcpStream>> {
        self.connections.retain(|connection| connection.strong_count() > 0);
        self.connections.iter().filter_map(Weak::upgrade).collect()
    }

    /// Does something to every connection. One that does not take it ends: it would be cut off later.
    fn each(&mut self, change: impl Fn(&TcpStream) -> std::io::Result<()>) {
        for connection in self.connections() {
            if change(&connection).is_err() {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Relay {
    /// Begins to carry: `inward` from where the other end connects to a service, `outward` from where services connect to
    /// the other end.
    pub(super) fn start(
        peer: IpAddr,
        inward: Option<(SocketAddr, SocketAddr)>,
        outward: Option<(SocketAddr, SocketAddr)>,
    ) -> Result<Self> {
        let bind = |address: SocketAddr| {
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
        };
        let listener = inward.map(|(accept, _)| bind(accept)).transpose()?;
        let probe = rustix::net::socket(family(peer), SocketType::STREAM, None).context("no socket")?;
        if socket::require(&probe).is_err() {
            bail!("this kernel has no TCP-AO: Linux has it from 6.7 on, with CONFIG_TCP_AO");
        }
        if let Some(listener) = &listener {
            socket::require(listener).context("the listening socket does not take TCP-AO")?;
        }
        let sockets = Arc::new(Sockets { peer, listener, state: Mutex::new(State::default()) });
        if let Some((_, deliver)) = inward {
            let sockets = Arc::clone(&sockets);
            thread::spawn(move || sockets.carry_inward(deliver));
        }
        if let Some((listen, carry)) = outward {
            let (local, sockets) = (bind(listen)?, Arc::clone(&sockets));
            thread::spawn(move || sockets.carry_outward(&local, carry));
        }
        Ok(Self { sockets })
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.sockets.peer
    }

    /// Every socket accepts this key beside the others.
    pub(super) fn add(&self, generation: u64, master: MasterKey<'_>) -> Result<(), Failure> {
        let mut state = self.sockets.state();
        if state.ids(Some(generation)).is_some() {
            return Ok(());
        }
        let ids = [master.send_id, master.recv_id];
        if state.keys.iter().any(|key| key.ids == ids) {
            return Err(Failure::Refused(format!("the ids {ids:?} are still those of another key")));
        }
        let peer = self.sockets.peer;
        if let Some(listener) = &self.sockets.listener {
            let added = socket::add(listener, peer, master);
            added.map_err(|error| Failure::Refused(format!("the kernel does not take the key: {error}")))?;
        }
        state.each(|connection| socket::add(connection, peer, master));
        let key = SecretVec::copied_from(master.key);
        state.gone.retain(|gone| *gone != ids);
        state.keys.push(Key { generation, ids, algorithm: master.algorithm, key });
        Ok(())
    }

    /// Every connection uses this key.
    pub(super) fn use_key(&self, generation: u64) -> Result<(), Failure> {
        let mut state = self.sockets.state();
        let Some([send_id, recv_id]) = state.ids(Some(generation)) else {
            return Err(Failure::Refused("the sockets do not have the key".to_owned()));
        };
        state.used = Some(generation);
        state.each(|connection| socket::use_key(connection, send_id, recv_id));
        Ok(())
    }

    /// Every socket forgets this key.
    pub(super) fn remove(&self, generation: u64) -> Result<(), Failure> {
        let mut state = self.sockets.state();
        let Some(ids) = state.ids(Some(generation)) else { return Ok(()) };
        if state.used == Some(generation) {
            return Err(Failure::Refused("the key is still transmitted with".to_owned()));
        }
        let (peer, used) = (self.sockets.peer, state.ids(state.used));
        if let Some(listener) = &self.sockets.listener {
            let removed = socket::remove(listener, peer, ids, None);
            removed.map_err(|error| Failure::Refused(format!("the kernel keeps the key: {error}")))?;
        }
        state.each(|connection| socket::remove(connection, peer, ids, used));
        state.keys.retain(|key| key.generation != generation);
        state.gone.push(ids);
        if state.gone.len() > MOST_GONE {
            state.gone.remove(0);
        }
        Ok(())
    }

    /// Whether there are connections, and all of them send with this key.
    pub(super) fn is_used(&self, send_id: u8) -> Result<bool, Failure> {
        let connections = self.sockets.state().connections();
        let uses = |connection: &Arc<TcpStream>| socket::current(connection).is_ok_and(|id| id == send_id);
        Ok(!connections.is_empty() && connections.iter().all(uses))
    }

    pub(super) fn holding(&self) -> (Vec<u64>, Option<u64>) {
        let state = self.sockets.state();
        (state.keys.iter().map(|key| key.generation).collect(), state.used)
    }
}

impl Sockets {
    /// A thread that panicked left whole keys all the same.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_inward(self: Arc<Self>, deliver: SocketAddr) {
        let Some(listener) = &self.listener else { return };
        loop {
            let Ok((connection, from)) = listener.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            // The kernel lets nothing in without a key. It is asked all the same, for what came before it was told so.
            if from.ip() == self.peer
                && socket::current(&connection).is_ok()
                && let Ok(connection) = self.register(connection.into())
            {
                thread::spawn(move || {
                    if let Ok(service) = TcpStream::connect(deliver) {
                        join(&connection, service);
                    }
                });
            }
        }
    }

    fn carry_outward(self: Arc<Self>, local: &TcpListener, carry: SocketAddr) {
        loop {
            let Ok((service, _)) = local.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            let sockets = Arc::clone(&self);
            thread::spawn(move || {
                if let Ok(connection) = sockets.connect(carry) {
                    join(&connection, service);
                }
            });
        }
    }

    /// Nothing is begun before a key is switched to: the other end may lack the others.
    fn connect(&self, to: SocketAddr) -> Result<Arc<TcpStream>> {
        self.state().used.context("there is no key yet")?;
        let fresh =
            rustix::net::socket_with(family(self.peer), SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let connection = self.register(fresh)?;
        rustix::net::connect(&*connection, &to)?;
        Ok(connection)
    }

    /// Gives a connection the keys, and to the keys that come.
    fn register(&self, connection: OwnedFd) -> Result<Arc<TcpStream>> {
        let mut state = self.state();
        if state.connections().len() >= MOST_CONNECTIONS.saturating_mul(2) {
            bail!("too many connections");
        }
        let refused = |error: std::io::Error| anyhow!("the kernel does not take the keys: {error}");
        for key in &state.keys {
            socket::add(&connection, self.peer, key.master()).map_err(refused)?;
        }
        // Before the first switch, a connection that came in goes on under the key that it came with.
        let used = state.ids(state.used);
        if let Some([send_id, recv_id]) = used {
            socket::use_key(&connection, send_id, recv_id).map_err(refused)?;
        }
        for gone in &state.gone {
            socket::remove(&connection, self.peer, *gone, used).map_err(refused)?;
        }
        let unanswered = u32::try_from(UNANSWERED.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&connection, unanswered)?;
        let connection = Arc::new(TcpStream::from(connection));
        state.connections.push(Arc::downgrade(&connection));
        Ok(connection)
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Carries both ways until both have ended.
fn join(connection: &Arc<TcpStream>, service: TcpStream) {
    let _ = service.set_nodelay(true);
    let _ = connection.set_nodelay(true);
    let service = Arc::new(service);
    let back = {
        let (connection, service) = (Arc::clone(connection), Arc::clone(&service));
        thread::spawn(move || copy(&connection, &service))
    };
    copy(&service, connection);
    let _ = back.join();
}

/// What ends badly ends both ways: the service is not to believe that it was heard to the end.
fn copy(from: &TcpStream, to: &TcpStream) {
    let (mut reading, mut writing) = (from, to);
    let ended = std::io::copy(&mut reading, &mut writing);
    let way = if ended.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(way);
    if ended.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        let _ = from.shutdown(Shutdown::Both);
    }
}
