//! Benchmarks of the hot paths of events, compared with ruma's crates in the same run.
//!
//! `cargo bench -p plexus-protocol --bench events`; docs/benchmarks.md has results and the machine they were measured
//! on.
#![expect(clippy::unwrap_used, reason = "a benchmark panics where it fails")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use plexus_protocol::{
    event::{
        Pdu,
        build::PduBuilder,
        client::client_json,
        sign::{KnownKey, SigningKey, verify, verify_all},
    },
    id::{RoomId, ServerName, UserId},
    json::Object,
    rules::RoomVersion,
};
use ruma_common::{CanonicalJsonObject, RoomVersionId, serde::Base64};
use ruma_signatures::{Ed25519KeyPair, PublicKeyMap};

const EVENTS: usize = 10_000;
const SERVERS: usize = 50;
const VERSION: RoomVersion = RoomVersion::V11;

fn main() {
    let servers: Vec<Server> = (0..SERVERS).map(Server::new).collect();
    let pdus: Vec<Pdu> = (0..EVENTS).map(|i| servers[i % SERVERS].event(i)).collect();
    let texts: Vec<&str> = pdus.iter().map(Pdu::json).collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    println!("{EVENTS} events from {SERVERS} servers, {} bytes each\n", bytes / EVENTS);

    let lookup = |server: &str, _: &str| {
        let index: usize = server.strip_prefix('s')?.strip_suffix(".example.org")?.parse().ok()?;
        servers.get(index).map(|server| KnownKey { key: server.key.public_key(), valid_until_ts: u64::MAX })
    };
    let keys: BTreeMap<(&str, &str), KnownKey> = servers
        .iter()
        .map(|server| ((server.name.as_str(), server.key.key_id()), lookup(server.name.as_str(), "").unwrap()))
        .collect();
    let lookup = |server: &str, key_id: &str| keys.get(&(server, key_id)).copied();

    println!("one event");
    each("build, hash, sign", EVENTS, |i| drop(black_box(servers[i % SERVERS].event(i))));
    each("parse, hash, id", EVENTS, |i| drop(black_box(Pdu::parse(texts[i], VERSION))));
    each("from_stored", EVENTS, |i| drop(black_box(Pdu::from_stored(texts[i], pdus[i].event_id().clone(), VERSION))));
    each("content hash", EVENTS, |i| _ = black_box(pdus[i].content_hash_matches()));
    each("verify one signature", EVENTS / 10, |i| verify(&pdus[i], &lookup).unwrap());
    each("client JSON", EVENTS, |i| drop(black_box(client_json(&pdus[i]))));

    println!("\nverify so many events at once, per event (median)");
    for count in [1, 5, 10, 15, 20, 25, 30, 35, 40, 50, 64, 100, 200] {
        batches(&servers, count, &lookup);
    }

    println!("\nparse, hash and verify {EVENTS} events");
    let one_by_one = whole("plexus, one by one", || {
        for text in &texts {
            let pdu = Pdu::parse(text, VERSION).unwrap();
            assert!(pdu.content_hash_matches());
            verify(&pdu, &lookup).unwrap();
        }
    });
    for batch in [50, 500, EVENTS] {
        whole(&format!("plexus, batches of {batch}"), || check_in_batches(&texts, batch, &lookup));
    }
    let ours = whole("plexus, one batch (again)", || check_in_batches(&texts, EVENTS, &lookup));
    let theirs = ruma(&servers, &texts);
    println!(
        "\nplexus is {:.1} times as fast as ruma one by one, {:.1} times in a batch",
        ratio(theirs, one_by_one),
        ratio(theirs, ours)
    );
}

fn check_in_batches(texts: &[&str], batch: usize, lookup: &dyn Fn(&str, &str) -> Option<KnownKey>) {
    for chunk in texts.chunks(batch) {
        let pdus: Vec<Pdu> = chunk.iter().map(|text| Pdu::parse(text, VERSION).unwrap()).collect();
        assert!(pdus.iter().all(Pdu::content_hash_matches));
        assert!(verify_all(&pdus, lookup, [7; 32]).iter().all(Result::is_ok));
    }
}

/// Batches as in transactions: from one server, and from all servers.
fn batches(servers: &[Server], count: usize, lookup: &dyn Fn(&str, &str) -> Option<KnownKey>) {
    let median = |mut work: Box<dyn FnMut() + '_>| {
        let mut times: Vec<Duration> = (0..1 + 3_000 / count).map(|_| wall_time(&mut work)).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6 / count as f64
    };
    let from = |servers: &[Server]| -> Vec<Pdu> { (0..count).map(|i| servers[i % servers.len()].event(i)).collect() };
    let (of_one, of_many) = (from(&servers[..1]), from(servers));
    let single = median(Box::new(|| of_many.iter().for_each(|pdu| verify(pdu, lookup).unwrap())));
    let batch = |pdus: &[Pdu]| {
        let pdus = pdus.to_vec();
        median(Box::new(move || assert!(verify_all(&pdus, lookup, [7; 32]).iter().all(Result::is_ok))))
    };
    let (one, many) = (batch(&of_one), batch(&of_many));
    print!("  {count:5} singly {single:7.1} us, of one server {one:7.1} us ({:.2} times as fast)", single / one);
    println!(", of many {many:7.1} us ({:.2})", single / many);
}

fn ruma(servers: &[Server], texts: &[&str]) -> Duration {
    let rules = RoomVersionId::V11.rules().unwrap();
    let keys: PublicKeyMap = servers
        .iter()
        .map(|server| {
            let key = Base64::parse(server.key.public_key_base64()).unwrap();
            (server.name.to_string(), BTreeMap::from([(server.key.key_id().to_owned(), key)]))
        })
        .collect();
    let duration = whole("ruma", || {
        for text in texts {
            let object: CanonicalJsonObject = serde_json::from_str(text).unwrap();
            black_box(ruma_signatures::reference_hash(&object, &rules).unwrap());
            ruma_signatures::verify_event(&keys, &object, &rules).unwrap();
        }
    });
    let seed = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &[1; 32]].concat();
    let key = Ed25519KeyPair::from_der(&seed, "k".to_owned()).unwrap();
    let templates: Vec<CanonicalJsonObject> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    each("ruma: hash, sign one event", EVENTS, |i| {
        let mut object = templates[i].clone();
        ruma_signatures::hash_and_sign_event("a.org", &key, &mut object, &rules.redaction).unwrap();
        black_box(ruma_signatures::reference_hash(&object, &rules).unwrap());
    });
    duration
}

struct Server {
    name: ServerName,
    key: SigningKey,
    user: UserId,
    room: RoomId,
}

impl Server {
    fn new(index: usize) -> Self {
        let name: ServerName = format!("s{index}.example.org").parse().unwrap();
        Self {
            user: UserId::new("alice", &name).unwrap(),
            key: SigningKey::generate(&[index as u8; 32], "a_KeyX"),
            name,
            room: "!aQJNrpCjFBkEsVwXRg:example.org".parse().unwrap(),
        }
    }

    fn event(&self, n: usize) -> Pdu {
        let id = |n: usize| format!("$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH{n:05}").parse().unwrap();
        let body = format!("This is message number {n}, about as long as what people say in a chat room.");
        let content = [
            ("body", body.as_str()),
            ("msgtype", "m.text"),
            ("format", "org.matrix.custom.html"),
            ("formatted_body", body.as_str()),
        ];
        let builder = PduBuilder {
            room_id: Some(self.room.clone()),
            sender: self.user.clone(),
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: Object::from(content),
            unsigned: None,
            redacts: None,
            prev_events: vec![id(n)],
            auth_events: vec![id(n + 1), id(n + 2), id(n + 3)],
            depth: n as u64,
            origin_server_ts: 1_700_000_000_000 + n as u64,
        };
        builder.build(VERSION, &self.key, &self.name).unwrap()
    }
}

fn each(what: &str, times: usize, mut work: impl FnMut(usize)) {
    let duration = best(|| (0..times).for_each(&mut work));
    println!("  {what:32} {:8.2} us", duration.as_secs_f64() * 1e6 / times as f64);
}

fn whole(what: &str, work: impl FnMut()) -> Duration {
    let duration = best(work);
    println!("  {what:32} {:8.1} ms", duration.as_secs_f64() * 1e3);
    duration
}

/// The best of three runs.
fn best(mut work: impl FnMut()) -> Duration {
    (0..3).map(|_| timed(&mut work)).min().unwrap_or_default()
}

/// The resolution of the processor time is too coarse for some measurements.
fn wall_time(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn timed(work: &mut impl FnMut()) -> Duration {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work();
    match (cpu, cpu_time()) {
        (Some(before), Some(after)) => after - before,
        _ => wall.elapsed(),
    }
}

/// Returns how long this thread has been running, where Linux reports it: other programs then disturb the results less.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split(' ').next()?.parse().ok()?))
}

fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}
