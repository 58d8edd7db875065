//! What server administrators do with accounts through their clients.

mod get_user_info;
mod lock_user;
mod suspend_user;

use plexus_store::repo::users;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

/// A server on each database, with an administrator.
async fn servers() -> Vec<(TestServer, TestUser)> {
    let mut servers = Vec::new();
    for mut server in TestServer::on_each().await {
        let admin = server.register("admin").await;
        make_admin(&mut server, &admin).await;
        servers.push((server, admin));
    }
    servers
}

/// Makes the user an administrator while the server is stopped.
pub(crate) async fn make_admin(server: &mut TestServer, user: &TestUser) {
    let (database, id) = (server.open_database().await, user.id.clone());
    database.write(move |tx| users::set_admin(tx, &id, true)).await.unwrap();
    database.close().await;
    server.restart().await;
}

/// The refusals that reading and changing have in common: `name` is `lock` or `suspend`.
async fn refuses_what_it_should(server: &TestServer, admin: &TestUser, name: &str, body: Value) {
    let path = |user: &str| format!("/_matrix/client/v1/admin/{name}/{user}");
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for (user, status, code) in [
        ("@nobody:test.example", 404, "M_NOT_FOUND"),
        ("@Alice:test.example", 404, "M_NOT_FOUND"),
        ("@bob:elsewhere.example", 400, "M_INVALID_PARAM"),
        ("bob", 400, "M_INVALID_PARAM"),
    ] {
        assert_eq!(server.get(&path(user), &admin.token).await.refusal(), (status, code), "{user}");
        assert_eq!(server.put(&path(user), &admin.token, body.clone()).await.refusal(), (status, code), "{user}");
    }
    // Whoever is no administrator does not learn who has an account.
    for user in [&bob.id, "@nobody:test.example", "@bob:elsewhere.example"] {
        assert_eq!(server.get(&path(user), &alice.token).await.refusal(), (403, "M_FORBIDDEN"), "{user}");
        assert_eq!(server.put(&path(user), &alice.token, body.clone()).await.refusal(), (403, "M_FORBIDDEN"), "{user}");
    }
    server.get(&path(&admin.id), &admin.token).await.ok();
    assert_eq!(server.put(&path(&admin.id), &admin.token, body.clone()).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.put(&path(&bob.id), &admin.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
    let wrong: serde_json::Map<_, _> =
        body.as_object().unwrap().keys().map(|key| (key.clone(), json!("yes"))).collect();
    assert_eq!(server.put(&path(&bob.id), &admin.token, wrong.into()).await.refusal(), (400, "M_BAD_JSON"));
}
