//! A provisioning file is taken into a directory, and is gone then.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_dske::{LinkIdentity, Provision, ProvisionKey, TablePart};

use super::{
    Enrolment, Known, Links, Opened, copied, forget_tables, identity_of_table, key, link_name, new_key_order,
    stored_enrolment, tables_of,
};
use crate::store::atomic::{create_private, sync_directory};
use crate::store::{TableWriter, erase, erase_all, finish_erasing, table_name};

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
        if is_taken_in(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a start takes a file of this name in.
pub(crate) fn is_taken_in(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "provision")
}

/// Whether a file enrols this link with whole tables, and nothing in it is damaged; for which link.
pub(crate) fn check(path: &Path, known: &Known) -> Result<LinkIdentity> {
    let shown = path.display();
    let opened = Opened::open(path, false)?;
    let Provision { link, initial_key, parts, .. } = &opened.provision;
    let initial_key =
        initial_key.as_ref().filter(|_| known.is_of(link) && parts.iter().all(|part| part.first == 0));
    let initial_key = initial_key.with_context(|| format!("{shown} enrols no such client"))?;
    let enrolment = Enrolment { link: *link, initial_key: copied(initial_key) };
    verify(&opened, &key(&enrolment)?, path)?;
    Ok(*link)
}

fn verify(opened: &Opened, key: &ProvisionKey, path: &Path) -> Result<()> {
    for chunk in opened.provision.chunks() {
        let (octets, tag) = opened.chunk(&chunk)?;
        key.verify(&chunk, &octets, &tag).with_context(|| format!("{} cannot be used", path.display()))?;
    }
    Ok(())
}

/// Takes a provisioning file into `directory`, whose lock the caller holds: everything is verified first, and nothing changes
/// if anything is wrong. What was taken is erased. After a crash before that,
/// the same file is taken again; what is there already is left as it is.
///
/// A file that enrols anew, under a higher number than the one that is here, takes the place of everything: the tables of before
/// are erased, then the initial key, and only then it is taken in.
pub(crate) fn import(directory: &Path, links: &Links, path: &Path) -> Result<Imported> {
    let shown = path.display();
    if !path.exists() && finish_erasing(path)? {
        bail!("what {shown} held was taken before, and is erased");
    }
    let opened = Opened::open(path, false)?;
    let Some((name, _)) = links.iter().find(|(_, known)| known.is_of(&opened.provision.link)) else {
        bail!("{shown} is for another hub or client than those of {}", directory.display());
    };
    let (enrolment, is_anew) = enrolment_by(directory, name, &opened.provision, path)?;
    let key = key(&enrolment)?;
    verify(&opened, &key, path)?;
    if is_anew {
        forget_tables(directory, name)?;
        let mut over = tables_of(directory, name)?;
        over.push(new_key_order(directory, name));
        erase_all(over.iter().map(PathBuf::as_path))?;
        // Last, and apart: without it, what a crash left of the tables would pass for those of the new enrolment.
        erase(&directory.join(link_name(name)))?;
    }
    let mut imported = Imported { link: name.clone(), enrolled: false, tables: Vec::new(), extended: 0 };
    let mut held = Vec::new();
    for part in &opened.provision.parts {
        let identity = identity_of_table(&enrolment.link, part);
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
        let writer = TableWriter::open(&table, identity_of_table(&enrolment.link, part), here)?;
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
    erase(path).with_context(|| format!("what {shown} held was taken"))?;
    Ok(imported)
}

/// The enrolment to which the file belongs, and whether it takes the place of another.
fn enrolment_by(
    directory: &Path,
    name: &str,
    provision: &Provision,
    path: &Path,
) -> Result<(Enrolment, bool)> {
    let brought = provision.initial_key.as_ref().map(copied);
    let link = provision.link;
    match (stored_enrolment(directory, name)?, brought) {
        // Hubs count upwards: the enrolment of before is over.
        (Some(own), Some(initial_key)) if link.client > own.link.client => {
            if provision.parts.iter().any(|part| part.first > 0) {
                bail!("{} is not the first portion of an enrolment", path.display());
            }
            Ok((Enrolment { link, initial_key }, true))
        }
        (Some(own), brought) => {
            let same = brought.is_none_or(|brought| brought == own.initial_key);
            if !same || own.link != link {
                bail!(
                    "{} enrols {name} under the number of before or a lower one, and {name} is enrolled here already",
                    path.display()
                );
            }
            Ok((own, false))
        }
        (None, Some(initial_key)) => Ok((Enrolment { link, initial_key }, false)),
        (None, None) => bail!(
            "{} brings tables only, and {name} is not enrolled here: import its first provisioning file before",
            path.display()
        ),
    }
}
