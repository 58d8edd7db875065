//! What is looked at, with what, and what came of it.

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_base::{Background, Clock, Random};
use plexus_net::HttpClient;
use serde::Serialize;

use crate::control_socket::ControlClient;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It is as it should be.
    Ok,
    /// It works, but something should be done.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at, or there is nothing to look at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub outcome: Outcome,
    /// The same in words.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    pub(super) fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, found: found.into(), advice: None }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failed(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, found: found.into(), advice: Some(advice.into()) }
    }
}

/// What the checks are made with.
pub(super) struct Doctor<'a> {
    pub(super) config: &'a Config,
    /// The running server, if it runs.
    pub(super) server: Option<ControlClient>,
    /// As the server's own, but for the addresses that are forbidden: this server may have one of them.
    pub(super) http: Arc<HttpClient>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) background: Background,
}

impl Doctor<'_> {
    /// Whether the server runs and can be asked.
    pub(super) fn runs(&self) -> bool {
        self.server.is_some()
    }
}
