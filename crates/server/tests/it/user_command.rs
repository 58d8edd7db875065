//! `plexus user`, while the server runs and while it is stopped, on each database.

use std::process::Output;

use plexus_testkit::{Client, TestPlace, TestUser, places};
use serde_json::{Value, json};

use crate::binary::{Installation, plexus, stderr, stdout};

const SETTINGS: &str = "
enable_registration: true
enable_registration_without_verification: true
rc_registration: &many {per_second: 1000, burst_count: 1000}
rc_login: {address: *many, account: *many, failed_attempts: *many}
";

/// A server on a database, which is removed after it.
struct House {
    installation: Installation,
    client: Client,
    _place: TestPlace,
}

impl House {
    fn new(place: TestPlace) -> Self {
        let installation = Installation::on(&place);
        installation.add(SETTINGS);
        let client = Client::new(format!("http://127.0.0.1:{}", installation.port));
        Self { installation, client, _place: place }
    }

    /// `plexus user COMMAND ... -c homeserver.yaml`
    fn user(&self, arguments: &[&str]) -> Output {
        plexus().arg("user").args(arguments).arg("-c").arg(self.installation.yaml()).output().unwrap()
    }

    /// What a command prints that succeeds.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.user(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.user(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stdout(&output));
        stderr(&output)
    }

    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let list = self.json(arguments);
        let users = list["users"].as_array().unwrap();
        users.iter().map(|user| user["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn whoami(&self, user: &TestUser) -> (u16, Value) {
        let answer = self.client.get("/_matrix/client/v3/account/whoami", &user.token).await;
        (answer.status, answer.body["errcode"].clone())
    }

    async fn log_in(&self, name: &str, password: &str) -> Result<TestUser, u16> {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": password,
        });
        let answer = self.client.request(http::Method::POST, "/_matrix/client/v3/login", None, Some(body)).await;
        if answer.status != 200 {
            return Err(answer.status);
        }
        let field = |field: &str| answer.body[field].as_str().unwrap_or_default().to_owned();
        Ok(TestUser { id: field("user_id"), token: field("access_token"), device_id: field("device_id") })
    }

    /// A public room of the first of these users that the others join.
    async fn room(&self, users: &[&TestUser]) -> String {
        let body = json!({ "preset": "public_chat" });
        let made = self.client.post("/_matrix/client/v3/createRoom", &users[0].token, body).await;
        let room = made.ok()["room_id"].as_str().unwrap_or_default().to_owned();
        for user in &users[1..] {
            self.client.post(&format!("/_matrix/client/v3/join/{room}"), &user.token, json!({})).await.ok();
        }
        room
    }

    /// Waits until `watcher` sees that a user has left the room.
    async fn sees_leave(&self, watcher: &TestUser, room: &str, user: &str) {
        let mut since = String::new();
        loop {
            let url = format!("/_matrix/client/v3/sync?timeout=30000{since}");
            let answer = self.client.get(&url, &watcher.token).await;
            let state = format!("/_matrix/client/v3/rooms/{room}/state/m.room.member/{user}");
            if self.client.get(&state, &watcher.token).await.ok()["membership"] == "leave" {
                return;
            }
            since = format!("&since={}", answer.ok()["next_batch"].as_str().unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn users_of_a_running_server() {
    for place in places() {
        let house = House::new(place);
        let server = house.installation.start();
        let (alice, bob) = (house.client.register("alice").await, house.client.register("bob").await);
        let room = house.room(&[&alice, &bob]).await;
        assert_eq!(house.names(&["list"]), ["@alice:it.example", "@bob:it.example"]);

        assert_eq!(house.said(&["lock", "bob"]), "@bob:it.example is locked.\n");
        assert_eq!(house.whoami(&bob).await, (401, json!("M_USER_LOCKED")));
        let again = house.said(&["lock", "@bob:it.example"]);
        assert_eq!(again, "@bob:it.example is locked. Nothing had to be changed.\n");
        assert!(house.said(&["list"]).contains("@bob:it.example  locked\n"));
        assert_eq!(house.json(&["unlock", "BOB"]), json!({ "name": "@bob:it.example", "changed": true }));
        assert_eq!(house.whoami(&bob).await, (200, Value::Null));

        house.said(&["admin", "bob", "on"]);
        let shown = house.json(&["show", "bob"]);
        assert_eq!((&shown["admin"], &shown["locked"]), (&json!(true), &json!(false)));
        assert_eq!(shown["devices"][0]["device_id"], bob.device_id);
        assert!(house.said(&["show", "bob"]).starts_with("@bob:it.example (administrator)\n"));
        house.said(&["admin", "bob", "off"]);
        assert_eq!(house.json(&["show", "bob"])["admin"], false);

        house.said(&["password", "bob", "-p", "second", "--keep-sessions"]);
        assert_eq!(house.whoami(&bob).await.0, 200);
        let bob_again = house.log_in("bob", "second").await.unwrap();
        assert!(house.refused(&["password", "bob", "-p", ""]).contains("the password is empty"));
        assert!(house.refused(&["password", "bob", "--password-file", "/dev/null"]).contains("/dev/null is empty"));
        house.said(&["password", "bob", "-p", "third"]);
        for session in [&bob, &bob_again] {
            assert_eq!(house.whoami(session).await, (401, json!("M_UNKNOWN_TOKEN")));
        }
        assert_eq!(house.log_in("bob", "second").await.err(), Some(403));
        let bob = house.log_in("bob", "third").await.unwrap();

        assert!(house.refused(&["deactivate", "bob"]).contains("add --yes"));
        assert_eq!(house.whoami(&bob).await.0, 200);
        let closed = house.json(&["deactivate", "bob", "--yes"]);
        assert_eq!(closed, json!({ "name": "@bob:it.example", "deactivated": true, "leaving_rooms": "now" }));
        assert_eq!(house.whoami(&bob).await.0, 401);
        house.sees_leave(&alice, &room, "@bob:it.example").await;
        assert_eq!(house.names(&["list"]), ["@alice:it.example"]);
        assert_eq!(house.names(&["list", "--all"]), ["@alice:it.example", "@bob:it.example"]);
        assert!(house.refused(&["lock", "bob"]).contains("is deactivated"));
        assert!(house.refused(&["lock", "carol"]).contains("there is no user @carol:it.example"));
        assert!(house.refused(&["lock", "@carol:other.example"]).contains("another server"));

        // Nobody but the server writes to the database while it runs.
        std::fs::remove_file(house.installation.folder.join("media_store/control.sock")).unwrap();
        let said = house.refused(&["list"]);
        assert!(said.contains("a server is using the database, but does not listen"), "{said}");
        server.stop();
    }
}

#[tokio::test]
async fn users_of_a_stopped_server() {
    for place in places() {
        let house = House::new(place);
        let server = house.installation.start();
        let (alice, bob) = (house.client.register("alice").await, house.client.register("bob").await);
        let room = house.room(&[&alice, &bob]).await;
        server.stop();

        assert_eq!(house.names(&["list"]), ["@alice:it.example", "@bob:it.example"]);
        house.said(&["password", "alice", "-p", "second", "--keep-sessions"]);
        house.said(&["lock", "alice"]);
        let said = house.said(&["deactivate", "bob", "--yes"]);
        assert!(said.contains("when it starts, the user leaves all rooms"), "{said}");

        let server = house.installation.start();
        assert_eq!(house.whoami(&alice).await, (401, json!("M_USER_LOCKED")));
        house.said(&["unlock", "alice"]);
        assert_eq!(house.whoami(&alice).await.0, 200);
        assert!(house.log_in("alice", "second").await.is_ok());
        assert_eq!(house.whoami(&bob).await.0, 401);
        house.sees_leave(&alice, &room, "@bob:it.example").await;
        server.stop();
    }
}

#[test]
fn a_server_that_never_ran_has_no_users() {
    let installation = Installation::new();
    let output = plexus().args(["user", "list", "-c"]).arg(installation.yaml()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("homeserver.db: there is no data yet"), "{}", stderr(&output));
    assert!(!installation.folder.join("homeserver.db").exists());
}
