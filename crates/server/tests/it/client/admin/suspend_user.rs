//! `GET` and `PUT /admin/suspend/{userId}`.

use serde_json::json;

use super::{refuses_what_it_should, servers};
use crate::client::{public_room, room_path};

#[tokio::test]
async fn administrators_suspend_and_end_that() {
    for (server, admin) in servers().await {
        let mallory = server.register("mallory").await;
        let room = public_room(&server, &mallory).await;
        let path = format!("/_matrix/client/v1/admin/suspend/{}", mallory.id);
        assert_eq!(server.get(&path, &admin.token).await.ok(), &json!({ "suspended": false }));
        let suspended = json!({ "suspended": true });
        assert_eq!(server.put(&path, &admin.token, suspended.clone()).await.ok(), &suspended);
        assert_eq!(server.get(&path, &admin.token).await.ok(), &suspended);
        let send = room_path(&room, "send/m.room.message/1");
        let text = json!({ "msgtype": "m.text", "body": "hello" });
        assert_eq!(server.put(&send, &mallory.token, text.clone()).await.refusal(), (403, "M_USER_SUSPENDED"));
        server.get(&room_path(&room, "state"), &mallory.token).await.ok();
        server.put(&path, &admin.token, json!({ "suspended": false })).await.ok();
        server.put(&send, &mallory.token, text).await.ok();
        refuses_what_it_should(&server, &admin, "suspend", suspended).await;
    }
}
