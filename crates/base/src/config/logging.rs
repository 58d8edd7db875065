use std::path::PathBuf;

use crate::schema::options;

options! {
    /// Logging.
    pub struct LoggingSection {
        /// A file in the format of Python's `logging.config.dictConfig`: levels, files and the console are read from
        /// it. Without it, everything from INFO on goes to standard error. See [logging.md](logging.md).
        acts log_config: Option<PathBuf>,
    }
}
