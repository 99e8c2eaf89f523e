//! A provisioning file is taken into a directory, and is gone then.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::SecretBytes;
use skex_dske::{LinkIdentity, Provision, TablePart};

use super::{Enrolment, Links, Opened, key, link_name, stored_enrolment};
use crate::store::atomic::{create_private, sync_directory};
use crate::store::{TableIdentity, TableWriter, overwrite, table_name};

/// What a file brought.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The name of the link.
    pub(crate) link: String,
    /// Whether the link is new here.
    pub(crate) enrolled: bool,
    /// Tables that were not here before.
    pub(crate) tables: Vec<TablePart>,
    /// Tables of which there is more now.
    pub(crate) extended: usize,
}

/// The provisioning files that lie in a directory, by name.
pub(crate) fn waiting(directory: &Path) -> Result<Vec<PathBuf>> {
    let look = || format!("cannot look into {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(look)? {
        let path = entry.with_context(look)?.path();
        if path.extension().is_some_and(|extension| extension == "provision") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes a provisioning file into `directory`, whose lock the caller holds: everything is verified first, and nothing changes
/// if anything is wrong. What was taken is overwritten in the file, and the file removed. After a crash in the middle,
/// the same file is taken again; what is there already is left as it is.
pub(crate) fn import(directory: &Path, links: &Links, path: &Path) -> Result<Imported> {
    let shown = path.display();
    let opened = Opened::open(path, true)?;
    let Some((name, _)) = links.iter().find(|(_, known)| known.is_of(&opened.provision.link)) else {
        bail!("{shown} is for another hub or client than those of {}", directory.display());
    };
    let enrolment = enrolment_by(directory, name, &opened.provision, path)?;
    let key = key(&enrolment)?;
    for chunk in opened.provision.chunks() {
        let (octets, tag) = opened.chunk(&chunk)?;
        key.verify(&chunk, &octets, &tag).with_context(|| format!("{shown} cannot be used"))?;
    }
    let mut imported = Imported { link: name.clone(), enrolled: false, tables: Vec::new(), extended: 0 };
    let mut held = Vec::new();
    for part in &opened.provision.parts {
        let identity = identity(&enrolment.link, part);
        let table = directory.join(table_name(name, part.direction, part.number));
        let here = TableWriter::held(&table, identity)?;
        if part.first > here {
            bail!(
                "{shown} begins with element {} of table {}, and {here} are here: a portion before it is missing",
                part.first,
                part.number
            );
        }
        held.push((table, here));
    }
    for (part, (table, here)) in opened.provision.parts.iter().zip(held) {
        if part.end <= here {
            continue;
        }
        let writer = TableWriter::open(&table, identity(&enrolment.link, part), here)?;
        for chunk in opened.provision.chunks().filter(|chunk| chunk.part == *part && chunk.first >= here) {
            let (octets, tag) = opened.chunk(&chunk)?;
            // The file may have changed since: nothing is written that was not verified.
            key.verify(&chunk, &octets, &tag).with_context(|| format!("{shown} cannot be used"))?;
            writer.write(chunk.first, &octets)?;
        }
        writer.finish(part.end)?;
        if here == 0 {
            imported.tables.push(*part);
        } else {
            imported.extended = imported.extended.saturating_add(1);
        }
    }
    let link = directory.join(link_name(name));
    if !link.exists() {
        let own = Provision::new(enrolment.link, Some(enrolment.initial_key), Vec::new())?;
        create_private(&link, own.encode().expose())?;
        imported.enrolled = true;
    }
    sync_directory(directory)?;
    let len = opened.provision.file_len();
    overwrite(&opened.file, 0, len)
        .and_then(|()| opened.file.sync_all())
        .and_then(|()| fs::remove_file(path))
        .with_context(|| format!("what {shown} held was taken, but the file cannot be erased: erase it"))?;
    Ok(imported)
}

fn enrolment_by(directory: &Path, name: &str, provision: &Provision, path: &Path) -> Result<Enrolment> {
    let copied = |key: &SecretBytes<32>| SecretBytes::copied_from(key.expose());
    let brought = provision.initial_key.as_ref().map(copied);
    match (stored_enrolment(directory, name)?, brought) {
        (Some(own), brought) => {
            let same = brought.is_none_or(|brought| brought == own.initial_key);
            if !same || own.link != provision.link {
                bail!(
                    "{} enrols {name} anew, which is enrolled here already: a new enrolment needs a new directory",
                    path.display()
                );
            }
            Ok(own)
        }
        (None, Some(initial_key)) => Ok(Enrolment { link: provision.link, initial_key }),
        (None, None) => bail!(
            "{} brings tables only, and {name} is not enrolled here: import its first provisioning file before",
            path.display()
        ),
    }
}

fn identity(link: &LinkIdentity, part: &TablePart) -> TableIdentity {
    let TablePart { direction, number, origin, elements, .. } = *part;
    TableIdentity { hub: link.hub, client: link.tag, direction, number, origin, elements }
}
