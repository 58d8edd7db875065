//! Actions in rooms, and requests about rooms.

use plexus_testkit::{TestPlace, places, unique_name};
use serde_json::{Value, json};

use super::{Member, both_ways, converse, pair, shared_room, text};

#[tokio::test(flavor = "multi_thread")]
async fn redactions() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        for (speaker, listener) in [(ann, ben), (ben, ann)] {
            let said = speaker.say(&room, "oh no").await;
            listener.hears(&room, &said).await;
            let redact = format!("v3/rooms/{room}/redact/{said}/{}", unique_name());
            let redaction = text(&speaker.put(&redact, json!({})).await.ok()["event_id"]);
            listener.hears(&room, &redaction).await;
            let event = listener.get(&format!("v3/rooms/{room}/event/{said}")).await;
            assert_eq!(event.ok()["content"], json!({}));
        }
    })
    .await;
}

/// What goes over to the new room, on the server that makes it and on the other one.
#[tokio::test(flavor = "multi_thread")]
async fn upgrades() {
    both_ways(async |ann, ben| {
        for version in ["11", "12"] {
            let room = room_to_upgrade(ann, ben).await;
            ann.sees_member(&room, ben, "join").await;
            let levels = ann.content(&room, "m.room.power_levels").await;
            for member in [ann, ben] {
                member.set_up(&room).await;
            }
            let upgrade = ann.post(&format!("v3/rooms/{room}/upgrade"), json!({ "new_version": version })).await;
            let new = text(&upgrade.ok()["replacement_room"]);
            let tombstone = ben.sees("a tombstone", &room, |event| event["type"] == "m.room.tombstone").await;
            assert_eq!(tombstone["content"]["replacement_room"], new);
            ben.join(&new, ann).await;
            converse(&new, ann, ben).await;

            let predecessor = ann.content(&new, "m.room.create").await["predecessor"].clone();
            let event_id = (version != "12").then_some(&tombstone["event_id"]);
            assert_eq!((&predecessor["room_id"], predecessor.get("event_id")), (&json!(room), event_id));
            let mut expected = levels;
            if version == "12" {
                expected["users"].as_object_mut().expect("an object").remove(ann.id());
            }
            assert_eq!(ann.content(&new, "m.room.power_levels").await, expected);
            let [of_ann, of_ben] = [ann, ben].map(|member| member.alias(&room));
            let moved = ann.content(&new, "m.room.canonical_alias").await;
            assert_eq!(moved["alias"], of_ann);
            assert!(moved["alt_aliases"].as_array().is_none_or(Vec::is_empty), "{moved}");
            let stays = ann.content(&room, "m.room.canonical_alias").await;
            assert_eq!(stays, json!({ "alt_aliases": [of_ben] }), "ben's server had not moved its alias then");
            for member in [ann, ben] {
                member.has_set_up(&room, &new).await;
            }
        }
    })
    .await;
}

/// Synapse's public rooms say nothing of guests. Such a room, made private, is not open to guests when it has been
/// upgraded.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_does_not_let_guests_in() {
    for place in places() {
        let Some((_plexus, [paul, sara])) = pair(place).await else { return };
        let levels = json!({ "users": { sara.id(): 100, paul.id(): 100 } });
        let options = json!({ "room_version": "10", "preset": "public_chat", "power_level_content_override": levels });
        let room = sara.create_room(options).await;
        paul.join(&room, &sara).await;
        let private = sara.set_state(&room, "m.room.join_rules/", json!({ "join_rule": "invite" })).await;
        paul.hears(&room, &private).await;
        let guests = paul.get(&format!("v3/rooms/{room}/state/m.room.guest_access/")).await;
        assert_eq!(guests.refusal(), (404, "M_NOT_FOUND"));
        let upgrade = paul.post(&format!("v3/rooms/{room}/upgrade"), json!({ "new_version": "12" })).await;
        let new = text(&upgrade.ok()["replacement_room"]);
        assert_eq!(paul.content(&new, "m.room.guest_access").await, json!({ "guest_access": "forbidden" }));
        assert_eq!(paul.content(&new, "m.room.join_rules").await, json!({ "join_rule": "invite" }));
    }
}

/// A room of Ann's that Ben is in, with an alias and a place in the directory on either server.
async fn room_to_upgrade(ann: &Member, ben: &Member) -> String {
    let levels = json!({ "users": { ann.id(): 100, ben.id(): 100 }, "events": { "m.room.name": 60 }, "kick": 55 });
    let options = json!({ "room_version": "10", "preset": "public_chat", "power_level_content_override": levels });
    let room = ann.create_room(options).await;
    ben.join(&room, ann).await;
    for member in [ann, ben] {
        let alias = format!("v3/directory/room/{}", member.alias(&room).replace('#', "%23"));
        member.put(&alias, json!({ "room_id": room })).await.ok();
        let listed = format!("v3/directory/list/room/{room}");
        member.put(&listed, json!({ "visibility": "public" })).await.ok();
    }
    let canonical = json!({ "alias": ann.alias(&room), "alt_aliases": [ben.alias(&room)] });
    // Plexus takes no alias of another server that is not there yet.
    let path = format!("v3/rooms/{room}/state/m.room.canonical_alias/");
    if ann.put(&path, canonical.clone()).await.status != 200 {
        let set = ben.set_state(&room, "m.room.canonical_alias/", canonical).await;
        ann.hears(&room, &set).await;
    }
    room
}

impl Member {
    /// An alias for the room on the member's server.
    fn alias(&self, room: &str) -> String {
        let local: String = room.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        format!("#{local}-{}:{}", self.user.id.len(), self.server)
    }

    async fn content(&self, room: &str, event_type: &str) -> Value {
        self.get(&format!("v3/rooms/{room}/state/{event_type}/")).await.ok().clone()
    }

    /// Tags and mutes the room, which is a direct one.
    async fn set_up(&self, room: &str) {
        let user = format!("v3/user/{}", self.id());
        self.put(&format!("{user}/rooms/{room}/tags/m.favourite"), json!({ "order": 0.25 })).await.ok();
        self.put(&format!("{user}/account_data/m.direct"), json!({ "@dan:d.example": [room] })).await.ok();
        self.put(&format!("v3/pushrules/global/room/{room}"), json!({ "actions": [] })).await.ok();
    }

    /// What [`Self::set_up`] did for the old room holds for the new one; of this server the alias and the place in the
    /// directory are the new one's.
    async fn has_set_up(&self, old: &str, new: &str) {
        let user = format!("v3/user/{}", self.id());
        let tags = self.get(&format!("{user}/rooms/{new}/tags")).await;
        assert_eq!(tags.ok()["tags"], json!({ "m.favourite": { "order": 0.25 } }), "{}", self.id());
        let direct = self.get(&format!("{user}/account_data/m.direct")).await;
        assert_eq!(direct.ok()["@dan:d.example"], json!([old, new]), "{}", self.id());
        let rule = self.get(&format!("v3/pushrules/global/room/{new}")).await;
        assert_eq!((&rule.ok()["actions"], &rule.body["enabled"]), (&json!([]), &json!(true)));
        let alias = self.get(&format!("v3/directory/room/{}", self.alias(old).replace('#', "%23"))).await;
        assert_eq!(alias.ok()["room_id"], new, "{}", self.id());
        for (room, visibility) in [(old, "private"), (new, "public")] {
            let listed = self.get(&format!("v3/directory/list/room/{room}")).await;
            assert_eq!(listed.ok()["visibility"], visibility, "{}", self.id());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases() {
    both_ways(async |ann, ben| {
        let name = format!("room-{}", unique_name());
        let room = ann.create_room(json!({ "preset": "public_chat", "room_alias_name": name })).await;
        let alias = format!("%23{name}:{}", ann.server);
        let found = ben.get(&format!("v3/directory/room/{alias}")).await;
        assert_eq!(found.ok()["room_id"], room);
        assert_eq!(ben.post(&format!("v3/join/{alias}"), json!({})).await.ok()["room_id"], room);
        converse(&room, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_rooms() {
    both_ways(async |ann, ben| {
        let name = format!("room {}", unique_name());
        let room = ann.create_room(json!({ "preset": "public_chat", "visibility": "public", "name": name })).await;
        let search = json!({ "filter": { "generic_search_term": name } });
        let found = ben.post(&format!("v3/publicRooms?server={}", ann.server), search).await;
        let chunk = found.ok()["chunk"].as_array().cloned().unwrap_or_default();
        assert_eq!(chunk.iter().map(|room| text(&room["room_id"])).collect::<Vec<_>>(), [room]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles() {
    both_ways(async |ann, ben| {
        let name = json!({ "displayname": "Dr. Ann" });
        ann.put(&format!("v3/profile/{}/displayname", ann.id()), name.clone()).await.ok();
        let found = ben.get(&format!("v3/profile/{}", ann.id())).await;
        assert_eq!(found.ok()["displayname"], "Dr. Ann");
        let nobody = ben.get(&format!("v3/profile/@nobody:{}", ann.server)).await;
        assert_eq!(nobody.refusal(), (404, "M_NOT_FOUND"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_of_plexus() {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    let child = paul.create_room(json!({ "preset": "public_chat", "name": "the child" })).await;
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = paul.create_room(space).await;
    paul.set_state(&space, &format!("m.space.child/{child}"), json!({ "via": [paul.server] })).await;
    sara.join(&space, &paul).await;
    let found = sara.get(&format!("v1/rooms/{space}/hierarchy")).await;
    let rooms = found.ok()["rooms"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = rooms.iter().map(|room| &room["room_id"]).collect();
    assert_eq!(names, [&space, &child]);
    assert_eq!(rooms[1]["name"], "the child");
}
