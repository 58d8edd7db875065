//! `GET` and `PUT /admin/lock/{userId}`.

use serde_json::json;

use super::{make_admin, refuses_what_it_should, servers};
use crate::client::{CLIENT, WHOAMI};

#[tokio::test]
async fn administrators_lock_and_unlock() {
    for (mut server, admin) in servers().await {
        let mallory = server.register("mallory").await;
        let path = format!("/_matrix/client/v1/admin/lock/{}", mallory.id);
        assert_eq!(server.get(&path, &admin.token).await.ok(), &json!({ "locked": false }));
        let locked = json!({ "locked": true });
        assert_eq!(server.put(&path, &admin.token, locked.clone()).await.ok(), &locked);
        assert_eq!(server.get(&path, &admin.token).await.ok(), &locked);
        assert_eq!(server.get(WHOAMI, &mallory.token).await.refusal(), (401, "M_USER_LOCKED"));
        server.restart().await;
        assert_eq!(server.get(WHOAMI, &mallory.token).await.refusal(), (401, "M_USER_LOCKED"));
        server.put(&path, &admin.token, json!({ "locked": false })).await.ok();
        server.get(WHOAMI, &mallory.token).await.ok();
        refuses_what_it_should(&server, &admin, "lock", locked.clone()).await;

        // Not another administrator, and nobody whose account is closed.
        let other = server.register("other").await;
        make_admin(&mut server, &other).await;
        let path = format!("/_matrix/client/v1/admin/lock/{}", other.id);
        assert_eq!(server.get(&path, &admin.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.put(&path, &admin.token, locked).await.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn only_administrators_see_that_they_may_moderate() {
    for (server, admin) in servers().await {
        let alice = server.register("alice").await;
        let capabilities = async |token: &str| {
            let answer = server.get(&format!("{CLIENT}/capabilities"), token).await;
            answer.ok()["capabilities"].get("m.account_moderation").cloned()
        };
        assert_eq!(capabilities(&admin.token).await, Some(json!({ "suspend": true, "lock": true })));
        assert_eq!(capabilities(&alice.token).await, None);
    }
}
