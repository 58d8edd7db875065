//! A limit on how many do something at once, for each name.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Admits a limited number at once for each name. A name takes no memory when nobody is admitted or waits.
pub struct Gates {
    at_once: usize,
    by_name: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    semaphores: HashMap<String, Weak<Semaphore>>,
    /// At how many names those that are not in use are removed.
    sweep_at: usize,
}

/// An admission, until dropped.
pub struct Pass {
    _permit: Option<OwnedSemaphorePermit>,
    _semaphore: Arc<Semaphore>,
}

impl Gates {
    /// At most `at_once` for each name.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { at_once, by_name: Mutex::default() }
    }

    /// Waits until there is room for one more at `name`.
    pub async fn enter(&self, name: &str) -> Pass {
        let semaphore = self.semaphore(name);
        // Nobody closes the semaphore, so there is always a permit in the end.
        let permit = Arc::clone(&semaphore).acquire_owned().await.ok();
        Pass { _permit: permit, _semaphore: semaphore }
    }

    fn semaphore(&self, name: &str) -> Arc<Semaphore> {
        let mut names = self.by_name.lock();
        if let Some(semaphore) = names.semaphores.get(name).and_then(Weak::upgrade) {
            return semaphore;
        }
        if names.semaphores.len() >= names.sweep_at {
            names.semaphores.retain(|_, semaphore| semaphore.strong_count() > 0);
            names.sweep_at = (names.semaphores.len() * 2).max(64);
        }
        let semaphore = Arc::new(Semaphore::new(self.at_once));
        names.semaphores.insert(name.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn late_comers_wait_for_the_same_name_only() {
        let gates = Gates::new(1);
        let first = poll(pin!(gates.enter("a"))).expect("nobody is in");
        let mut second = pin!(gates.enter("a"));
        assert!(poll(second.as_mut()).is_none());
        assert!(poll(pin!(gates.enter("b"))).is_some());
        drop(first);
        assert!(poll(second.as_mut()).is_some());
    }

    #[test]
    fn unused_names_are_forgotten() {
        let gates = Gates::new(1);
        let held = poll(pin!(gates.enter("held")));
        for number in 0..10_000 {
            assert!(poll(pin!(gates.enter(&number.to_string()))).is_some());
        }
        assert!(gates.by_name.lock().semaphores.len() <= 65);
        assert!(poll(pin!(gates.enter("held"))).is_none());
        drop(held);
    }
}
