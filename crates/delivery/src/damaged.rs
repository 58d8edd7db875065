//! Delivery goes on without what is damaged: one event that cannot be read must not stop what comes after it.

use plexus_base::background::{catch_panic, panic_message};
use plexus_store::DbError;

/// Returns the result of an attempt at one entry of the log. If the entry is why it fails, logs that and returns
/// nothing instead. `lost` says what is not delivered.
///
/// # Errors
/// When the database as a whole fails.
pub(crate) async fn without_damaged<T: Default>(
    lost: impl FnOnce() -> String,
    attempt: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    match catch_panic(attempt).await {
        Ok(Err(error)) if error.is_of_one() => {
            tracing::warn!("{}: {error}", lost());
            Ok(T::default())
        }
        Ok(result) => result,
        Err(panic) => {
            tracing::error!("a bug: {}: {}", lost(), panic_message(&*panic));
            Ok(T::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> String {
        "lost".to_owned()
    }

    #[tokio::test]
    async fn only_failures_of_the_database_fail() {
        let damaged = async { Err::<Vec<u8>, _>(DbError::bad_data("a row", "damaged")) };
        assert_eq!(without_damaged(lost, damaged).await.expect("goes on"), Vec::<u8>::new());
        let panics = async { panic!("a bug") };
        assert_eq!(without_damaged::<Option<u8>>(lost, panics).await.expect("goes on"), None);
        let down = async { Err::<Option<u8>, _>(DbError::Closed) };
        assert!(without_damaged(lost, down).await.is_err());
    }
}
