//! Sessions, devices, registration, addresses.

use http::Method;
use serde_json::json;

use super::{C, Stage};
use crate::client::with_password;

pub(super) async fn use_all(stage: &Stage) {
    discover(stage).await;
    sessions(stage).await;
    devices(stage).await;
    register(stage).await;
    addresses(stage).await;
    moderate(stage).await;
}

async fn discover(stage: &Stage) {
    let server = &stage.server;
    let well_known = ["client", "policy_server", "support"].map(|name| format!("/.well-known/matrix/{name}"));
    let others = ["/_matrix/client/versions".to_owned(), format!("{C}/login")];
    for path in well_known.iter().chain(&others) {
        server.request(Method::GET, path, None, None).await;
    }
    for path in ["capabilities", "account/whoami", "voip/turnServer", "account/3pid"] {
        stage.get(&format!("{C}/{path}")).await;
    }
}

async fn sessions(stage: &Stage) {
    let login = json!({
        "type": "m.login.password", "password": "password of alice", "refresh_token": true,
        "identifier": { "type": "m.id.user", "user": "alice" }, "initial_device_display_name": "Phone",
    });
    let session = stage.post_openly(&format!("{C}/login"), login).await;
    let refresh = json!({ "refresh_token": session.ok()["refresh_token"] });
    let refreshed = stage.post_openly(&format!("{C}/refresh"), refresh).await;
    let token = refreshed.ok()["access_token"].as_str().expect("a token").to_owned();
    stage.server.post(&format!("{C}/logout"), &token, json!({})).await.ok();
    stage.server.get(&format!("{C}/account/whoami"), &token).await;

    let path = "/_matrix/client/v1/login/get_token";
    let first = stage.server.post(path, &stage.alice.token, json!({})).await;
    stage.post(path, with_password(&stage.alice, &first.body["session"], json!({}))).await;
    let path = format!("{C}/user/{}/openid/request_token", stage.alice.id);
    stage.post(&path, json!({})).await;
}

async fn devices(stage: &Stage) {
    let (first, second) = (stage.server.log_in("alice").await, stage.server.log_in("alice").await);
    let devices = format!("{C}/devices");
    stage.get(&devices).await;
    let path = |device: &str| format!("{devices}/{device}");
    stage.get(&path(&first.device_id)).await;
    stage.put(&path(&first.device_id), json!({ "display_name": "Tablet" })).await;
    stage.get(&path(&first.device_id)).await;
    stage.get(&devices).await;
    let alice = &stage.alice;
    let path = path(&first.device_id);
    let refused = stage.server.delete(&path, &alice.token).await;
    let body = with_password(alice, &refused.body["session"], json!({}));
    stage.server.request(Method::DELETE, &path, Some(&alice.token), Some(body)).await.ok();
    let path = format!("{C}/delete_devices");
    let body = json!({ "devices": [second.device_id] });
    let refused = stage.server.post(&path, &alice.token, body.clone()).await;
    stage.post(&path, with_password(alice, &refused.body["session"], body)).await;
}

async fn register(stage: &Stage) {
    let server = &stage.server;
    server.request(Method::GET, &format!("{C}/register/available?username=carol"), None, None).await.ok();
    server.request(Method::GET, &format!("{C}/register/available?username=bob"), None, None).await;
    let path = "/_matrix/client/v1/register/m.login.registration_token/validity?token=abc";
    server.request(Method::GET, path, None, None).await.ok();
    let body = json!({ "username": "carol", "password": "password of carol" });
    stage.post_openly(&format!("{C}/register"), body).await;
    stage.post_openly(&format!("{C}/register?kind=guest"), json!({})).await;
}

async fn addresses(stage: &Stage) {
    let (secret, sid) = ("secret", "1");
    let email = json!({ "client_secret": secret, "email": "a@example.org", "send_attempt": 1 });
    let phone = json!({ "client_secret": secret, "country": "GB", "phone_number": "07700900001", "send_attempt": 1 });
    for place in ["account/3pid", "account/password", "register"] {
        stage.post_openly(&format!("{C}/{place}/email/requestToken"), email.clone()).await;
        stage.post_openly(&format!("{C}/{place}/msisdn/requestToken"), phone.clone()).await;
    }
    let token = &stage.alice.token;
    let server = &stage.server;
    let add = json!({ "client_secret": secret, "sid": sid });
    server.post(&format!("{C}/account/3pid/add"), token, add.clone()).await;
    server.post(&format!("{C}/account/3pid"), token, json!({ "three_pid_creds": add })).await;
    let address = json!({ "medium": "email", "address": "a@example.org" });
    server.post(&format!("{C}/account/3pid/delete"), token, address.clone()).await;
    server.post(&format!("{C}/account/3pid/unbind"), token, address).await;
}

async fn moderate(stage: &Stage) {
    let (server, admin) = (&stage.server, &stage.admin);
    stage.get(&format!("{C}/admin/whois/{}", stage.alice.id)).await;
    for (name, field) in [("lock", "locked"), ("suspend", "suspended")] {
        let path = format!("/_matrix/client/v1/admin/{name}/{}", stage.bob.id);
        server.get(&path, &stage.alice.token).await;
        for value in [true, false] {
            server.put(&path, &admin.token, json!({ field: value })).await.ok();
            server.get(&path, &admin.token).await.ok();
        }
    }
}

/// What ends sessions, and accounts.
pub(super) async fn leave(stage: &Stage) {
    let server = &stage.server;
    let bob = &stage.bob;
    let path = format!("{C}/account/password");
    let body = json!({ "new_password": "password of bob", "logout_devices": false });
    let refused = server.post(&path, &bob.token, body.clone()).await;
    server.post(&path, &bob.token, with_password(bob, &refused.body["session"], body)).await.ok();
    server.post(&format!("{C}/logout/all"), &stage.alice.token, json!({})).await.ok();
    let path = format!("{C}/account/deactivate");
    let refused = server.post(&path, &bob.token, json!({ "erase": true })).await;
    let body = with_password(bob, &refused.body["session"], json!({ "erase": true }));
    server.post(&path, &bob.token, body).await.ok();
}
