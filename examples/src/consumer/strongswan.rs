//! strongSwan, by VICI: a PPK (RFC 8784) for each generation.
//!
//! A PPK enters an IKE_SA when it is made, so a rotation makes a new one before the old one goes. One end initiates. Its
//! connection has the generation in its name, and so has each IKE_SA of it; the responder has one connection for all, which takes
//! any PPK_ID of SKEX's. Both have the PPK required, whatever the configuration says.

mod vici;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use skex_core::SecretVec;
use skex_core::export::Exporter;

use super::{Consumer, Failure, Holding, Known, Material, path_target};
use vici::{Section, Session, Value};

/// Feed the PPKs (RFC 8784) of a connection of strongSwan.
///
/// The connection comes from a file, in JSON, as VICI's load-conn takes it, and is loaded by skex: ppk_id and ppk_required
/// are set there, whatever the file says. Other credentials are loaded as ever. At a rotation at most a packet or two is lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The connection: an object of JSON with what swanctl.conf has under connections.NAME.
    #[arg(long, value_name = "FILE")]
    connection: PathBuf,
    /// The connection's name. The initiator adds a generation to it.
    #[arg(long, value_name = "NAME", default_value = "skex")]
    name: String,
    /// Initiate this child: at one end, and not at the other.
    #[arg(long, value_name = "CHILD")]
    initiate: Option<String>,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = "/var/run/charon.vici")]
    vici: PathBuf,
}

/// What a responder takes.
const ANY_PPK_ID: &str = "*@skex.invalid";

/// For an IKE_SA to come up, in milliseconds, as VICI takes it.
const INITIATION: &str = "5000";

pub(super) struct StrongSwan {
    connection: serde_json::Map<String, serde_json::Value>,
    name: String,
    /// The child to initiate.
    initiate: Option<String>,
    vici: PathBuf,
    /// At the responder: the generation that was installed last, and the highest IKE_SA before.
    before: Option<(u64, u64)>,
    /// At the responder: what it was told to transmit with.
    told: Option<u64>,
}

/// An IKE_SA, as the daemon lists it.
struct IkeSa {
    /// It rises with each.
    id: u64,
    connection: String,
    /// Established, under a PPK, and with the child, where one is to be initiated.
    is_good: bool,
}

impl StrongSwan {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { connection, name, initiate, vici } = arguments;
        let octets = fs::read(connection).with_context(|| format!("cannot read {}", connection.display()))?;
        let Ok(serde_json::Value::Object(connection)) = serde_json::from_slice(&octets) else {
            bail!("{} is no object of JSON", connection.display());
        };
        if section(&connection).is_none() {
            bail!("a connection of strongSwan consists of texts, lists of texts, and objects of those");
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            bail!("{name:?} is no name of a connection: take letters, digits and hyphens");
        }
        let (name, initiate, vici) = (name.clone(), initiate.clone(), vici.clone());
        Ok(Self { connection, name, initiate, vici, before: None, told: None })
    }

    fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.vici).map_err(Failure::Away)
    }

    /// The connection for a generation: at the responder the same for all.
    fn name_for(&self, generation: u64) -> String {
        if self.initiate.is_some() { format!("{}-{generation}", self.name) } else { self.name.clone() }
    }

    /// Which generation a connection is for: at the initiator.
    fn generation_of(&self, connection: &str) -> Option<u64> {
        connection.strip_prefix(&self.name)?.strip_prefix('-')?.parse().ok()
    }

    fn load_connection(&self, session: &mut Session, name: &str, ppk_id: &str) -> Result<(), Failure> {
        let Some(connection) = section(&self.connection) else {
            return Err(Failure::Refused("the connection is none".to_owned()));
        };
        let connection = connection.with("ppk_id", ppk_id).with("ppk_required", "yes");
        command(session, "load-conn", &Section::default().with_section(name, connection))
    }

    fn ike_sas(&self, session: &mut Session) -> Result<Vec<IkeSa>, Failure> {
        let listed = session.list("list-sas", "list-sa").map_err(Failure::Away)?;
        let sas = listed.iter().flat_map(Section::sections);
        Ok(sas
            .filter_map(|(connection, sa)| {
                let child = |name: &String| {
                    let mut children = sa.section("child-sas").into_iter().flat_map(Section::sections);
                    children.any(|(_, child)| {
                        child.text("name") == Some(name) && child.text("state") == Some("INSTALLED")
                    })
                };
                let is_good = sa.text("state") == Some("ESTABLISHED")
                    && sa.text("ppk") == Some("yes")
                    && self.initiate.as_ref().is_none_or(child);
                let id = sa.text("uniqueid")?.parse().ok()?;
                Some(IkeSa { id, connection: connection.to_owned(), is_good })
            })
            .collect())
    }

    /// Makes the new IKE_SA, and ends the others of this link once it is there.
    fn initiate(&self, child: &str, generation: u64, ppk_id: &str) -> Result<(), Failure> {
        let mut session = self.session()?;
        let name = self.name_for(generation);
        let up = |sas: &[IkeSa]| sas.iter().any(|sa| sa.connection == name && sa.is_good);
        if !up(&self.ike_sas(&mut session)?) {
            self.load_connection(&mut session, &name, ppk_id)?;
            let wanted =
                Section::default().with("child", child).with("ike", &name).with("timeout", INITIATION);
            command(&mut session, "initiate", &wanted)?;
        }
        let sas = self.ike_sas(&mut session)?;
        if !up(&sas) {
            return Err(Failure::Refused("no IKE_SA under the PPK came up".to_owned()));
        }
        for sa in sas.iter().filter(|sa| self.generation_of(&sa.connection).is_some_and(|g| g != generation))
        {
            self.terminate(&mut session, sa.id)?;
        }
        Ok(())
    }

    fn terminate(&self, session: &mut Session, id: u64) -> Result<(), Failure> {
        let message = Section::default().with("ike-id", id.to_string()).with("timeout", "1000");
        // It fails where the other end was faster, and where it does not answer: then it goes all the same.
        session.call("terminate", &message).map(|_| ()).map_err(Failure::Away)
    }

    fn note_sas(&mut self, session: &mut Session, generation: u64) -> Result<(), Failure> {
        if self.before.is_none_or(|(noted, _)| noted != generation) {
            let highest = self.ike_sas(session)?.iter().map(|sa| sa.id).max().unwrap_or_default();
            self.before = Some((generation, highest));
        }
        Ok(())
    }

    fn loaded(&self, session: &mut Session) -> Result<Vec<String>, Failure> {
        let answer = session.call("get-shared", &Section::default()).map_err(Failure::Away)?;
        Ok(answer.list("keys").map(|id| String::from_utf8_lossy(id).into_owned()).collect())
    }

    fn has_connection(&self, session: &mut Session, name: &str) -> Result<bool, Failure> {
        let answer = session.call("get-conns", &Section::default()).map_err(Failure::Away)?;
        Ok(answer.list("conns").any(|known| known == name.as_bytes()))
    }
}

/// A command that succeeds, or is refused.
fn command(session: &mut Session, name: &str, message: &Section) -> Result<(), Failure> {
    let answer = session.call(name, message).map_err(Failure::Away)?;
    if answer.text("success") == Some("yes") {
        Ok(())
    } else {
        Err(Failure::Refused(format!("{name} failed; the daemon's log says why")))
    }
}

/// What VICI takes for an object of JSON. `None`: something that it has no form for.
fn section(object: &serde_json::Map<String, serde_json::Value>) -> Option<Section> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(if *truth { "yes" } else { "no" }.to_owned()),
        _ => None,
    };
    let mut result = Section::default();
    for (name, value) in
        object.iter().filter(|(name, _)| !["ppk_id", "ppk_required"].contains(&name.as_str()))
    {
        match value {
            serde_json::Value::Object(inner) => result.push(name, Value::Section(section(inner)?)),
            serde_json::Value::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(text).collect();
                let items = items?;
                result = result.with_list(name, &items.iter().map(String::as_str).collect::<Vec<_>>());
            }
            _ => result = result.with(name, text(value)?),
        }
    }
    Some(result)
}

impl Consumer for StrongSwan {
    fn name(&self) -> String {
        format!("strongSwan {}", self.name)
    }

    fn target(&self) -> Option<String> {
        Some(path_target("strongswan", &self.vici, &self.name))
    }

    fn derive(&self, exporter: &mut Exporter, _: u64) -> Result<Material> {
        let ppk = exporter.ikev2_ppk(0)?;
        Ok(Material { name: ppk.id().to_string(), secret: SecretVec::copied_from(ppk.ppk().expose()) })
    }

    fn install(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let mut session = self.session()?;
        if self.initiate.is_none() {
            self.load_connection(&mut session, &self.name, ANY_PPK_ID)?;
            self.note_sas(&mut session, key.generation)?;
        }
        let id = key.material.name.as_str();
        let shared = Section::default()
            .with("id", id)
            .with("type", "ppk")
            .with("data", key.material.secret.expose())
            .with_list("owners", &[id]);
        command(&mut session, "load-shared", &shared)
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        if let Some(child) = self.initiate.clone() {
            return self.initiate(&child, key.generation, &key.material.name);
        }
        // The initiator does it, for both directions.
        let mut session = self.session()?;
        self.note_sas(&mut session, key.generation)?;
        self.told = Some(key.generation);
        Ok(())
    }

    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        let mut session = self.session()?;
        let sas = self.ike_sas(&mut session)?;
        let mut good = sas.iter().filter(|sa| sa.is_good);
        if self.initiate.is_some() {
            let name = self.name_for(key.generation);
            return Ok(good.any(|sa| sa.connection == name));
        }
        // The list names no PPK. One that came after the installation, and under a PPK at all, is under this one: the initiator
        // makes no other.
        let before = self.before.filter(|(generation, _)| *generation == key.generation);
        Ok(good.any(|sa| sa.connection == self.name && before.is_some_and(|(_, highest)| sa.id > highest)))
    }

    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure> {
        let mut session = self.session()?;
        if self.initiate.is_some() {
            let name = self.name_for(key.generation);
            for sa in self.ike_sas(&mut session)?.iter().filter(|sa| sa.connection == name) {
                self.terminate(&mut session, sa.id)?;
            }
            if self.has_connection(&mut session, &name)? {
                command(&mut session, "unload-conn", &Section::default().with("name", &name))?;
            }
        }
        let id = &key.material.name;
        if self.loaded(&mut session)?.contains(id) {
            command(&mut session, "unload-shared", &Section::default().with("id", id))?;
        }
        Ok(())
    }

    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure> {
        let mut session = self.session()?;
        let loaded = self.loaded(&mut session)?;
        let answers = self.initiate.is_some() || self.has_connection(&mut session, &self.name)?;
        let there = |known: &&Known<'_>| answers && loaded.contains(&known.material.name);
        let generations = known.iter().filter(there).map(|known| known.generation).collect();
        let transmitting = if self.initiate.is_some() {
            let sas = self.ike_sas(&mut session)?;
            sas.iter().filter(|sa| sa.is_good).filter_map(|sa| self.generation_of(&sa.connection)).max()
        } else {
            self.told
        };
        Ok(Holding { generations, transmitting })
    }
}
