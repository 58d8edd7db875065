//! What concerns devices, encryption and presence.

use std::sync::Arc;

use plexus_store::repo::one_time_keys::Key;
use plexus_store::{Change, DbError, repo};
use plexus_sync::ephemeral::EphemeralSerial;
use plexus_sync::to_device::NewMessages;
use plexus_sync::{Presence, PresenceSettings, PresenceState};
use serde_json::{Value, json};

use crate::support::*;

fn messages(txn_id: &str, to: Value) -> NewMessages {
    NewMessages {
        sender: user(ALICE),
        device: Some(DEVICE.to_owned()),
        txn_id: txn_id.to_owned(),
        event_type: "m.test".to_owned(),
        messages: serde_json::from_value(to).expect("messages"),
    }
}

fn contents(answer: &Value) -> Vec<&Value> {
    events(&answer["to_device"]).iter().map(|event| &event["content"]["n"]).collect()
}

#[test]
fn messages_wait_until_they_are_acknowledged() {
    run(async |db| {
        let server = Server::new(db.clone());
        server.device(BOB, DEVICE).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.to_device.send(messages("1", json!({BOB: {DEVICE: {"n": 1}}}))).await.expect("sent");
        server.to_device.send(messages("1", json!({BOB: {DEVICE: {"n": 1}}}))).await.expect("sent again");
        assert_eq!(contents(&bob.answer(std::time::Duration::ZERO).await), [1]);
        let answer = bob.sync().await;
        assert_eq!(events(&answer["to_device"]), [json!({"type": "m.test", "sender": ALICE, "content": {"n": 1}})]);
        let span = || async {
            db.read(|tx| repo::to_device::span(tx, BOB, DEVICE)).await.map_err(|error: DbError| error).expect("read")
        };
        assert!(span().await.is_some(), "the answer may have been lost");
        assert!(bob.sync().await["to_device"].is_null());
        assert_eq!(span().await, None);
    });
}

#[test]
fn many_messages_come_in_portions() {
    run(async |db| {
        let server = Server::new(db);
        server.device(BOB, DEVICE).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        for number in 0..150 {
            let message = messages(&number.to_string(), json!({BOB: {DEVICE: {"n": number}}}));
            server.to_device.send(message).await.expect("sent");
        }
        assert_eq!(contents(&bob.sync().await).len(), 100);
        let rest = bob.sync().await;
        assert_eq!(contents(&rest).first(), Some(&&json!(100)));
        assert_eq!(contents(&rest).len(), 50);
        assert!(bob.sync().await["to_device"].is_null());
    });
}

#[test]
fn a_star_is_every_device_and_messages_survive_a_restart() {
    run(async |db| {
        let server = Server::new(db);
        server.device(BOB, DEVICE).await;
        server.device(BOB, "OTHER").await;
        let to = json!({BOB: {"*": {"n": 1}, "OTHER": {"n": 2}, "GONE": {"n": 3}}, "@x:elsewhere": {"*": {"n": 4}}});
        server.to_device.send(messages("1", to)).await.expect("sent");
        let server = server.restarted();
        assert_eq!(contents(&server.client(BOB).sync().await), [1]);
        assert_eq!(contents(&server.client(BOB).device("OTHER").sync().await), [2]);
        assert!(server.client(BOB).device("GONE").sync().await["to_device"].is_null());
    });
}

#[test]
fn device_lists_follow_shared_rooms() {
    run(async |db| {
        let server = Server::new(db.clone());
        let (plain, encrypted) = (server.room(ALICE).await, server.encrypted_room(ALICE).await);
        let mut alice = server.client(ALICE);
        alice.sync().await;
        let lists = |answer: &Value| answer["device_lists"].clone();
        let changed = |users: &[&str]| json!({"changed": users, "left": []});
        let device_changes = |who: &'static str, private: bool| {
            let db = db.clone();
            async move {
                db.write(move |tx| {
                    let who = user(who);
                    if !private {
                        repo::device_lists::record(tx, &who, DEVICE)
                    } else {
                        repo::device_lists::record_signature(tx, &who, &who)
                    }
                })
                .await
                .expect("written");
            }
        };
        device_changes(BOB, false).await;
        assert_eq!(lists(&alice.sync().await), Value::Null, "no room is shared");
        server.join(&plain, BOB).await;
        assert_eq!(lists(&alice.sync().await), changed(&[BOB]));
        device_changes(BOB, false).await;
        assert_eq!(lists(&alice.sync().await), changed(&[BOB]));
        device_changes(BOB, true).await;
        assert_eq!(lists(&alice.sync().await), Value::Null, "only Bob sees it");
        device_changes(ALICE, false).await;
        assert_eq!(lists(&alice.sync().await), changed(&[ALICE]));
        device_changes(ALICE, true).await;
        assert_eq!(lists(&alice.sync().await), changed(&[ALICE]));
        server.join(&encrypted, BOB).await;
        assert_eq!(lists(&alice.sync().await), changed(&[BOB]));
        server.leave(&encrypted, BOB).await;
        assert_eq!(lists(&alice.sync().await), Value::Null, "another room is shared");
        server.leave(&plain, BOB).await;
        assert_eq!(lists(&alice.sync().await), json!({"changed": [], "left": [BOB]}));
        device_changes(BOB, false).await;
        assert_eq!(lists(&alice.sync().await), Value::Null);

        // The token is from before the restart: the database knows.
        server.join(&plain, BOB).await;
        alice.sync().await;
        device_changes(BOB, false).await;
        let since = alice.since.clone();
        let server = server.restarted();
        let mut alice = server.client(ALICE);
        alice.since = since;
        assert_eq!(lists(&alice.sync().await), changed(&[BOB]));
    });
}

#[test]
fn a_return_between_two_syncs_names_everybodys_devices() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let (mut alice, mut bob) = (server.client(ALICE), server.client(BOB));
        alice.sync().await;
        bob.sync().await;
        server.leave(&room, BOB).await;
        server.join(&room, BOB).await;
        assert_eq!(bob.sync().await["device_lists"], json!({"changed": [ALICE, BOB, CAROL], "left": []}));
        assert_eq!(alice.sync().await["device_lists"], json!({"changed": [BOB], "left": []}));
        // When a room is left, the users who share no other room are gone too.
        server.leave(&room, BOB).await;
        assert_eq!(bob.sync().await["device_lists"], json!({"changed": [], "left": [ALICE, CAROL]}));
    });
}

#[test]
fn invited_users_devices_are_announced() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        let mut alice = server.client(ALICE);
        alice.sync().await;
        server.invite(&room, ALICE, BOB).await;
        assert_eq!(alice.sync().await["device_lists"], json!({"changed": [BOB], "left": []}));
        // Bob was never in the room.
        server.leave(&room, BOB).await;
        assert_eq!(alice.sync().await["device_lists"], Value::Null);
    });
}

#[test]
fn key_counts_are_sent_and_follow_uploads() {
    run(async |db| {
        let server = Server::new(db.clone());
        server.device(BOB, DEVICE).await;
        let mut bob = server.client(BOB);
        let answer = bob.sync().await;
        assert_eq!(answer["device_one_time_keys_count"], json!({"signed_curve25519": 0}));
        assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
        db.write(|tx| {
            let key = Key { algorithm: "signed_curve25519".into(), key_id: "A".into(), key_json: "{}".into() };
            repo::one_time_keys::insert(tx, (BOB, DEVICE), 0, std::slice::from_ref(&key))?;
            repo::one_time_keys::set_fallback(tx, BOB, DEVICE, &key)?;
            let position = tx.next_position()?;
            tx.announce(Change::OneTimeKeys { user: user(BOB), device: DEVICE.into(), position });
            Ok::<_, DbError>(())
        })
        .await
        .expect("written");
        let answer = bob.sync().await;
        assert_eq!(answer["device_one_time_keys_count"], json!({"signed_curve25519": 1}));
        assert_eq!(answer["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    });
}

#[test]
fn presence_is_sent_to_users_who_share_a_room() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.join(&room, BOB).await;
        let (mut bob, mut carol) = (server.client(BOB), server.client(CAROL));
        bob.sync().await;
        carol.sync().await;
        server.presence.set(&user(ALICE), PresenceState::Unavailable, Some("away".into())).unwrap();
        let answer = bob.sync().await;
        let expected = json!([{
            "type": "m.presence",
            "sender": ALICE,
            "content": {"presence": "unavailable", "status_msg": "away", "currently_active": false},
        }]);
        assert_eq!(answer["presence"]["events"], expected);
        assert!(bob.sync().await["presence"].is_null());
        assert!(carol.sync().await["presence"].is_null());
        assert_eq!(server.client(BOB).sync().await["presence"]["events"], expected);
        server.join(&room, CAROL).await;
        assert_eq!(carol.sync().await["presence"]["events"], expected);
    });
}

#[test]
fn a_user_is_online_while_a_device_syncs() {
    run(async |db| {
        let server = Server::new(db.clone());
        let syncing = server.presence.sync_started(&user(ALICE), DEVICE, PresenceState::Online);
        assert!(syncing.is_some());
        assert_eq!(server.presence.get(&user(ALICE)).await.unwrap().state, PresenceState::Online);
        assert!(server.presence.sync_started(&user(BOB), DEVICE, PresenceState::Offline).is_none());
        for settings in [
            PresenceSettings { enabled: false, ..PresenceSettings::default() },
            PresenceSettings { untracked: true, ..PresenceSettings::default() },
        ] {
            let serial = Arc::new(EphemeralSerial::new(server.clock.now_ms()));
            let notifier = Arc::clone(&server.notifier);
            let presence = Presence::new(settings, server.clock.clone(), db.clone(), serial, notifier);
            assert!(Arc::new(presence).sync_started(&user(BOB), DEVICE, PresenceState::Online).is_none());
        }
    });
}

#[test]
fn members_of_a_room_that_becomes_encrypted_are_of_interest() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        assert!(bob.sync().await["device_lists"].is_null());
        server.set(&room, ALICE, "m.room.encryption", json!({"algorithm": "m.megolm.v1.aes-sha2"})).await;
        assert_eq!(bob.sync().await["device_lists"]["changed"], json!([ALICE, CAROL]));
    });
}
