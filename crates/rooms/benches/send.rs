//! Sending messages inside the process: checked, built, signed and committed for real, on every database this machine
//! has. `cargo bench -p plexus-rooms`; figures, not a test.

#![expect(clippy::expect_used, reason = "a benchmark panics where it fails")]

use std::sync::Arc;

use plexus_base::{Background, Clock, Random};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    EventSender, NewEvent, NewRoom, Preset, RoomCreator, RoomWriter, RoomsOptions, Transaction, stripped,
};
use plexus_store::Database;

const EVENTS: usize = 4_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    for database in plexus_testkit::databases() {
        println!("{:?}", database.backend());
        runtime.block_on(measure(database.db()));
    }
}

async fn measure(db: Database) {
    let clock = Clock::system();
    let writer = RoomWriter::start(RoomsOptions {
        db,
        clock: clock.clone(),
        random: Random::system(),
        background: Background::default(),
        server_name: ServerName::try_from("localhost").expect("a server name"),
        signing_key: Arc::new(SigningKey::generate(&[7; 32], "bench")),
        policy_servers: None,
        own_policy: None,
        policy_hooks: None,
        remote_aliases: None,
        cache_bytes: 64 << 20,
        stripped_state_types: stripped::default_types().collect(),
        limits: plexus_rooms::MembershipLimits::none(&clock),
        sender_rules: plexus_rooms::SenderRules::default(),
        invite_filtering: false,
        forget_on_leave: false,
        sticky_events: true,
        expiring_messages: false,
        accepted_invites: None,
    });
    let (creator, sender) = (RoomCreator::new(Arc::clone(&writer)), Arc::new(EventSender::new(Arc::clone(&writer))));
    let begun = clock.monotonic();
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(creator.create(new_room()).await.expect("a room").id.clone());
    }
    println!("  create room, one after the other: {:.2} ms", millis(&clock, begun) / 100.0);
    for (senders, in_rooms) in [(1, 1), (10, 1), (10, 10), (100, 1), (100, 100)] {
        let begun = clock.monotonic();
        let mut tasks = Vec::new();
        for number in 0..senders {
            let (sender, id) = (Arc::clone(&sender), ids[number % in_rooms].clone());
            let round = format!("{senders}-{in_rooms}-{number}");
            let events = EVENTS / senders / if senders == 1 { 4 } else { 1 };
            tasks.push(tokio::spawn(async move {
                for event in 0..events {
                    sender.send(message(&id, &round, event)).await.expect("it is sent");
                }
                events
            }));
        }
        let mut sent = 0;
        for task in tasks {
            sent += task.await.expect("it ends");
        }
        let seconds = millis(&clock, begun) / 1_000.0;
        println!("  {senders} senders in {in_rooms} rooms: {:.0} a second", sent as f64 / seconds);
    }
}

fn millis(clock: &Clock, begun: std::time::Duration) -> f64 {
    (clock.monotonic() - begun).as_secs_f64() * 1_000.0
}

fn user() -> UserId {
    UserId::try_from("@alice:localhost").expect("a user id")
}

fn message(room: &RoomId, round: &str, number: usize) -> NewEvent {
    NewEvent {
        room_id: room.clone(),
        sender: user(),
        event_type: "m.room.message".into(),
        state_key: None,
        content: Object::from([("body", format!("Message {number} of {round}")), ("msgtype", "m.text".into())]),
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction: Some(Transaction { device_id: "DEVICE".into(), txn_id: format!("{round}-{number}").into() }),
    }
}

fn new_room() -> NewRoom {
    NewRoom {
        room_id: None,
        creator: user(),
        version: RoomVersion::V12,
        preset: Preset::PrivateChat,
        published: false,
        alias: None,
        name: Some("A room".into()),
        topic: None,
        creation_content: Object::new(),
        power_levels: Object::new(),
        initial_state: Vec::new(),
        invite: Vec::new(),
        is_direct: false,
        encrypted: false,
        invite_profiles: false,
        creator_profile: Object::new(),
        authority: plexus_rooms::Authority::User,
    }
}
