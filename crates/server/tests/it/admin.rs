//! The admin API.

pub(crate) mod registration_tokens;
mod room_block;
mod scheduled_tasks;
mod send_server_notice;

use plexus_accounts::{SignedRegistration, shared_secret_mac};
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{get_unauthenticated, post_unauthenticated};

/// The access token of a new administrator.
pub(crate) async fn register_admin(server: &TestServer) -> String {
    let path = "/_synapse/admin/v1/register";
    let nonce = get_unauthenticated(server, path).await.ok()["nonce"].as_str().unwrap_or_default().to_owned();
    let (username, password) = ("admin", "password of admin");
    let signed = SignedRegistration { nonce: &nonce, username, password, is_admin: true, user_type: None };
    let mac = shared_secret_mac("shared", signed);
    let body = json!({ "nonce": nonce, "username": username, "password": password, "admin": true, "mac": mac });
    post_unauthenticated(server, path, body).await.ok()["access_token"].as_str().unwrap_or_default().to_owned()
}
