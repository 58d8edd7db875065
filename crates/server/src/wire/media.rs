//! Media: its store, storages, downloads, and the tasks that keep all storages up to date.

use std::sync::Arc;

use plexus_base::Background;
use plexus_media::{
    Downloads, FileTasks, MediaRetention, MediaStore, MediaStoreParts, PreviewCleanup, PreviewParts, PreviewTasks,
    Previews, Storages, StoragesParts,
};
use plexus_service::media_tasks::{
    PreviewCleanupHandler, PreviewCleanupTasks, RetentionTaskHandler, StorageTaskHandler, StorageTasks,
};
use plexus_service::tasks::TaskHandler;
use plexus_store::DbError;

use super::federation::Outgoing;
use super::foundation::Foundation;
use super::settings;
use crate::start_error::StartError;

/// Media of this server and of others.
pub(super) struct MediaServices {
    pub(super) store: Arc<MediaStore>,
    pub(super) downloads: Arc<Downloads>,
    pub(super) previews: Arc<Previews>,
    preview_cleanup: Arc<PreviewCleanupHandler>,
    storages: Arc<Storages>,
    storage_tasks: Arc<StorageTaskHandler>,
    retention: Arc<RetentionTaskHandler>,
}

impl MediaServices {
    pub(super) async fn build(foundation: &Foundation, outgoing: &Outgoing) -> Result<Self, StartError> {
        let Foundation { config, clock, random, server_name, database, background, tasks: scheduler, .. } = foundation;
        let settings = settings::media(config);
        let tasks = Arc::new(StorageTasks::new(Arc::clone(scheduler)));
        let parts = StoragesParts {
            http: Arc::clone(&outgoing.http),
            database: database.clone(),
            clock: clock.clone(),
            background: background.clone(),
            tasks: Arc::clone(&tasks) as Arc<dyn FileTasks>,
        };
        let storages = Arc::new(Storages::new(&settings.folder, settings::storage_providers(config)?, parts));
        let parts = MediaStoreParts {
            database: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
            storages: Arc::clone(&storages),
            policy_hooks: outgoing.policy_hooks.clone(),
        };
        let store = Arc::new(MediaStore::open(settings, parts).await?);
        let client = Arc::clone(&outgoing.client);
        let downloads = settings::downloads(config, server_name.clone(), Arc::clone(&store), client);
        let retention = MediaRetention::new(server_name.clone(), Arc::clone(&store), settings::media_lifetimes(config));
        let retention = RetentionTaskHandler::new(retention);
        let preview_tasks = Arc::new(PreviewCleanupTasks::new(clock.clone(), Arc::clone(scheduler)));
        let previews = Previews::new(
            settings::previews(config)?,
            PreviewParts {
                server_name: server_name.clone(),
                http: Arc::clone(&outgoing.http),
                database: database.clone(),
                media: Arc::clone(&store),
                tasks: Arc::clone(&preview_tasks) as Arc<dyn PreviewTasks>,
            },
        );
        let cleanup = PreviewCleanup::new(database.clone(), Arc::clone(&store));
        Ok(Self {
            previews: Arc::new(previews),
            preview_cleanup: Arc::new(PreviewCleanupHandler::new(cleanup, database.clone(), preview_tasks)),
            store,
            downloads: Arc::new(downloads),
            storage_tasks: Arc::new(StorageTaskHandler::new(Arc::clone(&storages), database.clone(), tasks)),
            storages,
            retention: Arc::new(retention),
        })
    }

    /// Returns what runs the scheduled tasks of media.
    pub(super) fn task_handlers(&self) -> [Arc<dyn TaskHandler>; 3] {
        [
            Arc::clone(&self.storage_tasks) as Arc<dyn TaskHandler>,
            Arc::clone(&self.retention) as Arc<dyn TaskHandler>,
            Arc::clone(&self.preview_cleanup) as Arc<dyn TaskHandler>,
        ]
    }

    pub(super) async fn start_background(&self, background: &Background) -> Result<(), DbError> {
        self.storages.schedule_all().await?;
        background.spawn_abortable("last requests for media", Arc::clone(&self.store).run_housekeeping());
        Ok(())
    }
}
