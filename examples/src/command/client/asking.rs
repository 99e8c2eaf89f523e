//! What a client asks of its hubs beside keys: who has a name, what to tell of it, whom to let through, what not to deliver.

use core::time::Duration;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use skex_core::KeyId;
use skex_dske::{ClientEvent, ClientTag, CommandReport, FoundPeer, KeyRequest, LookupError, PeerOffer};
use skex_wire::dske::OutcomeStatus;

use super::running::{Running, is_for_responder};
use crate::config::{ClientFile, Id, PeerName, SuiteName, load, replace};
use crate::keys::assurance;

/// How long the hubs have to say what a peer accepts, before a key is asked for.
pub(super) const AGREEMENT: Duration = Duration::from_secs(10);

/// One question, to all hubs.
#[derive(clap::Subcommand)]
pub(super) enum Question {
    /// Ask the hubs which client has a name.
    ///
    /// A tag is believed when two hubs say the same and no two say otherwise; hubs that contradict it are named. Operators of hubs
    /// give names, in skex.json.
    Lookup {
        /// The name.
        name: String,
        /// Add it to the peers in skex.json: from then on keys are made with it, and accepted from it.
        #[arg(long)]
        remember: bool,
        /// Seconds that the hubs have to answer.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        timeout: u16,
    },
    /// Tell all hubs what this client accepts, for those who look it up.
    Publish {
        /// Take back what was published.
        #[arg(long)]
        take_back: bool,
        /// Seconds that the hubs have to answer.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        timeout: u16,
    },
    /// Tell all hubs that another client may have keys made with this one.
    ///
    /// It lasts until you say otherwise. This client accepts keys from the peers in its skex.json only, whatever hubs let through.
    Authorise {
        /// The other client: a name in skex.json, or a tag.
        peer: String,
        /// It may not any more; what waits of it at the hubs is dropped.
        #[arg(long)]
        no: bool,
        /// Seconds that the hubs have to answer.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        timeout: u16,
    },
    /// Take back a key that this client asked for, where its peer has not got it yet.
    Withdraw {
        /// The key's id, as `skex client get` showed it.
        key_id: String,
        /// Seconds that the hubs have to answer.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        timeout: u16,
    },
}

impl Question {
    pub(super) fn timeout(&self) -> Duration {
        let (Self::Lookup { timeout, .. }
        | Self::Publish { timeout, .. }
        | Self::Authorise { timeout, .. }
        | Self::Withdraw { timeout, .. }) = self;
        Duration::from_secs((*timeout).into())
    }

    /// Refuses now what needs no hub to be refused.
    pub(super) fn check(&self, file: &ClientFile) -> Result<()> {
        match self {
            Self::Lookup { name, .. } if name.is_empty() || name.len() > 64 => {
                bail!("a name has 1 to 64 octets")
            }
            Self::Lookup { .. } | Self::Publish { .. } => Ok(()),
            Self::Authorise { peer, .. } => tag_of(file, peer).map(|_| ()),
            Self::Withdraw { key_id, .. } => key_id_of(key_id).map(|_| ()),
        }
    }
}

/// A peer by its name in skex.json, or by its tag.
fn tag_of(file: &ClientFile, peer: &str) -> Result<ClientTag> {
    if let Some(known) = file.peers.iter().find(|known| known.name == peer) {
        return Ok(known.tag.client());
    }
    let mut tag = [0; 16];
    hex::decode_to_slice(peer, &mut tag).map_err(|_| {
        anyhow!("{peer} is neither a peer of {} nor a tag, which has 32 hexadecimal digits", file.name)
    })?;
    Ok(ClientTag::new(tag))
}

fn key_id_of(digits: &str) -> Result<KeyId> {
    let mut key_id = [0; 16];
    hex::decode_to_slice(digits, &mut key_id)
        .map_err(|_| anyhow!("{digits} is no id of a key, which has 32 hexadecimal digits"))?;
    Ok(KeyId::new(key_id))
}

impl Running {
    pub(super) fn ask_hubs(&mut self, question: &Question, directory: &Path) -> Result<()> {
        let file: ClientFile = load(directory)?;
        let asked = match question {
            Question::Lookup { name, .. } => {
                self.driver.call(|client, now, rng| client.look_up(now, rng, name.as_bytes()))?
            }
            Question::Publish { take_back: false, .. } => {
                self.driver.call(|client, now, rng| client.publish(now, rng))?
            }
            Question::Publish { take_back: true, .. } => {
                self.driver.call(|client, now, rng| client.unpublish(now, rng))?
            }
            Question::Authorise { peer, no, .. } => {
                let peer = tag_of(&file, peer)?;
                self.driver.call(|client, now, rng| client.authorise(now, rng, peer, !no))?
            }
            Question::Withdraw { key_id, .. } => {
                let key_id = key_id_of(key_id)?;
                self.driver.call(|client, now, rng| client.withdraw(now, rng, key_id))?
            }
        };
        asked.context("the hubs cannot be asked")?;
        match (self.answer(question.timeout())?, question) {
            (ClientEvent::LookupEnded { result, .. }, Question::Lookup { name, remember, .. }) => {
                let found = result.map_err(|error| self.not_found(name, &error))?;
                self.tell_found(name, &found)?;
                if *remember { self.remember(directory, file, name, found.tag) } else { Ok(()) }
            }
            (ClientEvent::CommandEnded { hubs, .. }, _) => self.tell_outcomes(question, &hubs),
            _ => bail!("the hubs were asked something else"),
        }
    }

    /// The terms of a key near `wish` that a peer accepts, as enough hubs say.
    pub(super) fn agree(&mut self, peer: &str, wish: KeyRequest) -> Result<KeyRequest> {
        let own = self.names.tag(peer)?;
        let asked = self.driver.call(|client, now, rng| client.look_up(now, rng, peer.as_bytes()))?;
        asked.context("the hubs cannot be asked")?;
        let ClientEvent::LookupEnded { result, .. } = self.answer(AGREEMENT)? else {
            bail!("the hubs were asked something else");
        };
        let found = result.map_err(|error| self.not_found(peer, &error))?;
        if found.tag != own {
            bail!(
                "the hubs know {peer} by the tag {}, and skex.json by {own}: find out which is right",
                found.tag
            );
        }
        let offer = found.offer.with_context(|| {
            format!("too few hubs say what {peer} accepts: it has to say `skex client publish`")
        })?;
        let terms = self.driver.machine.negotiate(&offer, wish);
        let terms = terms.map_err(|error| anyhow!("no agreement with {peer}: {error}"))?;
        let hubs: Vec<&str> = self.hubs_of(terms.hubs).collect();
        let (threshold, suite, lifetime) = (terms.threshold, terms.suite, terms.lifetime);
        self.reporter.note(format!(
            "agreed with {peer}: {threshold} of {}, {}, {lifetime} seconds",
            hubs.join(" "),
            SuiteName::of(suite)
        ))?;
        Ok(terms)
    }

    /// The machine itself ends a command when its time is over; a little later it must have said so.
    fn answer(&mut self, timeout: Duration) -> Result<ClientEvent> {
        let end = self.driver.now().saturating_add(timeout).saturating_add(Duration::from_secs(1));
        while self.driver.now() < end {
            self.driver.wait(Some(end), None)?;
            while let Some(event) = self.driver.next_event() {
                if matches!(event, ClientEvent::LookupEnded { .. } | ClientEvent::CommandEnded { .. }) {
                    return Ok(event);
                }
                // Keys that others make meanwhile wait in the log for `skex client wait`.
                if !is_for_responder(&event) {
                    self.take(event)?;
                }
            }
        }
        bail!("the hubs had no answer in time{}", self.silent_hubs())
    }

    fn not_found(&self, name: &str, error: &LookupError) -> anyhow::Error {
        let names = |hubs: &[_]| hubs.iter().map(|hub| self.names.hub(*hub)).collect::<Vec<_>>().join(" ");
        let who = match error {
            LookupError::NoAgreement { answered } if !answered.is_empty() => {
                format!("; there were answers of {}", names(answered))
            }
            LookupError::Unknown { contradicted } if !contradicted.is_empty() => {
                format!("; somebody has it at {}", names(contradicted))
            }
            LookupError::Contradiction { camps } => {
                let camps: Vec<String> = camps.iter().map(|hubs| names(hubs)).collect();
                format!(": {}", camps.join(" against "))
            }
            _ => String::new(),
        };
        anyhow!("nobody is known as {name}: {error}{who}{}", self.silent_hubs())
    }

    fn tell_found(&self, name: &str, found: &FoundPeer) -> Result<()> {
        let names = |hubs: &[_]| hubs.iter().map(|hub| self.names.hub(*hub)).collect::<Vec<_>>().join(" ");
        let mut text =
            format!("{name}\n  tag          {}\n  say          {}", found.tag, names(&found.agreed));
        if !found.contradicted.is_empty() {
            text.push_str(&format!("\n  contradict   {}", names(&found.contradicted)));
        }
        text.push_str(&format!("\n  certainty    {}", assurance(found.assurance)));
        match &found.offer {
            Some(offer) => text.push_str(&offer_for_people(offer)),
            None => text.push_str("\n  accepts      not published"),
        }
        self.reporter.note(text)
    }

    fn remember(&self, directory: &Path, mut file: ClientFile, name: &str, tag: ClientTag) -> Result<()> {
        if tag == file.tag.client() {
            bail!("{name} is this client itself, no peer");
        }
        let known = file.peers.iter().find(|known| known.name == name || known.tag.client() == tag);
        match known {
            Some(known) if known.name == name && known.tag.client() == tag => {
                self.reporter.note(format!("{name} is among the peers in skex.json already"))
            }
            Some(known) => bail!(
                "skex.json has {} with the tag {}: decide which is right, and correct it there",
                known.name,
                known.tag.client()
            ),
            None => {
                file.peers.push(PeerName { name: name.to_owned(), tag: Id(*tag.as_bytes()) });
                replace(directory, &file)?;
                self.reporter.note(format!("{name} is among the peers in skex.json now"))
            }
        }
    }

    /// What each hub said; an error unless all did what they were told.
    fn tell_outcomes(&self, question: &Question, hubs: &[CommandReport]) -> Result<()> {
        let withdrawal = matches!(question, Question::Withdraw { .. });
        let mut undone = false;
        for report in hubs {
            let said = match report.outcome {
                Some(OutcomeStatus::DONE) => "done",
                // It has nothing to deliver, and takes nothing more.
                Some(OutcomeStatus::UNKNOWN) if withdrawal => {
                    "nothing of it is there, or its lifetime is over; nothing is accepted any more"
                }
                Some(OutcomeStatus::UNKNOWN) => "it knows no such client",
                Some(OutcomeStatus::SENT) => "too late: it has sent its share",
                Some(OutcomeStatus::ANSWERED) => "too late: the peer has its share",
                Some(OutcomeStatus::TOO_MANY) => "it keeps no more of that for this client",
                Some(_) => "it said what this program does not know",
                None => "no answer",
            };
            let is_done = report.outcome == Some(OutcomeStatus::DONE)
                || (withdrawal && report.outcome == Some(OutcomeStatus::UNKNOWN));
            undone |= !is_done;
            self.reporter.note(format!("{}: {said}", self.names.hub(report.hub)))?;
        }
        if undone {
            bail!("not every hub has done it{}", self.silent_hubs());
        }
        Ok(())
    }
}

fn offer_for_people(offer: &PeerOffer) -> String {
    let suites: Vec<String> = offer.suites.iter().map(|suite| SuiteName::of(*suite)).collect();
    format!(
        "\n  accepts      thresholds from {} on, lifetimes up to {} seconds, {}",
        offer.minimum_threshold,
        offer.maximum_lifetime,
        suites.join(" ")
    )
}
