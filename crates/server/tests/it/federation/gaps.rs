//! A server that was away for so long that events are missing from a room's timeline, or that cannot be given what
//! others rest on.

use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, UserId};
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, RoomHost, TestPlace, places, unique_name};
use serde_json::{Value, json};

use super::away::{CLIENT, synced};

/// More than are fetched after an absence.
const MISSED: usize = 2_400;
/// How many members speak at once.
const SPEAKERS: usize = 6;

/// A server whose user Alice is in a room that another server hosts.
struct Joined {
    server: TestServer,
    clock: Clock,
    host: RoomHost,
    room: String,
    alice: TestUser,
}

impl Joined {
    /// `speakers` members and the creator are in the room.
    async fn on(place: TestPlace, speakers: usize) -> Self {
        let clock = Clock::manual(1_700_000_100_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let host = BigRoom::new(speakers + 1, 0).host(&[]).await;
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await;
        Self { room: host.room.id().as_str().to_owned(), server, clock, host, alice }
    }

    /// Something that the host's creator says, which is not sent yet.
    fn say(&self, body: &str) -> Pdu {
        self.host.room.send(&self.host.room.creator(), "m.room.message", None, json!({ "body": body }))
    }

    /// The host sends an event, whose body is `body`; waits until Alice sees it, and returns her part of the room.
    async fn hears_of(&self, pdu: &Pdu, body: &str) -> Value {
        let since = token(&self.server, &self.alice).await;
        send(&self.server, &self.host, std::slice::from_ref(pdu)).await;
        hears(&self.server, &self.alice, (&self.room, &since), body).await
    }

    /// All bodies that Alice finds by paging back, oldest first.
    async fn bodies(&self) -> Vec<String> {
        paged_back(&self.server, &self.alice, &self.room, &token(&self.server, &self.alice).await).await
    }

    /// How often the host was asked for something whose path contains `what`.
    fn asked(&self, what: &str) -> usize {
        self.host.peer.received().iter().filter(|request| request.uri.contains(what)).count()
    }
}

/// The numbers among the bodies that each of the speakers has said, in order.
fn by_speaker(bodies: &[String]) -> Vec<Vec<usize>> {
    let numbers: Vec<usize> = bodies.iter().filter_map(|body| body.parse().ok()).collect();
    let of_one = |speaker| numbers.iter().copied().filter(|number| number % SPEAKERS == speaker).collect();
    (0..SPEAKERS).map(of_one).collect()
}

async fn join(server: &TestServer, user: &TestUser, host: &RoomHost) {
    let path = format!("{CLIENT}/join/{}?via={}", host.room.id(), host.peer.name());
    server.post(&path, &user.token, json!({})).await.ok();
}

/// The host sends events in one transaction.
async fn send(server: &TestServer, host: &RoomHost, pdus: &[Pdu]) {
    let events: Vec<Value> = pdus.iter().map(|pdu| serde_json::from_str(pdu.json()).expect("JSON")).collect();
    let transaction = json!({ "origin": host.peer.name().as_str(), "origin_server_ts": 0, "pdus": events });
    let answer = host.peer.put(server, &format!("/_matrix/federation/v1/send/{}", unique_name()), transaction).await;
    for pdu in pdus {
        assert_eq!(answer.ok()["pdus"][pdu.event_id().as_str()], json!({}));
    }
}

/// A message that follows these events.
fn say_after(host: &RoomHost, prev_events: &[EventId], sender: &UserId, body: &str) -> Pdu {
    let content = json!({ "msgtype": "m.text", "body": body });
    host.room.send_after(prev_events, sender, "m.room.message", None, &content)
}

/// Six members speak at once, again and again, and somebody changes the topic; returns the bodies, and the last event,
/// which ties all branches together.
fn chatter(host: &RoomHost, count: usize) -> (Vec<String>, Pdu) {
    let creator = host.room.creator();
    let topic = |after: &[EventId], text: &str| {
        host.room.send_after(after, &creator, "m.room.topic", Some(""), &json!({ "topic": text })).event_id().clone()
    };
    let first = host.room.send(&creator, "m.room.topic", Some(""), json!({ "topic": "begins" }));
    let mut before: Vec<EventId> = vec![first.event_id().clone()];
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let speak = |number: usize| {
            let body = format!("{} by {number}", bodies.len() + number);
            let pdu = say_after(host, &before, &host.room.member(number), &body);
            (body, pdu.event_id().clone())
        };
        let (said, after): (Vec<String>, Vec<EventId>) = (0..SPEAKERS).map(speak).unzip();
        bodies.extend(said);
        // Now and then the branches go on by themselves for a while.
        before = match bodies.len() % 60 {
            0 => vec![topic(&after, &format!("{} messages", bodies.len()))],
            _ => after,
        };
    }
    let last = say_after(host, &before, &creator, "last");
    bodies.push("last".to_owned());
    (bodies, last)
}

/// Members speak all the time, each before what the others are just saying has come to them: the branches never meet.
/// Returns the bodies, and the last event.
fn side_by_side(host: &RoomHost, count: usize) -> (Vec<String>, Pdu) {
    let first = host.room.send(&host.room.creator(), "m.room.topic", Some(""), json!({ "topic": "begins" }));
    let mut ids = vec![first.event_id().clone()];
    let mut bodies = Vec::new();
    for number in 0..count {
        // The newest events are still on their way.
        let come = ids.len().saturating_sub(SPEAKERS - 1).max(1);
        let body = number.to_string();
        let before = &ids[come.saturating_sub(SPEAKERS)..come];
        ids.push(say_after(host, before, &host.room.member(number % SPEAKERS), &body).event_id().clone());
        bodies.push(body);
    }
    bodies.push("last".to_owned());
    (bodies, say_after(host, &ids[ids.len() - SPEAKERS..], &host.room.creator(), "last"))
}

fn body_of(event: &Value) -> Option<String> {
    event["content"]["body"].as_str().map(str::to_owned)
}

/// All messages that paging finds from a token on, in the order in which it finds them.
async fn paged(server: &TestServer, user: &TestUser, room: &str, (dir, from): (&str, &str)) -> Vec<Value> {
    let (mut messages, mut from) = (Vec::new(), from.to_owned());
    loop {
        let path = format!("{CLIENT}/rooms/{room}/messages?dir={dir}&limit=100&from={from}");
        // Filling a gap may wait until the host may be asked for another state.
        let page = while_time_passes(server.clock(), server.get(&path, &user.token)).await;
        let chunk = page.ok()["chunk"].as_array().expect("a page is a list");
        messages.extend(chunk.iter().filter(|event| event["type"] == "m.room.message").cloned());
        match page.body["end"].as_str() {
            // Forward, the end is where what comes later will be; backward, a gap may not be filled yet.
            Some(end) if end != from || dir == "b" => from = end.to_owned(),
            _ => return messages,
        }
    }
}

/// As [`paged`], the bodies, backward and oldest first.
async fn paged_back(server: &TestServer, user: &TestUser, room: &str, from: &str) -> Vec<String> {
    let messages = paged(server, user, room, ("b", from)).await;
    messages.iter().rev().filter_map(body_of).collect()
}

async fn token(server: &TestServer, user: &TestUser) -> String {
    server.get(&format!("{CLIENT}/sync"), &user.token).await.ok()["next_batch"].as_str().unwrap().to_owned()
}

/// The room's part of an answer in which a message is.
async fn hears(server: &TestServer, user: &TestUser, (room, since): (&str, &str), body: &str) -> Value {
    let said = |answer: &Value| {
        let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
        events.is_some_and(|events| events.iter().any(|event| event["content"]["body"] == body))
    };
    synced(server, user, since, said).await["rooms"]["join"][room].clone()
}

/// Checks that `found` has the bodies in the order of their rounds; those of one round may come in any order.
fn assert_in_order(found: &[String], said: &[String]) {
    let mut sorted = (found.to_vec(), said.to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert!(sorted.0 == sorted.1, "{} of {} are there", found.len(), said.len());
    for (rounds, expected) in found.chunks(SPEAKERS).zip(said.chunks(SPEAKERS)) {
        let (mut round, mut expected) = (rounds.to_vec(), expected.to_vec());
        round.sort();
        expected.sort();
        assert_eq!(round, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_events_are_a_gap_and_fetched_when_somebody_pages_there() {
    for place in places() {
        let clock = Clock::manual(1_700_000_100_000);
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let host = BigRoom::new(SPEAKERS + 1, 0).host(&[]).await;
        let room = host.room.id().as_str();
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        join(&server, &alice, &host).await;
        join(&server, &bob, &host).await;
        let since = token(&server, &alice).await;
        let before = host.room.send(&host.room.creator(), "m.room.message", None, json!({ "body": "before" }));
        send(&server, &host, &[before]).await;
        hears(&server, &alice, (room, &since), "before").await;
        let since = token(&server, &alice).await;

        let (said, last) = chatter(&host, MISSED);
        send(&server, &host, std::slice::from_ref(&last)).await;
        // However many events have come by then.
        let has_room = |answer: &Value| answer["rooms"]["join"].get(room).is_some();
        let first = synced(&server, &alice, &since, has_room).await["rooms"]["join"][room]["timeline"].clone();
        assert_eq!(first["limited"], true);
        hears(&server, &alice, (room, &since), "last").await;
        let topic = format!("{MISSED} messages");
        let state = server.get(&format!("{CLIENT}/rooms/{room}/state/m.room.topic"), &bob.token).await;
        assert_eq!(state.ok()["topic"], topic.as_str());
        assert_eq!(host.peer.received().iter().filter(|request| request.uri.contains("/state_ids/")).count(), 1);

        // A new client does not get the events as if there were no gap either.
        let filter = "%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:1000%7D%7D%7D";
        let all = server.get(&format!("{CLIENT}/sync?filter={filter}"), &bob.token).await;
        let all = all.ok()["rooms"]["join"][room]["timeline"].clone();
        assert_eq!(all["limited"], true);
        assert!(!all["events"].as_array().unwrap().iter().any(|event| event["content"]["body"] == "before"));

        // While nobody fills the gap what lies before it is reached all the same.
        host.room.set_ways(|ways| ways.refuses_history = true);
        let newest_first = paged(&server, &bob, room, ("b", all["prev_batch"].as_str().unwrap())).await;
        host.room.set_ways(|ways| ways.refuses_history = false);
        let [.., after_gap, oldest] = newest_first.as_slice() else { panic!("{newest_first:?}") };
        assert_eq!(oldest["content"]["body"], "before");
        assert!(newest_first.len() < MISSED);
        let id = after_gap["event_id"].as_str().unwrap();
        let context = server.get(&format!("{CLIENT}/rooms/{room}/context/{id}?limit=20"), &bob.token).await;
        let shown: Vec<String> = context.ok()["events_before"].as_array().unwrap().iter().filter_map(body_of).collect();
        assert!(!shown.contains(&"before".to_owned()), "{shown:?}");

        // After a while it is tried again.
        clock.advance(Duration::from_secs(61));
        let missed = paged_back(&server, &alice, room, first["prev_batch"].as_str().unwrap()).await;
        let mut found = paged_back(&server, &alice, room, &token(&server, &alice).await).await;
        assert!(found.starts_with(&missed) && missed.len() > 100, "{} are behind the gap", missed.len());
        assert_eq!(found.remove(0), "before");
        assert_in_order(&found, &said);
        let forward = paged(&server, &bob, room, ("f", &since)).await;
        assert_in_order(&forward.iter().filter_map(body_of).collect::<Vec<_>>(), &said);
        server.restart().await;
        let mut again = paged_back(&server, &bob, room, &token(&server, &bob).await).await;
        assert_eq!(again.remove(0), "before");
        assert_in_order(&again, &said);
        let state = server.get(&format!("{CLIENT}/rooms/{room}/state/m.room.topic"), &bob.token).await;
        assert_eq!(state.ok()["topic"], topic.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_branches_are_fetched_in_large_parts() {
    for place in places() {
        let joined = Joined::on(place, SPEAKERS).await;
        let (said, last) = side_by_side(&joined.host, MISSED);
        joined.hears_of(&last, "last").await;
        let found = joined.bodies().await;
        assert_eq!(found.len(), said.len());
        assert_eq!(by_speaker(&found), by_speaker(&said));
        assert!(joined.asked("/state_ids/") <= 2 * SPEAKERS, "{} states", joined.asked("/state_ids/"));
        assert!(joined.asked("/backfill/") <= 2 * MISSED / 100, "{} pages", joined.asked("/backfill/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_between_a_leave_and_a_join_are_fetched() {
    for place in places() {
        let joined = Joined::on(place, SPEAKERS).await;
        let (server, alice, host) = (&joined.server, &joined.alice, &joined.host);
        joined.hears_of(&joined.say("before"), "before").await;
        let members = host.room.joined();
        server.post(&format!("{CLIENT}/rooms/{}/leave", joined.room), &alice.token, json!({})).await.ok();
        // What the host's users say before it has the leave is on a branch that it does not continue.
        let learns = async {
            while host.room.joined() == members {
                tokio::task::yield_now().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(60), learns).await.expect("the host learns of the leave");
        for number in 0..150 {
            joined.say(&number.to_string());
        }
        join(server, alice, host).await;
        joined.hears_of(&joined.say("after"), "after").await;
        let mut expected = vec!["before".to_owned()];
        expected.extend((0..150).map(|number| number.to_string()));
        expected.push("after".to_owned());
        assert_eq!(joined.bodies().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_fetched_together_equal_events_received_one_by_one() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(SPEAKERS + 1, 0).host(&[]).await;
        let room = host.room.id().as_str();
        let creator = host.room.creator();
        let say = |content: Value| host.room.send(&creator, "m.room.message", None, content);
        let regretted = say(json!({ "body": "regretted" }));
        let edited = say(json!({ "body": "first" }));
        host.room.send(&creator, "m.room.name", Some(""), json!({ "name": "one" }));
        let relation = json!({ "rel_type": "m.replace", "event_id": edited.event_id().as_str() });
        say(json!({ "body": "* second", "m.new_content": { "body": "second" }, "m.relates_to": relation }));
        let redacts = json!({ "redacts": regretted.event_id().as_str() });
        let redaction = host.room.send(&creator, "m.room.redaction", None, redacts);
        host.room.send(&creator, "m.room.name", Some(""), json!({ "name": "two" }));
        let member = host.room.member(1);
        let ban = host.room.send(&creator, "m.room.member", Some(member.as_str()), json!({ "membership": "ban" }));
        let refused = say_after(&host, std::slice::from_ref(ban.event_id()), &member, "refused");
        say_after(&host, std::slice::from_ref(refused.event_id()), &creator, "last");

        let alice = server.register("alice").await;
        join(&server, &alice, &host).await;
        let page = server.get(&format!("{CLIENT}/rooms/{room}/messages?dir=b&limit=100"), &alice.token).await;
        let events = page.ok()["chunk"].as_array().unwrap();
        let event = |id: &EventId| events.iter().find(|event| event["event_id"] == id.as_str());
        let regretted = event(regretted.event_id()).unwrap();
        assert_eq!(regretted["content"], json!({}));
        assert_eq!(regretted["unsigned"]["redacted_because"]["event_id"], redaction.event_id().as_str());
        let edited = &event(edited.event_id()).unwrap()["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(edited["content"]["m.new_content"]["body"], "second");
        let names = events.iter().filter_map(|event| event["content"]["name"].as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["two", "one", "Big room"]);
        assert!(event(refused.event_id()).is_none());
        assert!(events.iter().any(|event| event["content"]["body"] == "last"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_missing_from_a_gap_are_not_put_before_the_timeline() {
    for place in places() {
        let mut joined = Joined::on(place, SPEAKERS).await;
        joined.hears_of(&joined.say("before"), "before").await;
        joined.host.room.set_ways(|ways| ways.refuses_history = true);
        let missed: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        missed.iter().for_each(|body| _ = joined.say(body));
        joined.hears_of(&joined.say("after"), "after").await;
        // Filling the gap fails, and it is left alone for a while.
        assert_eq!(joined.bodies().await, ["before", "after"]);
        joined.host.room.set_ways(|ways| ways.refuses_history = false);
        assert_eq!(joined.bodies().await, ["before", "after"]);
        joined.clock.advance(Duration::from_secs(61));
        let mut expected = vec!["before".to_owned()];
        expected.extend(missed);
        expected.push("after".to_owned());
        assert_eq!(joined.bodies().await, expected);
        joined.server.restart().await;
        assert_eq!(joined.bodies().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_a_gap_that_is_not_filled_in_time_and_goes_on_there_later() {
    for place in places() {
        let joined = Joined::on(place, SPEAKERS).await;
        let (server, alice) = (&joined.server, &joined.alice);
        joined.hears_of(&joined.say("before"), "before").await;
        joined.host.room.set_ways(|ways| ways.refuses_history = true);
        joined.say("missed");
        joined.hears_of(&joined.say("after"), "after").await;
        joined.host.room.set_ways(|ways| (ways.refuses_history, ways.never_sends_history) = (false, true));
        let messages = format!("{CLIENT}/rooms/{}/messages?dir=b&limit=100&from=", joined.room);
        let from = token(server, alice).await;
        let page =
            while_time_passes(&joined.clock, server.get(&format!("{messages}{from}"), &alice.token)).await.ok().clone();
        let bodies: Vec<String> = page["chunk"].as_array().unwrap().iter().filter_map(body_of).collect();
        assert_eq!(bodies, ["after"]);
        let end = page["end"].as_str().expect("there is more");

        joined.host.room.set_ways(|ways| ways.never_sends_history = false);
        // The request that was not answered comes to its end, and the gap is left alone for a while.
        joined.clock.advance(Duration::from_secs(61));
        while_time_passes(&joined.clock, server.get(&format!("{messages}{end}"), &alice.token)).await.ok();
        joined.clock.advance(Duration::from_secs(61));
        assert_eq!(paged_back(server, alice, &joined.room, end).await, ["before", "missed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_fetched_whatever_depth_the_event_after_a_gap_claims() {
    for place in places() {
        let joined = Joined::on(place, SPEAKERS).await;
        let (host, creator) = (&joined.host, joined.host.room.creator());
        let before = joined.say("before");
        joined.hears_of(&before, "before").await;
        let invented = EventId::try_from("$aW52ZW50ZWQtaW52ZW50ZWQtaW52ZW50ZWQtaW52ZW5").unwrap();
        let deep = json!({ "body": "deep" });
        let deep = host.room.send_at_depth(1_000_000_000, &[invented], &host.room.member(1), &deep);
        joined.hears_of(&deep, "deep").await;

        let missed = say_after(host, &[before.event_id().clone()], &creator, "missed");
        let after = say_after(host, &[missed.event_id().clone()], &creator, "after");
        joined.hears_of(&after, "after").await;
        assert_eq!(joined.bodies().await, ["before", "deep", "missed", "after"]);
        assert_eq!(joined.asked("/state_ids/"), 1);
    }
}

/// Lets time pass while something is waited for that takes more than a moment.
async fn while_time_passes<T>(clock: &Clock, waiting: impl Future<Output = T>) -> T {
    let passing = async {
        let mut every = plexus_testkit::every(Duration::from_millis(100));
        every.tick().await;
        loop {
            every.tick().await;
            clock.advance(Duration::from_secs(5));
        }
    };
    tokio::select! { found = waiting => found, () = passing => unreachable!() }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_need_more_states_than_are_asked_for_at_once_wait_their_turn() {
    for place in places() {
        let Joined { server, clock, host, room, alice } = Joined::on(place, SPEAKERS).await;
        host.room.set_ways(|ways| ways.refuses_history = true);
        let since = token(&server, &alice).await;
        // Each follows something that the host does not give.
        let loose = |number: usize| {
            let lost = host.room.send(&host.room.creator(), "m.room.message", None, json!({ "body": "lost" }));
            let member = host.room.member(number % SPEAKERS);
            say_after(&host, &[lost.event_id().clone()], &member, &format!("loose {number}"))
        };
        let loose: Vec<Pdu> = (0..70).map(loose).collect();
        for loose in loose.chunks(50) {
            send(&server, &host, loose).await;
        }
        let mut missing: std::collections::BTreeSet<String> = (0..70).map(|number| format!("loose {number}")).collect();
        let mut since = since;
        while !missing.is_empty() {
            let path = format!("{CLIENT}/sync?since={since}&timeout=30000");
            let answer = while_time_passes(&clock, server.get(&path, &alice.token)).await;
            let events = answer.ok()["rooms"]["join"][&room]["timeline"]["events"].as_array().into_iter().flatten();
            events.filter_map(body_of).for_each(|body| _ = missing.remove(&body));
            // What a sync left out because of the gaps is in the timeline.
            let page = server.get(&format!("{CLIENT}/rooms/{room}/messages?dir=b&limit=1000"), &alice.token).await;
            let chunk = page.ok()["chunk"].as_array().into_iter().flatten();
            chunk.filter_map(body_of).for_each(|body| _ = missing.remove(&body));
            since = answer.body["next_batch"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_placed_yet_is_tried_again() {
    for place in places() {
        let mut joined = Joined::on(place, SPEAKERS).await;
        for (number, restarts) in [false, true].into_iter().enumerate() {
            let since = token(&joined.server, &joined.alice).await;
            joined.host.room.set_ways(|ways| (ways.refuses_history, ways.refuses_state) = (true, true));
            joined.say("missed");
            let text = format!("after {number}");
            let after = joined.say(&text);
            send(&joined.server, &joined.host, std::slice::from_ref(&after)).await;
            let id = &after.event_id().as_str()[1..];
            joined.host.peer.receives(|request| request.uri.contains("/state_ids/") && request.uri.contains(id)).await;
            if restarts {
                joined.server.stop().await;
            }
            joined.host.room.set_ways(|ways| ways.refuses_history = false);
            if restarts {
                joined.server.restart().await;
            }
            let heard = hears(&joined.server, &joined.alice, (&joined.room, &since), &text);
            while_time_passes(&joined.clock, heard).await;
            let bodies = joined.bodies().await;
            assert!(bodies.ends_with(&["missed".to_owned(), text]), "{bodies:?}");
        }
    }
}
