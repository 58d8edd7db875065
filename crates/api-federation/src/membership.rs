//! Joining, leaving, knocking and inviting between servers.

pub(crate) mod create_invite;
pub(crate) mod create_join_event;
pub(crate) mod create_knock_event;
pub(crate) mod create_leave_event;
pub(crate) mod prepare_join_event;
pub(crate) mod prepare_knock_event;
pub(crate) mod prepare_leave_event;

use plexus_federation::peers::EventTemplate;
use plexus_http::RawJson;
use serde::Deserialize;
use serde_json::json;

/// The room versions that the requesting server supports.
#[derive(Debug, Deserialize)]
pub(crate) struct Versions {
    #[serde(default = "first_version")]
    ver: Vec<String>,
}

fn first_version() -> Vec<String> {
    vec!["1".to_owned()]
}

/// Returns the response with a template.
fn template(template: &EventTemplate) -> RawJson {
    let version = json!(template.room_version.as_str());
    RawJson(format!("{{\"event\":{},\"room_version\":{version}}}", template.event.to_json()).into())
}
