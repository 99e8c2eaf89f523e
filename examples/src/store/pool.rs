//! Files that are open while they are used, and as long after as there is room: a hub has two for each of its clients, and a
//! process may not have as many open.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Result;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// A file that may be closed at any time, and is opened again when it is used.
#[derive(Debug)]
pub(crate) struct PooledFile {
    number: u64,
    path: PathBuf,
    writable: bool,
}

impl PooledFile {
    /// The file at `path`, which is not opened yet.
    pub(crate) fn new(path: PathBuf, writable: bool) -> Self {
        let number = Pool::lock().next_number();
        Self { number, path, writable }
    }

    /// Works on the file. Whenever it was opened for that, `check` comes first: another may have its name by now.
    pub(crate) fn with<T>(
        &self,
        check: impl FnOnce(&File) -> Result<()>,
        work: impl FnOnce(&File) -> Result<T>,
    ) -> Result<T> {
        if let Some(file) = Pool::lock().used(self.number) {
            return work(&file);
        }
        let open = || OpenOptions::new().read(true).write(self.writable).open(&self.path);
        let file = open().or_else(|error| match Errno::from_io_error(&error) {
            // Others in this process took what the pool left them.
            Some(Errno::MFILE | Errno::NFILE) => {
                Pool::lock().close_all();
                open()
            }
            _ => Err(error),
        })?;
        check(&file)?;
        let file = Arc::new(file);
        Pool::lock().keep(self.number, Arc::clone(&file));
        work(&file)
    }
}

impl Drop for PooledFile {
    fn drop(&mut self) {
        Pool::lock().close(self.number);
    }
}

/// Those of all files that are open.
#[derive(Debug)]
struct Pool {
    /// With the time of their last use.
    open: HashMap<u64, (u64, Arc<File>)>,
    /// By that time.
    by_use: BTreeMap<u64, u64>,
    /// At most so many.
    room: usize,
    uses: u64,
    files: u64,
}

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(|| Mutex::new(Pool::new(room())));

/// Half of what the process may have open: the rest is for sockets and logs.
fn room() -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(most / 2).unwrap_or(usize::MAX).max(1)
}

impl Pool {
    fn new(room: usize) -> Self {
        Self { open: HashMap::new(), by_use: BTreeMap::new(), room, uses: 0, files: 0 }
    }

    fn lock() -> MutexGuard<'static, Self> {
        POOL.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_number(&mut self) -> u64 {
        self.files = self.files.saturating_add(1);
        self.files
    }

    fn used(&mut self, number: u64) -> Option<Arc<File>> {
        self.uses = self.uses.saturating_add(1);
        let (last, file) = self.open.get_mut(&number)?;
        self.by_use.remove(&core::mem::replace(last, self.uses));
        self.by_use.insert(self.uses, number);
        Some(Arc::clone(file))
    }

    fn keep(&mut self, number: u64, file: Arc<File>) {
        while self.open.len() >= self.room
            && let Some((_, longest_unused)) = self.by_use.pop_first()
        {
            self.open.remove(&longest_unused);
        }
        self.uses = self.uses.saturating_add(1);
        self.open.insert(number, (self.uses, file));
        self.by_use.insert(self.uses, number);
    }

    fn close(&mut self, number: u64) {
        if let Some((last, _)) = self.open.remove(&number) {
            self.by_use.remove(&last);
        }
    }

    fn close_all(&mut self) {
        self.open.clear();
        self.by_use.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_open_than_there_is_room_for_and_the_longest_unused_goes() {
        let mut pool = Pool::new(2);
        let file = || Arc::new(tempfile::tempfile().unwrap());
        (1..=2).for_each(|number| pool.keep(number, file()));
        assert!(pool.used(1).is_some());
        pool.keep(3, file());
        assert!(pool.used(1).is_some() && pool.used(2).is_none() && pool.used(3).is_some());
        pool.close(1);
        assert!(pool.used(1).is_none());
        pool.keep(4, file());
        assert!(pool.used(3).is_some() && pool.used(4).is_some());
        assert_eq!(pool.open.len(), pool.by_use.len());
    }
}
