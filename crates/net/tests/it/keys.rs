//! The keys of other servers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use plexus_net::federation::{KeyRingParts, TrustedKeyServer};
use plexus_net::{FederationClient, FederationError, KeyRing, NotSigned, TooManySearches, WantedKey};
use plexus_protocol::event::sign::{KnownKey, SigningKey};
use plexus_protocol::json::{Object, Value};
use plexus_testkit::{databases, within};

use crate::support::{NOW, OURS, Server, World, get, json, our_key, server, status, stuck};

const DAY: u64 = 86_400_000;
const OWN_KEYS: &str = "/_matrix/key/v2/server";
const QUERY: &str = "/_matrix/key/v2/query";
const NAME: &str = "a.example:5";
const NOTARY: &str = "notary.example:5";

pub fn key(seed: u8) -> SigningKey {
    SigningKey::generate(&[seed; 32], &format!("k{seed}"))
}

/// What a server says of its keys.
pub fn statement(name: &str, current: &SigningKey, valid_until: u64, old: Option<(&SigningKey, u64)>) -> Object {
    let public = |key: &SigningKey| ("key", Value::from(key.public_key_base64()));
    let old = old.map(|(key, expired)| {
        (key.key_id().to_owned(), Object::from([public(key), ("expired_ts", Value::from(expired))]))
    });
    let mut object = Object::from([
        ("server_name", Value::from(name)),
        ("valid_until_ts", Value::from(valid_until)),
        ("verify_keys", Object::from([(current.key_id(), Object::from([public(current)]))]).into()),
        ("old_verify_keys", old.into_iter().collect::<Object>().into()),
    ]);
    current.sign_object(&mut object, name).unwrap();
    object
}

fn answer_of_notary(statements: Vec<Object>, notary: &SigningKey) -> String {
    let signed = statements.into_iter().map(|mut statement| {
        notary.sign_object(&mut statement, NOTARY).unwrap();
        Value::Object(statement)
    });
    Object::from([("server_keys", Value::Array(signed.collect()))]).to_json()
}

pub fn wanted(name: &str, key: &SigningKey, at_ms: u64) -> WantedKey {
    WantedKey { server: name.to_owned(), key_id: key.key_id().to_owned(), at_ms }
}

pub async fn ring(world: &World, trusted: Vec<TrustedKeyServer>) -> Arc<KeyRing> {
    ring_of(world, world.client().await, trusted)
}

fn ring_of(world: &World, client: Arc<FederationClient>, trusted: Vec<TrustedKeyServer>) -> Arc<KeyRing> {
    let own = our_key();
    let own_key = KnownKey { key: own.public_key(), valid_until_ts: u64::MAX };
    Arc::new(KeyRing::new(KeyRingParts {
        server_name: server(OURS),
        own_keys: HashMap::from([(own.key_id().to_owned(), own_key)]),
        signing_key: own,
        trusted,
        client,
        db: world.db(),
        clock: world.clock.clone(),
    }))
}

fn trusting(notary: &SigningKey) -> Vec<TrustedKeyServer> {
    let verify_keys = BTreeMap::from([(notary.key_id().to_owned(), notary.public_key())]);
    vec![TrustedKeyServer { server_name: server(NOTARY), verify_keys }]
}

/// What the ring knows of one key.
pub async fn find(ring: &KeyRing, wanted: WantedKey) -> Option<KnownKey> {
    let name = (wanted.server.clone(), wanted.key_id.clone());
    ring.keys(&[wanted]).await.remove(&name)
}

async fn serve(world: &World, name: &str, path: &'static str, answer: String) -> Server {
    let host = name.split(':').next().unwrap();
    let at = Server::start(&world.authority, &[host], move |seen| {
        if seen.path == path { json(answer.clone()) } else { status(404, "{}") }
    })
    .await;
    world.names.host(name, at.address);
    at
}

#[tokio::test]
async fn a_server_tells_its_keys_once_and_they_survive_a_restart() {
    for db in databases() {
        let mut world = World::on(db);
        let (current, old) = (key(1), key(2));
        let text = statement(NAME, &current, NOW + 30 * DAY, Some((&old, NOW - 5 * DAY))).to_json();
        let at = serve(&world, NAME, OWN_KEYS, text).await;
        let keys = ring(&world, Vec::new()).await;
        let (one, two) =
            tokio::join!(find(&keys, wanted(NAME, &current, NOW)), find(&keys, wanted(NAME, &current, NOW)));
        assert_eq!(one, two);
        let expected = KnownKey { key: current.public_key(), valid_until_ts: NOW + 7 * DAY };
        assert_eq!(one, Some(expected), "it is believed for at most seven days");
        assert_eq!(at.count(OWN_KEYS), 1);

        world.place.reopen().await;
        let keys = ring(&world, Vec::new()).await;
        assert_eq!(find(&keys, wanted(NAME, &current, NOW)).await, Some(expected));
        let retired = find(&keys, wanted(NAME, &old, 0)).await.unwrap();
        assert_eq!(retired, KnownKey { key: old.public_key(), valid_until_ts: NOW - 5 * DAY });
        assert_eq!(at.count(OWN_KEYS), 1);

        // Once it is too old for what is wanted, it is fetched again.
        world.clock.advance(Duration::from_millis(8 * DAY));
        let again = find(&keys, wanted(NAME, &current, NOW + 8 * DAY)).await.unwrap();
        assert_eq!((again.valid_until_ts, at.count(OWN_KEYS)), (NOW + 15 * DAY, 2));
    }
}

#[tokio::test]
async fn an_expired_key_is_returned_with_its_time_and_not_searched_for_over_and_over() {
    let world = World::new();
    let at = serve(&world, NAME, OWN_KEYS, statement(NAME, &key(1), NOW - DAY, None).to_json()).await;
    let keys = ring(&world, Vec::new()).await;
    for _ in 0..3 {
        let found = find(&keys, wanted(NAME, &key(1), NOW)).await.unwrap();
        assert_eq!(found.valid_until_ts, NOW - DAY);
        assert_eq!(at.count(OWN_KEYS), 1);
    }
    let of_request = keys.keys_of_request(&server(NAME), &[key(1).key_id()].into(), None).await;
    assert!(of_request.unwrap().is_empty());
    world.clock.advance(Duration::from_secs(61));
    find(&keys, wanted(NAME, &key(1), NOW)).await.unwrap();
    assert_eq!(at.count(OWN_KEYS), 2);
}

#[tokio::test]
async fn the_latest_response_of_a_server_counts_although_it_states_an_earlier_time() {
    for db in databases() {
        let mut world = World::on(db);
        let theirs = key(1);
        let first = statement(NAME, &theirs, NOW + 365 * DAY, None).to_json();
        let text = Arc::new(Mutex::new(first));
        let text_now = Arc::clone(&text);
        let at = Server::start(&world.authority, &["a.example"], move |_| json(text_now.lock().clone())).await;
        world.names.host(NAME, at.address);
        let keys = ring(&world, Vec::new()).await;
        find(&keys, wanted(NAME, &theirs, NOW)).await.unwrap();

        world.clock.advance(Duration::from_millis(8 * DAY));
        *text.lock() = statement(NAME, &theirs, NOW + 9 * DAY, None).to_json();
        let found = keys.keys_of_request(&server(NAME), &[theirs.key_id()].into(), None).await.unwrap();
        assert_eq!(found.len(), 1);

        world.place.reopen().await;
        let keys = ring(&world, Vec::new()).await;
        let found = find(&keys, wanted(NAME, &theirs, NOW + 8 * DAY)).await.unwrap();
        assert_eq!(found.valid_until_ts, NOW + 9 * DAY);
    }
}

#[tokio::test]
async fn an_old_response_from_a_key_server_does_not_revive_a_key() {
    for db in databases() {
        let mut world = World::on(db);
        let (old, new, notary) = (key(1), key(2), key(9));
        let retired = statement(NAME, &new, NOW + 2 * DAY, Some((&old, NOW - DAY))).to_json();
        let _at = serve(&world, NAME, OWN_KEYS, retired).await;
        let before = answer_of_notary(vec![statement(NAME, &old, NOW + DAY, None)], &notary);
        let at_notary = serve(&world, NOTARY, QUERY, before).await;
        let keys = ring(&world, trusting(&notary)).await;
        assert_eq!(find(&keys, wanted(NAME, &old, NOW)).await.unwrap().valid_until_ts, NOW - DAY);
        assert_eq!(at_notary.count(QUERY), 1);
        world.place.reopen().await;
        let keys = ring(&world, Vec::new()).await;
        assert_eq!(find(&keys, wanted(NAME, &old, 0)).await.unwrap().valid_until_ts, NOW - DAY);
    }
}

#[tokio::test]
async fn a_key_that_nobody_was_asked_for_does_not_count_as_missing() {
    let world = World::new();
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.names.host(NAME, slow.local_addr().unwrap());
    let keys = ring(&world, Vec::new()).await;
    let strangers = Arc::clone(&keys);
    let invented =
        tokio::spawn(async move { strangers.keys_of_request(&server(NAME), &["ed25519:invented"].into(), None).await });
    let _connection = slow.accept().await.unwrap();
    // It waits for the end of the search for the invented one.
    let (name, real) = (server(NAME), key(1));
    let ids = [real.key_id()].into();
    let (found, ()) = tokio::join!(keys.keys_of_request(&name, &ids, None), async {
        tokio::task::yield_now().await;
        world.clock.advance(Duration::from_secs(20));
    });
    assert_eq!(found.unwrap_err(), TooManySearches);
    assert_eq!(invented.await.unwrap().unwrap_err(), TooManySearches);
    let _at = serve(&world, NAME, OWN_KEYS, statement(NAME, &real, NOW + DAY, None).to_json()).await;
    assert!(find(&keys, wanted(NAME, &real, NOW)).await.is_some());
}

#[tokio::test]
async fn what_a_server_says_is_not_believed_unless_it_is_of_itself_and_signed() {
    let (right, wrong) = (key(1), key(2));
    let of_another = statement("b.example", &right, NOW + DAY, None);
    let mut changed = statement(NAME, &right, NOW + DAY, None);
    changed.insert("valid_until_ts", NOW + 2 * DAY);
    let mut unsigned = statement(NAME, &right, NOW + DAY, None);
    unsigned.remove("signatures");
    let mut by_another = statement(NAME, &right, NOW + DAY, None);
    by_another.remove("signatures");
    wrong.sign_object(&mut by_another, NAME).unwrap();
    let mut timeless = statement(NAME, &right, NOW + DAY, None);
    timeless.remove("valid_until_ts");
    right.sign_object(&mut timeless, NAME).unwrap();
    let texts = [of_another, changed, unsigned, by_another, timeless].map(|object| object.to_json());
    for text in texts.into_iter().chain(["no JSON".to_owned(), "{}".to_owned()]) {
        let world = World::new();
        let at = serve(&world, NAME, OWN_KEYS, text.clone()).await;
        let keys = ring(&world, Vec::new()).await;
        assert_eq!(find(&keys, wanted(NAME, &right, 0)).await, None, "{text}");
        assert_eq!(at.count(OWN_KEYS), 1);
    }
}

#[tokio::test]
async fn a_trusted_key_server_knows_the_keys_of_servers_that_are_down() {
    let world = World::new();
    let (down, notary) = (key(1), key(9));
    let text = answer_of_notary(vec![statement(NAME, &down, NOW + DAY, None)], &notary);
    let at = serve(&world, NOTARY, QUERY, text).await;
    let keys = ring(&world, trusting(&notary)).await;
    let found = find(&keys, wanted(NAME, &down, NOW)).await.unwrap();
    assert_eq!(found, KnownKey { key: down.public_key(), valid_until_ts: NOW + DAY });
    let asked = Object::parse(std::str::from_utf8(&at.seen()[0].body).unwrap()).unwrap();
    let criteria = asked.get_object("server_keys").and_then(|all| all.get_object(NAME)).unwrap();
    let least = criteria.get_object(down.key_id()).unwrap().get_i64("minimum_valid_until_ts").unwrap();
    assert_eq!(u64::try_from(least).unwrap(), NOW);
}

#[tokio::test]
async fn keys_are_fetched_from_a_server_whose_responses_are_being_read() {
    let world = World::new();
    let (down, notary) = (key(1), key(9));
    let text = answer_of_notary(vec![statement(NAME, &down, NOW + DAY, None)], &notary);
    let at = Server::start(&world.authority, &["notary.example"], move |seen| match seen.path.as_str() {
        QUERY => json(text.clone()),
        "/stuck" => stuck(),
        _ => json("{}"),
    })
    .await;
    world.names.host(NOTARY, at.address);
    let client = world.client().await;
    let notary_name = server(NOTARY);
    let mut being_read = Vec::new();
    for _ in 0..8 {
        being_read.push(client.stream(&notary_name, get("/stuck")).await.unwrap());
    }
    let keys = ring_of(&world, Arc::clone(&client), trusting(&notary));
    let soon = within(Duration::from_secs(10), find(&keys, wanted(NAME, &down, NOW))).await;
    assert!(soon.unwrap().is_some());
    let soon = within(Duration::from_secs(10), client.call(&notary_name, get("/other"))).await;
    assert_eq!(soon.unwrap().unwrap(), "{}");
}

#[tokio::test]
async fn keys_are_fetched_while_all_other_connections_are_in_use() {
    let mut world = World::new();
    world.http.max_connections = 8;
    let theirs = key(1);
    let text = statement("a.example", &theirs, NOW + DAY, None).to_json();
    let at = Server::start(&world.authority, &["a.example", "*.many.example"], move |seen| match seen.path.as_str() {
        OWN_KEYS => json(text.clone()),
        "/stuck" => stuck(),
        _ => status(404, "{}"),
    })
    .await;
    world.names.every_host(at.address);
    let client = world.client().await;
    let mut being_read = Vec::new();
    for number in 0..7 {
        being_read.push(client.stream(&server(&format!("s{number}.many.example:5")), get("/stuck")).await.unwrap());
    }
    assert!(client.call(&server("b.many.example:5"), get("/")).now_or_never().is_none());
    let keys = ring_of(&world, Arc::clone(&client), Vec::new());
    // Where the server is found has to be asked for too.
    let soon = within(Duration::from_secs(10), find(&keys, wanted("a.example", &theirs, NOW))).await;
    assert!(soon.unwrap().is_some());
}

#[tokio::test]
async fn keys_are_fetched_while_other_requests_to_the_server_wait() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.names.host(NAME, silent.local_addr().unwrap());
    let client = world.client().await;
    let mut connections = Vec::new();
    for _ in 0..8 {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.call(&server(NAME), get("/")).await.map(drop) });
        connections.push(silent.accept().await.unwrap());
    }
    let theirs = key(1);
    let _at = serve(&world, NAME, OWN_KEYS, statement(NAME, &theirs, NOW + DAY, None).to_json()).await;
    let keys = ring_of(&world, Arc::clone(&client), Vec::new());
    let soon = within(Duration::from_secs(10), find(&keys, wanted(NAME, &theirs, NOW))).await;
    assert!(soon.unwrap().is_some());

    let one_more = client.call(&server(NAME), get("/").timeout(Duration::from_millis(100))).await;
    assert!(matches!(one_more, Err(FederationError::NotSent(_))), "{one_more:?}");
    assert_eq!(client.backing_off_until(&server(NAME)), None);
}

#[tokio::test]
async fn a_lying_key_server_is_not_believed() {
    let (victim, liar, notary) = (key(1), key(2), key(9));
    let honest = || statement(NAME, &victim, NOW + DAY, None);
    // Not signed by the key server's key; not signed by the server; about a server that nobody asked about.
    let mut forged = honest();
    forged.insert("valid_until_ts", NOW + 2 * DAY);
    let texts = [
        answer_of_notary(vec![honest()], &liar),
        answer_of_notary(vec![forged], &notary),
        answer_of_notary(vec![statement("b.example", &victim, NOW + DAY, None)], &notary),
        r#"{"server_keys":[1,{}]}"#.to_owned(),
    ];
    for text in texts {
        let world = World::new();
        serve(&world, "unrelated.example:5", QUERY, String::new()).await;
        let at = serve(&world, NOTARY, QUERY, text.clone()).await;
        let keys = ring(&world, trusting(&notary)).await;
        assert_eq!(find(&keys, wanted(NAME, &victim, NOW)).await, None, "{text}");
        assert_eq!(at.count(QUERY), 1);
    }
}

#[tokio::test]
async fn many_servers_are_asked_about_in_one_question() {
    let world = World::new();
    let notary = key(9);
    let name = |number: u8| format!("s{number}.example:5");
    let statements = (1..=8).map(|n| statement(&name(n), &key(n), NOW + DAY, None)).collect();
    let at = serve(&world, NOTARY, QUERY, answer_of_notary(statements, &notary)).await;
    let keys = ring(&world, trusting(&notary)).await;
    let all: Vec<_> = (1..=8).map(|n| wanted(&name(n), &key(n), NOW)).collect();
    assert_eq!(keys.keys(&all).await.len(), 8);
    assert_eq!(at.count(QUERY), 1);
}

#[tokio::test]
async fn our_own_keys_need_nobody() {
    let world = World::new();
    let keys = ring(&world, Vec::new()).await;
    assert!(find(&keys, wanted(OURS, &our_key(), NOW)).await.is_some());
    assert_eq!(find(&keys, wanted(OURS, &key(3), NOW)).await, None);
}

#[tokio::test]
async fn signed_objects_are_checked() {
    let world = World::new();
    let theirs = key(1);
    serve_forever(&world, &theirs).await;
    let keys = ring(&world, Vec::new()).await;
    let mut object = Object::from([("a", 1_i64)]);
    let name = server(NAME);
    let missing = keys.verify_json(&name, &object, NOW).await;
    assert_eq!(missing, Err(NotSigned::Missing(NAME.to_owned())));
    theirs.sign_object(&mut object, NAME).unwrap();
    assert_eq!(keys.verify_json(&name, &object, NOW).await, Ok(()));
    let late = keys.verify_json(&name, &object, NOW + 8 * DAY).await;
    assert_eq!(late, Err(NotSigned::UnknownKey(NAME.to_owned())));
    object.insert("a", 2_i64);
    assert_eq!(keys.verify_json(&name, &object, NOW).await, Err(NotSigned::Invalid(NAME.to_owned())));
}

/// As [`serve`], kept up to the end of the test's runtime.
#[expect(clippy::mem_forget, reason = "the test's runtime ends it")]
async fn serve_forever(world: &World, theirs: &SigningKey) {
    let text = statement(NAME, theirs, NOW + DAY, None).to_json();
    std::mem::forget(serve(world, NAME, OWN_KEYS, text).await);
}

#[tokio::test]
async fn what_we_vouch_for_bears_both_signatures() {
    let world = World::new();
    let theirs = key(1);
    let at = serve(&world, NAME, OWN_KEYS, statement(NAME, &theirs, NOW + DAY, None).to_json()).await;
    let keys = ring(&world, Vec::new()).await;
    let name = server(NAME);
    for ask in [HashMap::new(), HashMap::from([(theirs.key_id().to_owned(), NOW)])] {
        let vouched = keys.vouch_for(&name, &ask, None).await.unwrap();
        let [vouched] = vouched.as_slice() else { panic!("{vouched:?}") };
        assert!(theirs.public_key().verify_object(vouched, NAME, theirs.key_id()));
        assert!(our_key().public_key().verify_object(vouched, OURS, our_key().key_id()));
        assert_eq!(at.count(OWN_KEYS), 1);
    }
    let unknown = HashMap::from([("ed25519:unknown".to_owned(), NOW)]);
    for _ in 0..2 {
        assert!(keys.vouch_for(&name, &unknown, None).await.unwrap().is_empty());
        assert_eq!(at.count(OWN_KEYS), 2);
    }
}
