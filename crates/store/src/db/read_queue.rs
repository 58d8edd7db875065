//! The queue of the readers.
//!
//! Idle readers are reused last-in-first-out: the most recent one has prepared statements and its connection's pages in
//! memory. A quiet server reads through one connection, and the other readers hold nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::DbError;
use super::job::Job;

pub(super) struct ReadQueue {
    state: Mutex<State>,
    /// One per reader, to wake it.
    bells: Vec<Condvar>,
    /// Permits for waiting closures; without one their callers wait.
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The numbers of the idle readers; the last one worked last.
    idle: Vec<usize>,
    closed: bool,
}

struct Waiting {
    job: Box<dyn Job>,
    /// `None`: its caller is a thread that only waits.
    _place: Option<OwnedSemaphorePermit>,
}

impl ReadQueue {
    pub(super) fn new(readers: usize, places: usize) -> Self {
        let bells = (0..readers).map(|_| Condvar::new()).collect();
        Self { state: Mutex::default(), bells, places: Arc::new(Semaphore::new(places)) }
    }

    /// Submits a closure, after waiting for a permit.
    pub(super) async fn push(&self, job: Box<dyn Job>) -> Result<(), DbError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| DbError::Closed)?;
        self.add(Waiting { job, _place: Some(place) })
    }

    /// Submits the closure of a thread that will wait for it.
    pub(super) fn push_blocking(&self, job: Box<dyn Job>) -> Result<(), DbError> {
        self.add(Waiting { job, _place: None })
    }

    fn add(&self, waiting: Waiting) -> Result<(), DbError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(DbError::Closed);
        }
        state.waiting.push_back(waiting);
        let woken = state.idle.pop();
        drop(state);
        if let Some(bell) = woken.and_then(|reader| self.bells.get(reader)) {
            bell.notify_one();
        }
        Ok(())
    }

    /// Waits for the next closure for a reader; `None` when there will be none.
    pub(super) fn next(&self, reader: usize) -> Option<Box<dyn Job>> {
        let bell = self.bells.get(reader)?;
        let mut state = self.state.lock();
        loop {
            if let Some(waiting) = state.waiting.pop_front() {
                return Some(waiting.job);
            }
            if state.closed {
                return None;
            }
            if !state.idle.contains(&reader) {
                state.idle.push(reader);
            }
            bell.wait(&mut state);
        }
    }

    /// Closes the queue. Closures submitted before are still run.
    pub(super) fn close(&self) {
        self.places.close();
        self.state.lock().closed = true;
        for bell in &self.bells {
            bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::Tx;

    const READERS: usize = 3;

    struct Nothing;

    impl Job for Nothing {
        fn is_abandoned(&self) -> bool {
            false
        }
        fn run(&mut self, _: &mut Tx<'_>) -> bool {
            false
        }
        fn fail(&mut self, _: DbError) {}
        fn answer(self: Box<Self>) {}
    }

    fn wait_for_idle(queue: &ReadQueue) {
        while queue.state.lock().idle.len() < READERS {
            thread::yield_now();
        }
    }

    #[test]
    fn what_comes_one_by_one_is_read_by_one_reader_and_what_waits_at_the_end_is_still_run() {
        let queue = ReadQueue::new(READERS, 8);
        let (ran, runs) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..READERS {
                let (queue, ran) = (&queue, ran.clone());
                scope.spawn(move || {
                    while queue.next(number).is_some() {
                        ran.send(number).unwrap();
                    }
                });
            }
            let one_by_one: Vec<usize> = (0..10)
                .map(|_| {
                    wait_for_idle(&queue);
                    queue.push_blocking(Box::new(Nothing)).unwrap();
                    runs.recv().unwrap()
                })
                .collect();
            assert!(one_by_one.iter().all(|reader| Some(reader) == one_by_one.first()), "{one_by_one:?}");
            for _ in 0..50 {
                queue.push_blocking(Box::new(Nothing)).unwrap();
            }
            queue.close();
            assert!(matches!(queue.push_blocking(Box::new(Nothing)), Err(DbError::Closed)));
        });
        assert_eq!(runs.try_iter().count(), 50);
    }
}
