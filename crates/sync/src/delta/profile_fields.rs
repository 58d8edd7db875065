//! The fields of profiles that a client follows.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The fields of profiles that a client follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProfileFields {
    /// None.
    #[default]
    None,
    /// These.
    Named(Arc<BTreeSet<String>>),
    /// All.
    All,
}

impl ProfileFields {
    /// The fields with these names.
    pub(crate) fn named(names: &[String]) -> Self {
        if names.is_empty() { Self::None } else { Self::Named(Arc::new(names.iter().cloned().collect())) }
    }

    /// Returns the names; `None` for all fields.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::None => Some(Vec::new()),
            Self::Named(names) => Some(names.iter().map(String::as_str).collect()),
            Self::All => None,
        }
    }
}
