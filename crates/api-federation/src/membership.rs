//! Joining, leaving, knocking and inviting between servers.

pub mod create_invite;
pub mod create_join_event;
pub mod create_knock_event;
pub mod create_leave_event;
pub mod prepare_join_event;
pub mod prepare_knock_event;
pub mod prepare_leave_event;

use plexus_federation::serve::Template;
use plexus_http::RawJson;
use serde::Deserialize;
use serde_json::json;

/// The room versions that the asking server supports.
#[derive(Debug, Deserialize)]
pub struct Versions {
    #[serde(default = "first_version")]
    ver: Vec<String>,
}

fn first_version() -> Vec<String> {
    vec!["1".to_owned()]
}

/// A template as it is answered.
fn template(made: &Template) -> RawJson {
    let version = json!(made.version.as_str());
    RawJson(format!("{{\"event\":{},\"room_version\":{version}}}", made.event.to_json()).into())
}
