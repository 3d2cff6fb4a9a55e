//! Call detail records on their way into the database.
//!
//! When a call ends its record is appended to a file, at once and without waiting for the database. A task moves whole
//! files into the database; a file goes when its records are stored. A record that comes again (the program ended in
//! between) is known by its id. What a killed program had written is in the file; what a power failure may take is
//! what was written since the task last ran.

use super::{Store, StoreError};
use crate::b2bua::Cdr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A file is closed at this size, so that it can be read at once.
const FILE_LIMIT: u64 = 4 << 20;
/// All files together; beyond it records are lost, and counted.
const TOTAL_LIMIT: u64 = 1 << 30;

/// A folder of files, each of one record a line.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    writer: Mutex<Writer>,
    waiting: AtomicU64,
    lost: AtomicU64,
    /// Held while files are moved.
    moving: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Writer {
    current: Option<Segment>,
    next: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    length: u64,
}

/// Why a record could not be written or moved.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder or a file in it.
    #[error("the spool of call detail records failed: {0}")]
    File(#[from] io::Error),
    /// Too much waits for the database.
    #[error("the spool of call detail records is full")]
    Full,
    /// The database did not take the records; they stay in the spool.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one run moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Records that the database did not have yet.
    pub stored: u64,
    /// Lines that are no records, as a crash may leave behind; kept in `*.damaged`.
    pub damaged: u64,
}

impl Spool {
    /// Opens the folder, creating it if need be. What an earlier run left is moved by the next [`settle`](Self::settle).
    pub fn open(folder: &Path) -> Result<Self, SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let spool = Self {
            folder: folder.to_owned(),
            writer: Mutex::new(Writer {
                current: None,
                next: 0,
            }),
            waiting: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            moving: tokio::sync::Mutex::new(()),
        };
        let left = segments(folder, u64::MAX)?;
        for (_, path) in &left {
            spool
                .waiting
                .fetch_add(path.metadata()?.len(), Ordering::Relaxed);
        }
        spool
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next = left.last().map_or(0, |(number, _)| number + 1);
        Ok(spool)
    }

    /// Writes a record. It is with the operating system when this returns.
    pub fn append(&self, cdr: &Cdr) -> Result<(), SpoolError> {
        self.write(cdr).inspect_err(|_| {
            self.lost.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn write(&self, cdr: &Cdr) -> Result<(), SpoolError> {
        if self.waiting() >= TOTAL_LIMIT {
            return Err(SpoolError::Full);
        }
        let mut line = serde_json::to_vec(cdr).map_err(io::Error::from)?;
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut segment = match writer.current.take() {
            Some(segment) => segment,
            None => {
                let path = self.path(writer.next);
                writer.next += 1;
                let file = OpenOptions::new()
                    .append(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                Segment { file, length: 0 }
            }
        };
        // A segment that a write failed in is left behind: its last line may be torn.
        segment.file.write_all(&line)?;
        segment.length += line.len() as u64;
        self.waiting.fetch_add(line.len() as u64, Ordering::Relaxed);
        if segment.length < FILE_LIMIT {
            writer.current = Some(segment);
        }
        Ok(())
    }

    /// The newest record in this folder that `wanted` picks, without moving any: what a crash left can be read, too.
    pub fn peek(folder: &Path, wanted: impl Fn(&Cdr) -> bool) -> Result<Option<Cdr>, SpoolError> {
        let mut found = None;
        for (_, path) in segments(folder, u64::MAX)? {
            let text = match fs::read(&path) {
                Ok(text) => text,
                // Moved by a running SBC meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let records = text
                .split(|byte| *byte == b'\n')
                .filter_map(|line| serde_json::from_slice::<Cdr>(line).ok());
            found = records.filter(|cdr| wanted(cdr)).last().or(found);
        }
        Ok(found)
    }

    /// Moves all records into the database, oldest first.
    pub async fn settle(&self, store: &Store) -> Result<Moved, SpoolError> {
        let _turn = self.moving.lock().await;
        let mut moved = Moved::default();
        for (number, path) in segments(&self.folder, self.close_current()?)? {
            let text = fs::read(&path)?;
            let lines = text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            let (mut cdrs, mut damaged) = (Vec::new(), Vec::new());
            for line in lines {
                match serde_json::from_slice::<Cdr>(line) {
                    Ok(cdr) => cdrs.push(cdr),
                    Err(_) => damaged.push(line),
                }
            }
            moved.stored += store.add_cdrs(&cdrs).await?;
            if !damaged.is_empty() {
                moved.damaged += damaged.len() as u64;
                let kept = self.folder.join(format!("{number:020}.damaged"));
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(kept)?
                    .write_all(&damaged.join(&b'\n'))?;
            }
            fs::remove_file(&path)?;
            self.waiting
                .fetch_sub((text.len() as u64).min(self.waiting()), Ordering::Relaxed);
        }
        Ok(moved)
    }

    /// Moves records whenever `every` has passed, for ever. Failures are logged, and tried again.
    pub async fn keep_settling(&self, store: &Store, every: Duration) {
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            match self.settle(store).await {
                Ok(Moved { damaged: 0, .. }) => {}
                Ok(moved) => tracing::warn!(
                    lines = moved.damaged,
                    "the spool held lines that are no call detail records"
                ),
                Err(error) => tracing::error!(%error, "call detail records stay in the spool"),
            }
        }
    }

    /// Bytes that wait for the database.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Records that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Ends the file being written; the number that the next one will have.
    fn close_current(&self) -> Result<u64, SpoolError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = writer.current.take() {
            segment.file.sync_data()?;
        }
        Ok(writer.next)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.jsonl"))
    }
}

/// Files of the folder with numbers below `end`, in order.
fn segments(folder: &Path, end: u64) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".jsonl")?.parse().ok());
        if let Some(number) = number.filter(|number| *number < end) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::cdrs::{self, CdrFilter, tests::cdr};
    use super::super::open::tests::fresh;
    use super::super::{Listed, Page};
    use super::*;

    async fn stored(store: &Store) -> usize {
        let mut connection = store.read().await.unwrap();
        let Listed { items, .. } =
            cdrs::list(&mut connection, &CdrFilter::default(), Page::default())
                .await
                .unwrap();
        items.len()
    }

    fn files(spool: &Spool) -> Vec<String> {
        let names = fs::read_dir(&spool.folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[tokio::test]
    async fn records_reach_the_database_and_leave_the_spool() {
        let (folder, store) = fresh().await;
        let spool = Spool::open(&folder.path().join("cdr")).unwrap();
        for id in 0..10 {
            spool.append(&cdr(id, 0)).unwrap();
        }
        assert!(spool.waiting() > 0);
        assert_eq!(
            spool.settle(&store).await.unwrap(),
            Moved {
                stored: 10,
                damaged: 0
            }
        );
        assert_eq!(
            (stored(&store).await, spool.waiting(), files(&spool).len()),
            (10, 0, 0)
        );
        assert_eq!(spool.settle(&store).await.unwrap(), Moved::default());
    }

    /// The first run ends after the records were stored but before their file went, and in the middle of a line.
    #[tokio::test]
    async fn what_a_crash_left_is_stored_once() {
        let (folder, store) = fresh().await;
        let path = folder.path().join("cdr");
        let first = Spool::open(&path).unwrap();
        first.append(&cdr(1, 0)).unwrap();
        first.append(&cdr(2, 0)).unwrap();
        store.add_cdrs(&[cdr(1, 0)]).await.unwrap();
        let torn = fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
        drop(first);
        OpenOptions::new()
            .append(true)
            .open(torn)
            .unwrap()
            .write_all(b"{\"id\":\"00000000")
            .unwrap();

        let second = Spool::open(&path).unwrap();
        second.append(&cdr(3, 0)).unwrap();
        assert_eq!(
            second.settle(&store).await.unwrap(),
            Moved {
                stored: 2,
                damaged: 1
            }
        );
        assert_eq!((stored(&store).await, second.waiting()), (3, 0));
        assert_eq!(files(&second), ["00000000000000000000.damaged"]);
    }

    /// A database that is gone loses nothing: the records wait, and more can be added.
    #[tokio::test]
    async fn records_wait_while_the_database_fails() {
        let (folder, store) = fresh().await;
        let spool = Spool::open(&folder.path().join("cdr")).unwrap();
        spool.append(&cdr(1, 0)).unwrap();
        store.close().await;
        assert!(matches!(
            spool.settle(&store).await,
            Err(SpoolError::Store(_))
        ));
        spool.append(&cdr(2, 0)).unwrap();
        let path = folder.path().join("tollgate.db");
        let again = Store::open(&path, crate::directory::Config::default())
            .await
            .unwrap();
        assert_eq!(spool.settle(&again).await.unwrap().stored, 2);
    }

    #[tokio::test]
    async fn a_full_spool_counts_what_it_loses() {
        let (folder, _store) = fresh().await;
        let spool = Spool::open(&folder.path().join("cdr")).unwrap();
        spool.waiting.store(TOTAL_LIMIT, Ordering::Relaxed);
        assert!(matches!(spool.append(&cdr(1, 0)), Err(SpoolError::Full)));
        assert_eq!(spool.lost(), 1);
    }
}
