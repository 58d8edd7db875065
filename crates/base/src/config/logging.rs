use std::path::PathBuf;

use crate::schema::options;

options! {
    /// What is logged, and where.
    pub struct LoggingSection {
        /// A file in the form of Python's `logging.config.dictConfig`: levels, files and the console are taken from it.
        /// Without it, everything from INFO on goes to the standard error. See [logging.md](logging.md).
        acts log_config: Option<PathBuf>,
    }
}
