//! Filters that clients upload once and name by id.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::repo::bounds::BoundError;
use plexus_store::{Database, DbError, readable, repo};
use quick_cache::sync::Cache;

use super::Filter;

/// The most parsed filters in memory.
const CACHE_CAPACITY: usize = 10_000;

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The JSON is not that of a filter.
    #[error("the filter is not valid: {0}")]
    Invalid(#[from] serde_json::Error),
    /// The user has stored no filter with this id.
    #[error("no such filter")]
    NotFound,
    /// 413 `M_TOO_LARGE`
    #[error("{0}")]
    TooLarge(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<BoundError> for FilterError {
    fn from(error: BoundError) -> Self {
        match error {
            BoundError::TooLarge(what) => Self::TooLarge(what),
            BoundError::Db(error) => Self::Database(error),
        }
    }
}

/// The stored filters of all users.
pub struct Filters {
    db: Database,
    parsed: Cache<(UserId, i64), Arc<Filter>>,
}

impl Filters {
    /// Creates the service with an empty cache.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db, parsed: Cache::new(CACHE_CAPACITY) }
    }

    /// Stores a filter (JSON), and returns its id.
    pub async fn create(&self, user: &UserId, definition: String) -> Result<i64, FilterError> {
        Filter::parse(&definition)?;
        let user = user.to_string();
        Ok(self.db.write(move |tx| repo::filters::add(tx, &user, &definition)).await?)
    }

    /// Returns the JSON of a stored filter.
    pub async fn definition(&self, user: &UserId, id: i64) -> Result<String, FilterError> {
        let user = user.to_string();
        let found: Option<String> = self.db.read(move |tx| repo::filters::get(tx, &user, id)).await?;
        found.ok_or(FilterError::NotFound)
    }

    /// Returns the filter that a request names: JSON, or the id of a stored one.
    pub async fn resolve(&self, user: &UserId, filter: &str) -> Result<Arc<Filter>, FilterError> {
        if filter.starts_with('{') {
            return Ok(Arc::new(Filter::parse(filter)?));
        }
        let id: i64 = filter.parse().map_err(|_| FilterError::NotFound)?;
        let key = (user.clone(), id);
        if let Some(parsed) = self.parsed.get(&key) {
            return Ok(parsed);
        }
        let definition = self.definition(user, id).await?;
        let bad = |error| DbError::bad_data(format!("filters, {user}, filter_id {id}"), error);
        let parsed = readable(Filter::parse(&definition).map_err(bad)).ok_or(FilterError::NotFound)?;
        let parsed = Arc::new(parsed);
        self.parsed.insert(key, Arc::clone(&parsed));
        Ok(parsed)
    }
}
