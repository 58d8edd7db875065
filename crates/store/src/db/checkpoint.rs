//! Writes SQLite's write-ahead log back into the database on a separate thread, so that commits do not wait for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};

/// How many pages the log grows before they are written back.
const STEP: i32 = 1_000;
/// The number of pages after which the log should start over. That is possible when all of it is written back and
/// nobody reads from it; the thread alone would never reach that state while there are writes.
const START_OVER: i32 = 4_000;

/// The writer's handle of the checkpoint thread.
pub(super) struct Checkpointer {
    /// The pages of the log, as of the last commit.
    pages: Arc<AtomicI32>,
    /// The number of pages when the thread was last woken.
    woken_at: i32,
    /// Whether the thread has written back everything and the writer has not used that yet.
    caught_up: Arc<AtomicBool>,
    /// `None` only while it is dropped.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Takes over the checkpoints that `writer` would otherwise do at its commits.
    pub(super) fn start(path: &Path, writer: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = Arc::clone(&pages);
        let count = move |_: &mut _, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        };
        // Replaces SQLite's own hook, which checkpoints.
        writer.wal_hook(Some(count))?;
        // Exactly the file that the writer has open: it is not created, and its name is not parsed as a URI.
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        let (wake, woken) = mpsc::sync_channel(1);
        let caught_up = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&caught_up);
        let thread = std::thread::Builder::new().name("db-checkpoint".to_owned());
        let thread = thread.spawn(move || run(&conn, &woken, &done)).ok();
        // Without a thread the writer checkpoints itself.
        let wake = thread.is_some().then_some(wake);
        Ok(Self { pages, woken_at: 0, caught_up, wake, thread })
    }

    /// Must be called after each commit.
    pub(super) fn committed(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.woken_at {
            self.woken_at = 0;
        }
        if pages >= START_OVER && self.caught_up.swap(false, Ordering::AcqRel) {
            // Little is left to be written back: the next commit can begin at the log's start.
            checkpoint(writer);
        } else if pages - self.woken_at >= STEP {
            self.woken_at = pages;
            self.caught_up.store(false, Ordering::Release);
            match &self.wake {
                // The thread is busy and will check again.
                Some(wake) => drop(wake.try_send(())),
                None => checkpoint(writer),
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn run(conn: &Connection, woken: &Receiver<()>, caught_up: &AtomicBool) {
    while woken.recv().is_ok() {
        checkpoint(conn);
        caught_up.store(true, Ordering::Release);
    }
}

/// Writes back the pages that no reader needs, without waiting for anybody.
fn checkpoint(conn: &Connection) {
    if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "a checkpoint of the write-ahead log failed");
    }
}
