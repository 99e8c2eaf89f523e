//! A local distributor: it hands out a provisioning file in portions, and each but once.
//!
//! `FILE.handed` is the ledger: one line for each portion, synced before the portion has a name by which it could be taken.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_dske::PROVISION_CHUNK_ELEMENTS;

use super::Opened;
use crate::store::atomic::{check_private, parent, private, sync_directory};
use crate::store::overwrite;

/// A portion that was handed out.
#[derive(Debug)]
pub(crate) struct Portion {
    /// The elements of each table that it holds.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Whether nothing is left to hand out.
    pub(crate) last: bool,
}

/// Cuts the next `elements` of each table from the provisioning file `source` into the new file `out`, and overwrites them in
/// `source`.
pub(crate) fn cut(source: &Path, elements: u32, out: &Path) -> Result<Portion> {
    let opened = Opened::open(source, true)?;
    if opened.file.try_lock().is_err() {
        bail!("another process cuts a portion of {}", source.display());
    }
    let mut ledger = Ledger::open(source)?;
    ledger.finish()?;
    let from = ledger.handed;
    // Of a portion that was handed out before a crash, nothing stays here.
    forget(&opened, from)?;
    let end = opened.provision.parts.iter().map(|part| part.end).max().unwrap_or(0);
    if from >= end {
        bail!("everything in {} was handed out", source.display());
    }
    let begin = opened.provision.parts.iter().map(|part| part.first).min().unwrap_or(0).max(from);
    let chunks = elements.div_ceil(PROVISION_CHUNK_ELEMENTS).max(1);
    let to = begin.saturating_add(chunks.saturating_mul(PROVISION_CHUNK_ELEMENTS));
    let portion = opened.provision.portion(begin, to, from == 0)?;

    check_private(out)?;
    let partial = partial(out);
    let file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&partial);
    let mut file = file.with_context(|| format!("cannot write {}", partial.display()))?;
    let mut write =
        |octets: &[u8]| file.write_all(octets).with_context(|| format!("cannot write {}", partial.display()));
    write(portion.encode().expose())?;
    for chunk in portion.chunks() {
        let own = opened.provision.chunks().find(|own| {
            (own.part.direction, own.part.number, own.first)
                == (chunk.part.direction, chunk.part.number, chunk.first)
        });
        // As it is: whoever imports it verifies it.
        let (octets, tag) = opened.chunk(&own.context("a portion holds what its source has")?)?;
        write(&octets)?;
        write(&tag)?;
    }
    file.sync_all().with_context(|| format!("cannot sync {}", partial.display()))?;
    sync_directory(parent(out))?;
    ledger.hand(to, out)?;
    ledger.finish()?;
    forget(&opened, to)?;
    Ok(Portion { from: begin, to: to.min(end), last: to >= end })
}

fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".portion");
    name.into()
}

/// Overwrites what lies before element `handed` of each table.
fn forget(opened: &Opened, handed: u32) -> Result<()> {
    for chunk in opened.provision.chunks().filter(|chunk| chunk.first < handed) {
        overwrite(&opened.file, chunk.offset, chunk.len() as u64)
            .context("cannot erase what was handed out")?;
    }
    opened.file.sync_data().context("cannot erase what was handed out")
}

/// What was handed out: lines of an element and a path.
struct Ledger {
    file: File,
    path: PathBuf,
    /// Everything below was handed out.
    handed: u32,
    /// Where the last portion goes.
    last: Option<PathBuf>,
}

impl Ledger {
    fn open(source: &Path) -> Result<Self> {
        let mut path = source.as_os_str().to_owned();
        path.push(".handed");
        let path = PathBuf::from(path);
        let damaged = || format!("the ledger {} is damaged: hand out no more of this file", path.display());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(damaged),
        };
        // A line that is not whole was not synced: its portion never had a name.
        let whole = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let (mut handed, mut last) = (0, None);
        for line in text.get(..whole).unwrap_or_default().lines() {
            let (to, out) = line.split_once(' ').with_context(damaged)?;
            let to: u32 = to.parse().ok().filter(|to| *to > handed).with_context(damaged)?;
            (handed, last) = (to, Some(PathBuf::from(out)));
        }
        let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        file.set_len(whole as u64)
            .and_then(|()| std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        sync_directory(parent(&path))?;
        Ok(Self { file, path, handed, last })
    }

    /// Everything below `to` is handed out, to `out`. Durable when this returns.
    fn hand(&mut self, to: u32, out: &Path) -> Result<()> {
        let out = std::path::absolute(out).context("the portion's path cannot be told")?;
        let shown = out.to_str().filter(|text| !text.contains('\n'));
        let shown = shown.context("the portion's path must be plain text of one line")?;
        writeln!(self.file, "{to} {shown}")
            .and_then(|()| self.file.sync_all())
            .with_context(|| format!("cannot write {}: no portion was handed out", self.path.display()))?;
        (self.handed, self.last) = (to, Some(out));
        Ok(())
    }

    /// Gives the last portion its name, if a crash came between.
    fn finish(&self) -> Result<()> {
        let Some(out) = &self.last else { return Ok(()) };
        let partial = partial(out);
        if partial.exists() {
            // A crash may have come after the name was given.
            let named = fs::hard_link(&partial, out).or_else(|error| {
                let inode = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
                if inode(&partial) == inode(out) { Ok(()) } else { Err(error) }
            });
            named
                .and_then(|()| fs::remove_file(&partial))
                .with_context(|| format!("cannot give {} its name {}", partial.display(), out.display()))?;
            sync_directory(parent(out))?;
        }
        Ok(())
    }
}
