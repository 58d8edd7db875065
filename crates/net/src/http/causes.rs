//! The whole text of an error of hyper.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// Writes an error of hyper, whose text is only what failed, with everything that caused it.
pub(crate) struct Causes<'a>(pub(crate) &'a hyper::Error);

impl Display for Causes<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
