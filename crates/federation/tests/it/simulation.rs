//! Several servers' room engines over a network that delays, reorders, repeats, loses (and sends again) and cuts. What
//! they do is drawn from a seed. Once everything has been delivered, all of them must have the same events and the same
//! state.
//!
//! `PLEXUS_SEEDS=5000 PLEXUS_FIRST_SEED=1 cargo test -p plexus-federation simulation` runs others.

pub mod network;
pub mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_base::{Clock, Random};
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::timeline::{self, Direction};
use plexus_rooms::{Preset, Room};
use plexus_store::{event_key, repo};
use plexus_testkit::TestPlace;

use crate::fixture::new_room;
use crate::found_by_time::assert_found_by_time;
use network::{Network, Server};

/// How many seeds run without being asked for.
const SEEDS: u64 = 150;
const SERVERS: usize = 3;
const USERS: usize = 2;
const STEPS: u64 = 25;
/// How often everybody says something at the end, so that everybody learns what was lost.
const LAST_WORDS: usize = 3;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test]
async fn servers_agree_at_last() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(SERVERS, &clock);
    let first = number("PLEXUS_FIRST_SEED", 0);
    for seed in first..first + number("PLEXUS_SEEDS", SEEDS) {
        let simulation = Simulation::begin(&network, &clock, seed).await;
        simulation.run().await;
        simulation.settle().await;
        simulation.compare().await;
    }
}

/// How many seeds run with engines that follow, on each kind of database.
const FOLLOWED_SEEDS: u64 = 15;

#[tokio::test]
async fn engines_that_follow_the_log_see_what_the_writers_see() {
    let clock = Clock::manual(1_700_000_000_000);
    let postgres = || (0..SERVERS).map(|_| TestPlace::postgres()).collect();
    let sqlite = Some((0..SERVERS).map(|_| TestPlace::sqlite()).collect());
    let first = number("PLEXUS_FIRST_SEED", 0);
    for places in [sqlite, postgres()].into_iter().flatten() {
        let network = Network::of(places, &clock);
        for seed in first..first + number("PLEXUS_FOLLOWED_SEEDS", FOLLOWED_SEEDS) {
            eprintln!("seed {seed}");
            let simulation = Simulation { is_followed: true, ..Simulation::begin(&network, &clock, seed).await };
            network.assert_followed(&simulation.room).await;
            simulation.run().await;
            network.assert_followed(&simulation.room).await;
            simulation.settle().await;
            network.assert_followed(&simulation.room).await;
        }
    }
}

#[tokio::test]
async fn a_redaction_may_come_before_its_target() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(2, &clock);
    let [here, there] = network.servers() else { panic!("there are two") };
    let (alice, bob) = (here.user(0), there.user(0));
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    there.join(&room.id, &bob, here).await.unwrap();
    network.deliver_all(&room.id).await;
    here.change_levels(&room, &alice, &bob, 50).await.unwrap();
    network.deliver_all(&room.id).await;

    // Bob hears of what Alice says before his server does.
    here.say(&room, &alice, "regretted").await.unwrap();
    let regretted = room.view().recent.last().unwrap().pdu.event_id().clone();
    let bobs = there.rooms.get(&room.id).await.unwrap().unwrap();
    there.redact(&bobs, &bob, &regretted).await.unwrap();
    network.assert_followed(&room.id).await;
    network.deliver_all(&room.id).await;
    network.assert_followed(&room.id).await;

    for room in [&room, &bobs] {
        let event = timeline::event(room, &regretted).await.unwrap().unwrap();
        assert!(event.redacted_because.is_some());
        assert!(!event.pdu.json().contains("regretted"), "{:?}", event.pdu);
    }
}

#[tokio::test]
async fn what_follows_a_hidden_event_in_the_same_transaction_has_its_place() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(2, &clock);
    let [here, there] = network.servers() else { panic!("there are two") };
    let (alice, bob, carol) = (here.user(0), there.user(0), there.user(1));
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    there.join(&room.id, &bob, here).await.unwrap();
    let theirs = there.rooms.get(&room.id).await.unwrap().unwrap();
    there.join_here(&theirs, &carol).await.unwrap();
    network.deliver_all(&room.id).await;

    // Bob's server does not know yet that he is banned.
    here.ban(&room, &alice, &bob).await.unwrap();
    for (speaker, text) in [(&bob, "one"), (&carol, "two"), (&bob, "three"), (&carol, "four")] {
        there.say(&theirs, speaker, text).await.unwrap();
    }
    network.assert_followed(&room.id).await;
    network.deliver_all(&room.id).await;
    network.assert_followed(&room.id).await;

    let shown = |room: &Room| {
        let recent = room.view().recent.clone();
        let bodies = recent.iter().filter_map(|event| Some(event.pdu.content().get_str("body")?.to_owned()));
        bodies.collect::<Vec<_>>()
    };
    assert_eq!(shown(&room), ["two", "four"]);
    assert_eq!(shown(&theirs), ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn history_from_before_a_join_is_seen_by_users_who_may_see_it() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(2, &clock);
    let [here, there] = network.servers() else { panic!("there are two") };
    let (alice, bob) = (here.user(0), there.user(0));
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    let visibility = async |value: &str| {
        let content = format!(r#"{{"history_visibility":"{value}"}}"#);
        here.set(&room, &alice, "m.room.history_visibility", "", &content).await.unwrap();
    };
    here.say(&room, &alice, "for everybody").await.unwrap();
    visibility("joined").await;
    here.say(&room, &alice, "for members").await.unwrap();
    visibility("shared").await;
    here.say(&room, &alice, "for everybody again").await.unwrap();
    there.join(&room.id, &bob, here).await.unwrap();

    let bobs = there.rooms.get(&room.id).await.unwrap().unwrap();
    while there.page_back(&bobs).await {
        network.assert_followed(&room.id).await;
    }
    assert_found_by_time(&bobs, &there.db, 1).await;
    let all = timeline::range(&bobs, i64::MIN, i64::MAX, 1_000, Direction::Forward).await.unwrap();
    let count = all.iter().filter(|event| event.pdu.event_type() == "m.room.message").count();
    assert_eq!(count, 3, "what is not seen is there nevertheless");
    let seen = timeline::visible(&UserId::try_from(bob.as_str()).unwrap(), &bobs, all).await.unwrap();
    let texts: Vec<&str> = seen.iter().filter_map(|seen| seen.event.pdu.content().get_str("body")).collect();
    assert_eq!(texts, ["for everybody", "for everybody again"]);
    let messages = seen.iter().filter(|seen| seen.event.pdu.event_type() == "m.room.message");
    assert_eq!(messages.count(), 2);
}

#[tokio::test]
async fn history_from_an_absence_is_seen_by_users_who_may_see_it() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(2, &clock);
    let [here, there] = network.servers() else { panic!("there are two") };
    let (alice, bob) = (here.user(0), there.user(0));
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    let visibility = async |value: &str| {
        let content = format!(r#"{{"history_visibility":"{value}"}}"#);
        here.set(&room, &alice, "m.room.history_visibility", "", &content).await.unwrap();
    };
    there.join(&room.id, &bob, here).await.unwrap();
    network.deliver_all(&room.id).await;
    here.say(&room, &alice, "before").await.unwrap();
    network.deliver_all(&room.id).await;
    let bobs = there.rooms.get(&room.id).await.unwrap().unwrap();
    there.leave(&bobs, &bob).await.unwrap();
    network.deliver_all(&room.id).await;

    here.say(&room, &alice, "for everybody").await.unwrap();
    visibility("joined").await;
    here.set(&room, &alice, "m.room.topic", "", r#"{"topic":"old"}"#).await.unwrap();
    here.say(&room, &alice, "for members").await.unwrap();
    visibility("shared").await;
    here.say(&room, &alice, "for everybody again").await.unwrap();
    here.set(&room, &alice, "m.room.topic", "", r#"{"topic":"new"}"#).await.unwrap();
    // Nobody sends this to a server that is not in the room.
    network.collect(&room.id).await;
    network.begin();
    there.join(&room.id, &bob, here).await.unwrap();
    network.deliver_all(&room.id).await;
    here.say(&room, &alice, "after").await.unwrap();
    network.deliver_all(&room.id).await;

    let texts = async || {
        let all = timeline::range(&bobs, i64::MIN, i64::MAX, 1_000, Direction::Forward).await.unwrap();
        let texts = all.iter().filter_map(|event| Some(event.pdu.content().get_str("body")?.to_owned()));
        (texts.collect::<Vec<_>>(), all)
    };
    assert_eq!(texts().await.0, ["before", "after"]);
    network.assert_followed(&room.id).await;
    while there.fill_gap(&bobs).await {
        network.assert_followed(&room.id).await;
    }
    network.assert_followed(&room.id).await;
    assert!(bobs.view().gaps.first_open(i64::MIN, i64::MAX, Direction::Backward).is_none());
    assert_found_by_time(&bobs, &there.db, 1).await;
    let (found, all) = texts().await;
    // What was for members only is there without its content.
    assert_eq!(found, ["before", "for everybody", "for everybody again", "after"]);
    let count = all.iter().filter(|event| event.pdu.event_type() == "m.room.message").count();
    assert_eq!(count, 5);
    let seen = timeline::visible(&UserId::try_from(bob.as_str()).unwrap(), &bobs, all).await.unwrap();
    let messages = seen.iter().filter(|seen| seen.event.pdu.event_type() == "m.room.message");
    let seen: Vec<_> = messages.map(|seen| seen.event.pdu.content().get_str("body")).collect();
    assert_eq!(seen, ["before", "for everybody", "for everybody again", "after"].map(Some));
    let topic = timeline::state_event_at(&bobs, i64::MAX, "m.room.topic", "").await.unwrap().unwrap();
    assert_eq!(topic.pdu.content().get_str("topic"), Some("new"));
}

struct Simulation<'a> {
    network: &'a Arc<Network>,
    clock: &'a Clock,
    seed: u64,
    random: Random,
    room: RoomId,
    /// When everybody was in the room.
    since_ms: u64,
    /// Whether engines that follow are compared with the writers, now and then.
    is_followed: bool,
}

impl<'a> Simulation<'a> {
    /// A room that the first user of each server is in.
    async fn begin(network: &'a Arc<Network>, clock: &'a Clock, seed: u64) -> Self {
        let random = Random::seeded(seed);
        network.begin();
        let versions = RoomVersion::ALL;
        let version = versions[random.below(versions.len() as u64) as usize];
        let creator = &network.servers()[0];
        let new = new_room(&creator.user(0), version, Preset::PublicChat);
        let room = creator.creator.create(new).await.unwrap();
        let mut simulation =
            Self { network, clock, seed, random, room: room.id.clone(), since_ms: 0, is_followed: false };
        for server in &network.servers()[1..] {
            clock.advance(std::time::Duration::from_secs(1));
            server
                .join(&room.id, &server.user(0), creator)
                .await
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            network.deliver_all(&room.id).await;
        }
        simulation.since_ms = clock.now_ms();
        simulation
    }

    async fn run(&self) {
        for _ in 0..STEPS {
            self.clock.advance(std::time::Duration::from_secs(1));
            match self.random.below(10) {
                0 => self.network.cut(&self.random),
                1 => self.network.heal(),
                2..5 => self.network.deliver_some(&self.random, &self.room).await,
                _ => self.act(&self.network.servers()[self.random.below(SERVERS as u64) as usize]).await,
            }
            self.network.collect(&self.room).await;
            if self.is_followed && self.random.below(3) == 0 {
                self.network.assert_followed(&self.room).await;
            }
        }
    }

    /// A random user does something, if they may.
    async fn act(&self, server: &Arc<Server>) {
        let actor = server.user(self.random.below(USERS as u64) as usize);
        let other = &self.network.servers()[self.random.below(SERVERS as u64) as usize];
        let target = other.user(self.random.below(USERS as u64) as usize);
        let room = self.at(server).await;
        let text = format!("{}", self.random.below(1_000_000));
        // What the room does not allow is simply not done.
        let _ = match self.random.below(9) {
            0 => server.set(&room, &actor, "m.room.topic", "", &format!(r#"{{"topic":"{text}"}}"#)).await,
            1 => server.change_levels(&room, &actor, &target, self.random.below(101)).await,
            2 => server.kick(&room, &actor, &target).await,
            3 => server.ban(&room, &actor, &target).await,
            4 => server.unban(&room, &actor, &target).await,
            5 => server.join_here(&room, &actor).await,
            6 => server.leave(&room, &actor).await,
            _ => server.say(&room, &actor, &text).await,
        };
    }

    async fn at(&self, server: &Server) -> Arc<Room> {
        server.rooms.get(&self.room).await.unwrap().expect("the server has joined")
    }

    /// Everything is delivered; then the servers speak in turn, which ties what is left of the branches together.
    async fn settle(&self) {
        self.network.heal();
        self.network.deliver_all(&self.room).await;
        for _ in 0..LAST_WORDS {
            for server in self.network.servers() {
                self.clock.advance(std::time::Duration::from_secs(1));
                let room = self.at(server).await;
                for user in 0..USERS {
                    let _ = server.say(&room, &server.user(user), "still here").await;
                }
                self.network.deliver_all(&self.room).await;
            }
        }
    }

    async fn compare(&self) {
        // A server whose last user has left receives no more events of the room. Nor does one that has left only in the
        // view of another server, which sends it nothing from which it could learn of that.
        let mut rooms = Vec::new();
        for server in self.network.servers() {
            let room = self.at(server).await;
            assert_found_by_time(&room, &server.db, 20).await;
            rooms.push((server, room));
        }
        let sees = |room: &Room, server: &Server| {
            let view = room.view();
            (0..USERS).any(|user| view.state.membership(&server.user(user)) == Some(Membership::Join))
        };
        let all_see = |server: &Server| {
            let with_users = rooms.iter().filter(|(other, room)| sees(room, other));
            with_users.clone().count() > 0 && with_users.into_iter().all(|(_, room)| sees(room, server))
        };
        let present: Vec<_> = rooms.iter().filter(|(server, room)| sees(room, server) && all_see(server)).collect();
        let Some(((_, first), others)) = present.split_first() else { return };
        let state = self.state(first).await;
        let mut all = BTreeSet::new();
        for (_, room) in &present {
            let events = timeline::range(room, i64::MIN, i64::MAX, 10_000, Direction::Forward).await.unwrap();
            let later = events.iter().filter(|event| event.pdu.origin_server_ts() > self.since_ms);
            all.extend(later.map(|event| event.pdu.event_id().clone()));
        }
        for (server, room) in others {
            assert_eq!(self.state(room).await, state, "seed {}: state at {}", self.seed, server.name);
        }
        for (server, _) in present.iter().filter(|(server, _)| !self.network.was_absent(server)) {
            let keys: Vec<Vec<u8>> = all.iter().map(event_key::encode).collect();
            let known = server.db.read(move |tx| repo::events::known(tx, &keys)).await.unwrap();
            let placed = known.iter().filter(|event| event.snapshot_nid.is_some()).count();
            assert_eq!(placed, all.len(), "seed {}: events at {}", self.seed, server.name);
        }
    }

    async fn state(&self, room: &Room) -> BTreeSet<(String, String, EventId)> {
        let events = timeline::current_state(room).await.unwrap();
        let entry = |pdu: &plexus_protocol::event::Pdu| {
            let key = pdu.state_key().unwrap_or_default().to_owned();
            (pdu.event_type().to_owned(), key, pdu.event_id().clone())
        };
        events.iter().map(|event| entry(&event.pdu)).collect()
    }
}
