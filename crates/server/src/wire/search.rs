//! Search in messages.

use std::sync::Arc;

use plexus_base::Background;
use plexus_service::search::{self, Search, SearchIndex, SearchIndexBuild};
use plexus_service::tasks::TaskHandler;
use plexus_store::{Database, DbError};

use super::followers::SyncServices;
use super::foundation::Foundation;
use super::rooms::RoomServices;

/// Search in messages, unless it is switched off.
pub(super) struct SearchServices {
    pub(super) search: Option<Arc<Search>>,
    build: Arc<SearchIndexBuild>,
    index: Option<Arc<SearchIndex>>,
}

impl SearchServices {
    pub(super) fn build(foundation: &Foundation, rooms: &RoomServices, sync: &SyncServices) -> Self {
        let Foundation { config, clock, tasks, database: db, .. } = foundation;
        let is_on = config.server.enable_search;
        let index = is_on.then(|| SearchIndex::new(db.clone(), clock.clone(), Arc::clone(tasks)));
        let search = index.as_ref().map(|index| {
            let (rooms, settings) = (Arc::clone(&rooms.rooms), Arc::clone(&sync.settings));
            Arc::new(Search::new(rooms, Arc::clone(index), settings, clock.clone()))
        });
        let build = Arc::new(SearchIndexBuild::new(db.clone(), index.clone()));
        Self { search, build, index }
    }

    /// Returns what runs the scheduled tasks of search.
    pub(super) fn task_handler(&self) -> Arc<dyn TaskHandler> {
        Arc::<SearchIndexBuild>::clone(&self.build)
    }

    /// Starts the background work.
    pub(super) async fn start_background(&self, foundation: &Foundation) -> Result<(), DbError> {
        let Foundation { database, background, .. } = foundation;
        match &self.index {
            Some(index) => {
                index.prepare().await?;
                background.spawn_abortable("search index", Arc::clone(index).run());
            }
            None => abandon(database.clone(), background),
        }
        Ok(())
    }
}

/// Removes an index from when search was switched on.
fn abandon(db: Database, background: &Background) {
    background.spawn_abortable("removal of the search index", async move {
        if let Err(error) = search::abandon(&db).await {
            tracing::warn!("the search index could not be removed: {error}");
        }
    });
}
