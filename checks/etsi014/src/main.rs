//! The two published Rust clients of ETSI GS QKD 014, unchanged, against two `skex kme` with hubs between them.
//!
//! `etsi014-check SKEX`, with the path of the program. Prints what it saw; ends with 0 if all of it was right.

mod network;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64ct::{Base64, Encoding as _};
use etsi014::{ApiErrorKind, Endpoint, KeyId, KeyIdRequest, KeyRequest};
use etsi014_client::ETSI014Client;
use network::{Kme, Network};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let skex = PathBuf::from(std::env::args_os().nth(1).context("usage: etsi014-check SKEX")?);
    let (network, [a, b]) = Network::start(&skex)?;
    with_etsi014(&network, &a, &b).await.context("etsi014 0.4.1")?;
    with_etsi014_client(&network, &a, &b).await.context("etsi014-client 0.2.0")?;
    println!("ETSI014_OK");
    Ok(())
}

fn endpoint(network: &Network, kme: &Kme, sae: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::builder(format!("https://{}:{}", kme.host, kme.port))
        .root_ca_file(network.path("ca.pem"))
        .identity_files(network.path(&format!("{sae}.pem")), network.path(&format!("{sae}.key")))
        .build()?;
    Ok(endpoint)
}

async fn with_etsi014(network: &Network, a: &Kme, b: &Kme) -> Result<()> {
    let (at_a, at_b) = (endpoint(network, a, "sae-a")?, endpoint(network, b, "sae-b")?);
    let mut status = at_a.status("sae-b").await?;
    for _ in 0..600 {
        if status.stored_key_count >= 8 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        status = at_a.status("sae-b").await?;
    }
    ensure!(status.source_KME_ID == "kme-a" && status.target_KME_ID == "kme-b", "{status:?}");
    ensure!(status.master_SAE_ID == "sae-a" && status.slave_SAE_ID == "sae-b", "{status:?}");
    ensure!(
        status.key_size == 256 && status.max_SAE_ID_count == 8 && status.stored_key_count >= 8,
        "{status:?}"
    );

    for request in [KeyRequest::default(), KeyRequest::new(Some(3), Some(512))] {
        let (count, octets) = (request.number.unwrap_or(1), request.size.unwrap_or(256) / 8);
        let begun = at_a.get_key("sae-b", &request).await?;
        let ids = || begun.keys.iter().map(|key| KeyId { key_ID: key.key_ID.clone() }).collect();
        let fetched = at_b.get_key_with_id("sae-a", &KeyIdRequest::new(ids())).await?;
        ensure!(begun.keys.len() == usize::try_from(count)? && fetched.keys.len() == begun.keys.len());
        for (one, other) in begun.keys.iter().zip(&fetched.keys) {
            ensure!(one.key_ID == other.key_ID && one.key == other.key, "the two ends differ");
            let key = Base64::decode_vec(&one.key).ok().context("a key that is no base64")?;
            ensure!(key.len() == usize::try_from(octets)?, "{} octets", key.len());
        }
        let again = at_b.get_key_with_id("sae-a", &KeyIdRequest::new(ids())).await;
        let again = again.err().context("a key was given twice")?;
        ensure!(again.kind() == Some(ApiErrorKind::KeysNotFound), "{again}");
    }

    // The same key for a third SAE.
    let with =
        |sae: &str| KeyRequest { additional_slave_SAE_IDs: Some(vec![sae.into()]), ..KeyRequest::default() };
    let begun = at_a.get_key("sae-b", &with("sae-c")).await?;
    let key = begun.keys.first().context("no key")?;
    for sae in ["sae-b", "sae-c"] {
        let there = endpoint(network, b, sae)?;
        let ids = || KeyIdRequest::new(vec![KeyId { key_ID: key.key_ID.clone() }]);
        let fetched = there.get_key_with_id("sae-a", &ids()).await?;
        ensure!(fetched.keys.iter().map(|key| &key.key).eq([&key.key]), "{sae} has another key");
        let again = there.get_key_with_id("sae-a", &ids()).await.err().context("a key was given twice")?;
        ensure!(again.kind() == Some(ApiErrorKind::KeysNotFound), "{again}");
    }

    for (request, kind) in [
        (KeyRequest::new(None, Some(250)), ApiErrorKind::SizeNotMultipleOf8),
        (KeyRequest::new(Some(0), None), ApiErrorKind::BadRequest),
        (with("sae-x"), ApiErrorKind::BadRequest),
    ] {
        let error = at_a.get_key("sae-b", &request).await.err().context("it should be refused")?;
        ensure!(error.kind() == Some(kind), "{error}");
    }

    // An SAE with a good certificate and no link, and one with the right name under another authority.
    let stranger = endpoint(network, a, "sae-x")?.get_key("sae-b", &KeyRequest::default()).await;
    let error = stranger.err().context("a stranger got a key")?;
    ensure!(error.kind() == Some(ApiErrorKind::Unauthorized), "{error}");
    let forged = endpoint(network, a, "false-sae-a")?.get_key("sae-b", &KeyRequest::default()).await;
    let error = forged.err().context("a forged certificate got a key")?;
    ensure!(error.kind().is_none(), "the handshake should fail: {error}");
    println!(
        "etsi014 0.4.1: status, enc_keys, dec_keys, equal keys, for a third SAE too; twice, strangers and forged certificates refused"
    );
    Ok(())
}

fn client(network: &Network, kme: &Kme, sae: &str) -> Result<ETSI014Client> {
    let (certificate, key) = (network.path(&format!("{sae}.pem")), network.path(&format!("{sae}.key")));
    ETSI014Client::new(&kme.host, kme.port, &certificate, &key, &network.path("ca.pem")).map_err(told)
}

/// Its errors are neither `Send` nor `Sync`.
fn told(error: etsi014_client::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

async fn with_etsi014_client(network: &Network, a: &Kme, b: &Kme) -> Result<()> {
    let (at_a, at_b) = (client(network, a, "sae-a")?, client(network, b, "sae-b")?);
    let status = at_a.get_status("sae-b").await.map_err(told)?;
    ensure!(status.source_kme_id == "kme-a" && status.target_sae_id == "sae-b" && status.key_size == 256);

    let begun = at_a.get_keys(256, "sae-b", &[], 2).await.map_err(told)?;
    let ids: Vec<&str> = begun.iter().map(|(id, _)| id.as_str()).collect();
    let fetched = at_b.get_keys_by_ids("sae-a", &ids).await.map_err(told)?;
    ensure!(begun.len() == 2 && fetched.len() == 2);
    for ((id, one), (other_id, other)) in begun.iter().zip(&fetched) {
        ensure!(id == other_id && one == other && one.len() == 32, "the two ends differ");
    }
    let again = at_b.get_keys_by_ids("sae-a", &ids).await.err().context("a key was given twice")?;
    ensure!(again.to_string().contains("400 Bad Request"), "{again}");

    let stranger = client(network, a, "sae-x")?.get_keys(256, "sae-b", &[], 1).await;
    let error = stranger.err().context("a stranger got a key")?;
    ensure!(error.to_string().contains("401 Unauthorized"), "{error}");
    let forged = client(network, a, "false-sae-a")?.get_keys(256, "sae-b", &[], 1).await;
    ensure!(forged.is_err(), "a forged certificate got a key");
    println!(
        "etsi014-client 0.2.0: status, enc_keys, dec_keys, equal keys; twice, strangers and forged certificates refused"
    );
    Ok(())
}
