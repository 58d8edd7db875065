//! Closures submitted to a database thread, and their results.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::{DbError, Tx};

/// A closure with its caller, without their types.
pub(super) trait Job: Send {
    /// Whether nobody waits for the result any more.
    fn is_abandoned(&self) -> bool;
    /// Runs the closure; returns whether to keep its changes.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Replaces the result.
    fn fail(&mut self, error: DbError);
    /// Passes the result to the caller.
    fn answer(self: Box<Self>);
}

/// The recipient of a result.
pub(super) trait Caller<R>: Send {
    /// Whether nobody waits for the result any more.
    fn is_gone(&self) -> bool;
    fn answer(self, result: R);
}

impl<R: Send> Caller<R> for oneshot::Sender<R> {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }

    fn answer(self, result: R) {
        // A caller that has gone away (a cancelled request) needs no result.
        drop(self.send(result));
    }
}

/// A closure that gets the result on the database thread.
pub(super) struct Then<D>(pub(super) D);

impl<R, D: FnOnce(R) + Send> Caller<R> for Then<D> {
    fn is_gone(&self) -> bool {
        false
    }

    fn answer(self, result: R) {
        if catch_unwind(AssertUnwindSafe(|| (self.0)(result))).is_err() {
            tracing::error!("the closure after a database transaction panicked");
        }
    }
}

pub(super) struct TypedJob<T, E, F, C> {
    closure: Option<F>,
    result: Option<Result<T, E>>,
    caller: C,
}

impl<T, E, F, C> TypedJob<T, E, F, C>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
    C: Caller<Result<T, E>> + 'static,
{
    pub(super) fn boxed(closure: F, caller: C) -> Box<dyn Job> {
        Box::new(Self { closure: Some(closure), result: None, caller })
    }
}

/// Returns a job and the receiver of its result.
pub(super) fn pair<T, E, F>(closure: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>)
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    let (caller, answer) = oneshot::channel();
    (TypedJob::boxed(closure, caller), answer)
}

impl<T, E, F, C> Job for TypedJob<T, E, F, C>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
    C: Caller<Result<T, E>>,
{
    fn is_abandoned(&self) -> bool {
        self.caller.is_gone()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(closure) = self.closure.take() else {
            return false;
        };
        let result = catch_unwind(AssertUnwindSafe(|| closure(tx))).unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(message, "a database transaction panicked");
            Err(DbError::Panicked(message).into())
        });
        // A closure that hides a failed statement, or does not ask for its result, must not return success for work
        // that is not stored.
        let failed = tx.finish(result.is_ok());
        let result = result.and_then(|value| failed.map_or(Ok(value), |error| Err(error.into())));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn fail(&mut self, error: DbError) {
        self.closure = None;
        self.result = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        let result = self.result.unwrap_or_else(|| Err(DbError::Closed.into()));
        self.caller.answer(result);
    }
}
