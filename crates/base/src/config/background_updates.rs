use crate::schema::options;

options! {
    /// Synapse's changes to its database while it runs.
    pub struct BackgroundUpdatesSection {
        /// How these changes share the database with other work.
        moot background_updates: BackgroundUpdates,
    }
}

options! {
    /// How these changes share the database with other work.
    pub struct BackgroundUpdates {
        /// The duration of a step, in milliseconds.
        moot background_update_duration_ms: u32 = 100,
        /// Whether there is a pause between steps.
        moot sleep_enabled: bool = true,
        /// The pause, in milliseconds.
        moot sleep_duration_ms: u32 = 1000,
        /// The least number of rows in a step.
        moot min_batch_size: u32 = 1,
        /// The number of rows in the first step.
        moot default_batch_size: u32 = 100,
    }
}
