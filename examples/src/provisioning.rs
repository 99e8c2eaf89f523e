//! Provisioning files: made, taken into a directory, cut into portions (docs/draft-skex-dske.md, "Provisioning file").
//!
//! The initial key of a link lies in `NAME.link`, a provisioning file without tables; its tables beside it.

mod import;
mod initial_key;
mod make;
mod notes;
mod portion;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::SecretBytes;
use skex_dske::{
    Chunk, LinkIdentity, MAX_PROVISION_HEADER_LEN, PROVISION_TAG_LEN, Provision, ProvisionKey, Table,
    TablePart,
};
use skex_wire::dske::Direction;
use zeroize::Zeroizing;

use crate::store::{FilePad, TableIdentity, TablesIn, erase_all, table_name};

pub(crate) use import::{Imported, check, import, is_taken_in, waiting};
pub(crate) use initial_key::{await_order, new_key_order, new_keys, orders, read_key};
pub(crate) use make::{End, lay, make, next_number};
pub(crate) use notes::{RETIRE, UNERASED, about_table, forget_tables};
pub(crate) use portion::cut;

/// What the files of a directory are for: the names and identities of its links.
pub(crate) type Links = Vec<(String, Known)>;

/// What a directory knows of a link without its secrets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) hub: skex_dske::HubId,
    pub(crate) coordinate: skex_dske::Coordinate,
    pub(crate) tag: skex_dske::ClientTag,
}

impl Known {
    fn is_of(&self, link: &LinkIdentity) -> bool {
        (self.hub, self.coordinate, self.tag) == (link.hub, link.coordinate, link.tag)
    }
}

/// A provisioning file on disk, its header read and its length checked.
struct Opened {
    file: File,
    provision: Provision,
}

impl Opened {
    fn open(path: &Path, writable: bool) -> Result<Self> {
        let shown = path.display();
        let file = File::options().read(true).write(writable).open(path);
        let file = file.with_context(|| format!("cannot open {shown}"))?;
        let len = file.metadata().with_context(|| format!("cannot look at {shown}"))?.len();
        let room = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_PROVISION_HEADER_LEN);
        let mut head = Zeroizing::new(vec![0; room]);
        file.read_exact_at(&mut head, 0).with_context(|| format!("cannot read {shown}"))?;
        let (provision, _) = Provision::decode(&head).with_context(|| format!("{shown} cannot be used"))?;
        provision.check_len(len).with_context(|| format!("{shown} cannot be used"))?;
        Ok(Self { file, provision })
    }

    /// The octets of a chunk, not verified, and the tag behind them.
    fn chunk(&self, chunk: &Chunk) -> Result<(Zeroizing<Vec<u8>>, [u8; PROVISION_TAG_LEN])> {
        let mut octets = Zeroizing::new(vec![0; chunk.len()]);
        let mut tag = [0; PROVISION_TAG_LEN];
        self.file
            .read_exact_at(&mut octets, chunk.offset)
            .and_then(|()| {
                self.file.read_exact_at(&mut tag, chunk.offset.saturating_add(octets.len() as u64))
            })
            .context("cannot read the provisioning file")?;
        Ok((octets, tag))
    }
}

/// One end of a link, as its directory holds it.
pub(crate) struct Enrolment {
    pub(crate) link: LinkIdentity,
    pub(crate) initial_key: SecretBytes<32>,
}

/// The link that a provisioning file is for, not verified.
pub(crate) fn identity(path: &Path) -> Result<LinkIdentity> {
    Ok(Opened::open(path, false)?.provision.link)
}

fn link_name(link: &str) -> String {
    format!("{link}.link")
}

fn identity_of_table(link: &LinkIdentity, part: &TablePart) -> TableIdentity {
    let TablePart { direction, number, origin, elements, .. } = *part;
    TableIdentity { hub: link.hub, client: link.tag, direction, number, origin, elements }
}

fn copied(key: &SecretBytes<32>) -> SecretBytes<32> {
    SecretBytes::copied_from(key.expose())
}

/// The enrolment of a link. `None`: its provisioning file has not come.
fn stored_enrolment(directory: &Path, name: &str) -> Result<Option<Enrolment>> {
    let path = directory.join(link_name(name));
    if !path.exists() {
        return Ok(None);
    }
    let Provision { link, initial_key, .. } = Opened::open(&path, false)?.provision;
    let initial_key = initial_key.with_context(|| format!("{} holds no key", path.display()))?;
    Ok(Some(Enrolment { link, initial_key }))
}

/// The enrolment of a link that the directory must have.
pub(crate) fn enrolment(directory: &Path, name: &str, known: &Known) -> Result<Enrolment> {
    let path = directory.join(link_name(name));
    let Some(enrolment) = stored_enrolment(directory, name)? else {
        bail!(
            "{} is missing: put the provisioning file of {name} into {}, or bring the file back",
            path.display(),
            directory.display()
        );
    };
    if !known.is_of(&enrolment.link) {
        bail!("{} is of another link than skex.json says: bring the right file", path.display());
    }
    Ok(enrolment)
}

/// Removes what a directory holds of a link that is no more: its keys, one that was to come and what waits to be taken in are overwritten before. The
/// machine has erased the tables. What is gone already stays gone.
pub(crate) fn erase_link(directory: &Path, name: &str, known: &Known) -> Result<()> {
    let mut secrets = waiting(directory)?;
    secrets.retain(|path| is_for(path, known));
    secrets.extend([directory.join(link_name(name)), new_key_order(directory, name)]);
    secrets.extend(tables_of(directory, name)?);
    erase_all(secrets.iter().map(PathBuf::as_path))
}

/// Whether a provisioning file is for this link, as far as its header says.
pub(crate) fn is_for(path: &Path, known: &Known) -> bool {
    Opened::open(path, false).is_ok_and(|opened| known.is_of(&opened.provision.link))
}

/// The files of all tables of a link.
fn tables_of(directory: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let (there, mut files) = (TablesIn::directory(directory)?, Vec::new());
    for direction in [Direction::UPLINK, Direction::DOWNLINK] {
        let numbers = there.numbers(name, direction).iter();
        files.extend(numbers.map(|&number| directory.join(table_name(name, direction, number))));
    }
    Ok(files)
}

/// The tables of one direction of a link, of those that are `there`, the lowest number first; at least one.
pub(crate) fn tables(
    directory: &Path,
    there: &TablesIn,
    name: &str,
    link: &LinkIdentity,
    direction: Direction,
    writable: bool,
) -> Result<(Table<FilePad>, Vec<Table<FilePad>>)> {
    let numbers = there.numbers(name, direction);
    let open = |number: u16| -> Result<Table<FilePad>> {
        let path = directory.join(table_name(name, direction, number));
        let pad = FilePad::open(&path, (link.hub, link.tag), (direction, number), writable)?;
        Ok(pad.into_table(|pad| pad))
    };
    // Without a single one, the first is missing.
    let first = open(numbers.first().copied().unwrap_or(0))?;
    let further = numbers.iter().skip(1).map(|&number| open(number)).collect::<Result<_>>()?;
    Ok((first, further))
}

fn key(enrolment: &Enrolment) -> Result<ProvisionKey> {
    Ok(ProvisionKey::new(&enrolment.link, &enrolment.initial_key)?)
}
