//! TLS 1.3 over OpenSSL, with the external preshared keys of a file that `skex ... psk-file` keeps.
//!
//! ```text
//! skex-tls server FILE HOST:PORT [USED]    echoes what comes, a connection at a time
//! skex-tls client FILE HOST:PORT [USED]    sends a line, and prints what comes back
//! ```
//!
//! Each handshake reads the file anew: a client offers the key of its first line, a server looks for the identity that it is
//! offered. So a new key counts from the next connection on, and those that run keep theirs. Both leave the identity of a
//! handshake that came to its end in the file USED, where `skex` sees it.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVersion};
use zeroize::Zeroizing;

/// The identity of the handshake that is under way.
type Identity = Arc<Mutex<Option<String>>>;

/// The key of an identity, or, without one, that of the first line.
fn look_up(file: &str, wanted: Option<&[u8]>) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let text = Zeroizing::new(std::fs::read_to_string(file).ok()?);
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (identity, key) = lines.find(|(identity, _)| wanted.is_none_or(|wanted| wanted == identity.as_bytes()))?;
    let digits = |place: usize| u8::from_str_radix(key.get(place..place.checked_add(2)?)?, 16).ok();
    let key: Option<Vec<u8>> = (0..key.len()).step_by(2).map(digits).collect();
    Some((identity.to_owned(), Zeroizing::new(key?)))
}

/// Puts the key into the buffer that OpenSSL gives. 0 octets: there is none, and the handshake fails.
fn put(found: Option<(String, Zeroizing<Vec<u8>>)>, out: &mut [u8], identity: &Identity) -> (Option<String>, usize) {
    let Some((name, key)) = found else { return (None, 0) };
    let Some(out) = out.get_mut(..key.len()) else { return (None, 0) };
    out.copy_from_slice(&key);
    if let Ok(mut identity) = identity.lock() {
        *identity = Some(name.clone());
    }
    (Some(name), key.len())
}

fn context(server: bool, file: &str, identity: &Identity) -> Result<SslContext, ErrorStack> {
    let mut context: SslContextBuilder = SslContext::builder(SslMethod::tls())?;
    // Not below, where a preshared key means something else. The key is bound to SHA-256.
    context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_ciphersuites("TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")?;
    let (file, identity) = (file.to_owned(), identity.clone());
    if server {
        // No tickets: a resumption would go on under a key that may be retired.
        context.set_num_tickets(0)?;
        context.set_psk_server_callback(move |_, offered, out| {
            Ok(put(offered.and_then(|offered| look_up(&file, Some(offered))), out, &identity).1)
        });
    } else {
        context.set_psk_client_callback(move |_, _, name_out, out| {
            let (name, len) = put(look_up(&file, None), out, &identity);
            let name = name.unwrap_or_default();
            match name_out.get_mut(..=name.len()) {
                Some(name_out) => {
                    name_out[..name.len()].copy_from_slice(name.as_bytes());
                    name_out[name.len()] = 0;
                    Ok(len)
                }
                None => Ok(0),
            }
        });
    }
    Ok(context.build())
}

/// Leaves the identity for `skex`, whole or not at all.
fn tell_used(used: Option<&str>, identity: &Identity) -> std::io::Result<()> {
    let identity = identity.lock().ok().and_then(|mut identity| identity.take());
    if let (Some(used), Some(identity)) = (used, identity) {
        let new = format!("{used}.new");
        std::fs::write(&new, identity)?;
        std::fs::rename(new, used)?;
    }
    Ok(())
}

fn serve(file: &str, address: &str, used: Option<&str>) -> Result<(), Box<dyn Error>> {
    let identity = Identity::default();
    let context = context(true, file, &identity)?;
    let listener = TcpListener::bind(address)?;
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = SslStream::new(Ssl::new(&context)?, stream?)?;
        if let Err(error) = stream.accept() {
            println!("refused: {error}");
            continue;
        }
        tell_used(used, &identity)?;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(buffer.get(..len).unwrap_or_default()).is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
}

/// Sends each line of the standard input, and prints what comes back.
fn connect(file: &str, address: &str, used: Option<&str>) -> Result<(), Box<dyn Error>> {
    let identity = Identity::default();
    let context = context(false, file, &identity)?;
    let mut stream = SslStream::new(Ssl::new(&context)?, TcpStream::connect(address)?)?;
    stream.connect()?;
    tell_used(used, &identity)?;
    for line in std::io::stdin().lines() {
        let line = line? + "\n";
        stream.write_all(line.as_bytes())?;
        let mut echo = vec![0; line.len()];
        stream.read_exact(&mut echo)?;
        std::io::stdout().write_all(&echo)?;
    }
    stream.shutdown()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [_, "server", file, address, used @ ..] => serve(file, address, used.first().copied()),
        [_, "client", file, address, used @ ..] => connect(file, address, used.first().copied()),
        _ => Err("skex-tls server|client FILE HOST:PORT [USED]".into()),
    }
}
