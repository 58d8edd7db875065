//! Servers that fail are backed off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use plexus_net::{Call, CameBack, FederationClient, FederationError, Patience};
use plexus_store::DbError;
use plexus_store::repo::destinations;
use plexus_testkit::databases;

use crate::support::{A, NOW, Server, World, get, json, server, status};

const MINUTES_10: u64 = 600_000;

fn background() -> Call {
    get("/").patience(Patience::Background)
}

fn until(result: Result<bytes::Bytes, FederationError>) -> u64 {
    match result {
        Err(FederationError::BackingOff { until_ms, .. }) => until_ms,
        other => panic!("not backing off: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_fails_is_backed_off_for_longer_each_time_also_after_a_restart() {
    for db in databases() {
        let mut world = World::on(db);
        let name = server("down.example:5");
        world.knows(&name).await;
        let client = world.client().await;
        client.call(&name, background()).await.unwrap_err();
        assert_eq!(until(client.call(&name, background()).await), NOW + MINUTES_10);
        assert_eq!(client.backing_off_until(&name), Some(NOW + MINUTES_10));

        world.place.reopen().await;
        let client = world.client().await;
        assert_eq!(until(client.call(&name, background()).await), NOW + MINUTES_10);

        world.clock.advance(Duration::from_millis(MINUTES_10));
        assert_eq!(client.backing_off_until(&name), None);
        client.call(&name, background()).await.unwrap_err();
        let pause = until(client.call(&name, background()).await) - world.clock.now_ms();
        assert!((2 * MINUTES_10 * 8 / 10..=2 * MINUTES_10 * 14 / 10).contains(&pause), "{pause}");
        for _ in 0..30 {
            world.clock.advance(Duration::from_secs(7 * 86_400));
            client.call(&name, background()).await.unwrap_err();
        }
        let pause = client.backing_off_until(&name).unwrap() - world.clock.now_ms();
        assert_eq!(pause, 7 * 86_400_000);
    }
}

#[tokio::test]
async fn made_up_names_are_backed_off_and_leave_nothing_behind() {
    for db in databases() {
        let world = World::on(db);
        let known = server("known.example:5");
        world.knows(&known).await;
        let keys = crate::keys::ring(&world, Vec::new()).await;
        let client = world.client().await;
        let stored = async || -> Vec<String> {
            let rows: Result<_, DbError> = world.db().read(destinations::failing).await;
            rows.unwrap().into_iter().map(|row| row.server_name).collect()
        };
        for number in 0..1_000 {
            let name = server(&format!("n{number}.example:5"));
            match number % 3 {
                0 => drop(client.call(&name, get("/")).await.unwrap_err()),
                1 => assert!(keys.vouch_for(&name, &HashMap::new(), None).await.unwrap().is_empty()),
                _ => assert!(keys.keys_of_request(&name, &["ed25519:1"].into(), None).await.unwrap().is_empty()),
            }
        }
        assert_eq!(stored().await, [""; 0]);
        let name = server("n0.example:5");
        assert_eq!(until(client.call(&name, background()).await), NOW + MINUTES_10);
        client.call(&known, background()).await.unwrap_err();
        assert_eq!(stored().await, ["known.example:5"]);
        // Once it turns out that there is such a server, its failures are kept like anybody's.
        world.knows(&name).await;
        world.clock.advance(Duration::from_millis(MINUTES_10));
        client.call(&name, background()).await.unwrap_err();
        assert_eq!(stored().await.len(), 2);
    }
}

#[tokio::test]
async fn a_user_who_waits_is_let_through_and_does_not_prolong_the_backoff() {
    let world = World::new();
    let up = Arc::new(AtomicBool::new(false));
    let up_now = Arc::clone(&up);
    let _at = world.serve(move |_| if up_now.load(Ordering::SeqCst) { json("{}") } else { status(502, "{}") }).await;
    let name = server(A);
    let client = world.client().await;
    client.call(&name, background()).await.unwrap_err();
    client.call(&name, get("/")).await.unwrap_err();
    assert_eq!(client.backing_off_until(&name), Some(NOW + MINUTES_10));
    up.store(true, Ordering::SeqCst);
    client.call(&name, background()).await.unwrap_err();
    client.call(&name, get("/")).await.unwrap();
    client.call(&name, background()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_talks_to_us_is_not_left_alone_any_longer() {
    let mut world = World::new();
    let name = server("down.example:5");
    world.knows(&name).await;
    let client = world.client().await;
    client.call(&name, background()).await.unwrap_err();
    client.heard_from(&name);
    assert_eq!(client.backing_off_until(&name), None);
    assert_eq!(client.came_back().await, CameBack { server: name.clone(), is_up: true });
    // The write that followed is in the database's queue before it closes.
    tokio::task::yield_now().await;
    world.place.reopen().await;
    assert_eq!(world.client().await.backing_off_until(&name), None);
}

#[tokio::test]
async fn a_server_worth_trying_again_is_returned_once() {
    let world = World::new();
    let client = world.client().await;
    let names = [server(A), server("b.example:5")];
    client.call(&names[0], background()).await.unwrap_err();
    world.clock.advance(Duration::from_secs(60));
    client.call(&names[1], background()).await.unwrap_err();
    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { (client.came_back().await, client.came_back().await) }
    });
    world.clock.advance(Duration::from_secs(540));
    world.clock.advance(Duration::from_secs(60));
    let due = names.map(|server| CameBack { server, is_up: false });
    assert_eq!(waiting.await.unwrap(), due.into());
    // Nothing more: not one of them has failed again.
    assert_eq!(client.came_back().now_or_never(), None);
}

#[tokio::test]
async fn a_request_is_tried_again_as_often_as_its_patience_says() {
    let mut world = World::new();
    world.settings.retries.short = 2;
    world.settings.retries.long = 4;
    let at = Server::start(&world.authority, &["a.example"], |_| status(503, "{}")).await;
    for (patience, tries) in [(Patience::Now, 3), (Patience::Background, 3), (Patience::Persistent, 3)] {
        let name = format!("{}.example:5", format!("{patience:?}").to_lowercase());
        world.names.every_host(at.address);
        world.http.tls.verify = false;
        let path = format!("/{patience:?}");
        world.client().await.call(&server(&name), get(path.as_str()).patience(patience)).await.unwrap_err();
        assert_eq!(at.count(&path), tries);
        let impatient = get(path.as_str()).timeout(Duration::from_secs(60));
        world.client().await.call(&server(&name), impatient).await.unwrap_err();
        assert_eq!(at.count(&path), tries + 1);
    }
}

#[tokio::test]
async fn a_delivery_is_tried_again_within_minutes_before_its_destination_is_left_alone() {
    let mut world = World::new();
    world.settings.retries.long = 3;
    world.settings.retries.long_delay = Duration::from_secs(20);
    let at = world.serve(|_| status(503, "{}")).await;
    let name = server(A);
    let client = world.client().await;
    let deliver = async || client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
    let due = CameBack { server: name.clone(), is_up: false };

    for (tried, seconds) in [(1, 4_u64), (2, 16), (3, 20)] {
        deliver().await;
        assert_eq!(at.count("/"), tried);
        assert!(client.is_retried(&name) && client.will_be_retried(&name));
        assert_eq!(client.backing_off_until(&name), None);
        // The pause is longer or shorter by chance: by a fifth at least, by two fifths at most.
        world.clock.advance(Duration::from_millis(seconds * 790));
        assert_eq!(client.came_back().now_or_never(), None);
        world.clock.advance(Duration::from_millis(seconds * 610));
        assert_eq!(client.came_back().now_or_never(), Some(due.clone()));
        assert!(client.is_retried(&name) && !client.will_be_retried(&name));
    }
    deliver().await;
    assert!(!client.is_retried(&name) && !client.will_be_retried(&name));
    assert_eq!(client.backing_off_until(&name), Some(world.clock.now_ms() + MINUTES_10));
    assert!(matches!(deliver().await, FederationError::BackingOff { .. }));
    assert_eq!(at.count("/"), 4);
}

#[tokio::test]
async fn a_server_with_too_many_requests_is_not_asked_again_until_it_says() {
    for (header, body, seconds) in [
        (Some("100"), "{}", 100),
        (Some("100"), r#"{"retry_after_ms":5000}"#, 100),
        (None, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":50000}"#, 50),
        (Some("99999999"), "{}", 3_600),
        (None, "{}", 4),
    ] {
        let mut world = World::new();
        world.settings.retries.short = 3;
        world.settings.retries.long = 2;
        world.settings.retries.long_delay = Duration::from_secs(20);
        let at = world
            .serve(move |_| {
                let mut answer = status(429, body);
                answer.headers_mut().extend(header.map(|value| (RETRY_AFTER, HeaderValue::from_static(value))));
                answer
            })
            .await;
        let name = server(A);
        let client = world.client().await;
        client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
        assert_eq!(at.count("/"), 1);
        world.clock.advance(Duration::from_millis(seconds * 790));
        assert_eq!(client.came_back().now_or_never(), None);
        world.clock.advance(Duration::from_millis(seconds * 610));
        assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name, is_up: false }));
    }
}

#[tokio::test]
async fn a_server_that_asks_for_fewer_deliveries_again_and_again_is_open_to_all_other_requests() {
    let mut world = World::new();
    world.settings.retries.long = 2;
    world.settings.retries.long_delay = Duration::from_secs(20);
    let at = world.serve(|seen| if seen.path == "/send" { status(429, "{}") } else { json("{}") }).await;
    let name = server(A);
    let client = world.client().await;
    for tried in 1..10 {
        client.call(&name, get("/send").patience(Patience::Persistent)).await.unwrap_err();
        assert_eq!(at.count("/send"), tried);
        assert_eq!(client.backing_off_until(&name), None);
        assert!(client.will_be_retried(&name));
        world.clock.advance(Duration::from_secs(28));
        assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: false }));
    }
    client.call(&name, background()).await.unwrap();
}

#[tokio::test]
async fn a_delivery_goes_on_although_something_else_that_was_asked_failed() {
    let mut world = World::new();
    world.settings.retries.long = 2;
    world.settings.retries.long_delay = Duration::from_secs(20);
    let _at = world.serve(|_| status(503, "{}")).await;
    let name = server(A);
    let client = world.client().await;
    let persistent = || get("/").patience(Patience::Persistent);
    client.call(&name, persistent()).await.unwrap_err();
    client.call(&name, background()).await.unwrap_err();
    assert!(client.backing_off_until(&name).is_some() && client.is_retried(&name));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: false }));
    assert_eq!(client.call(&name, persistent()).await.unwrap_err().status().map(|it| it.as_u16()), Some(503));

    // It talks to us: it is worth a try at once, and nothing is left of what was due.
    client.heard_from(&name);
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: true }));
    assert!(!client.is_retried(&name) && client.backing_off_until(&name).is_none());
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(client.came_back().now_or_never(), None);
}

#[tokio::test]
async fn a_server_that_talks_to_us_while_deliveries_to_it_fail_is_tried_at_once_and_then_as_others() {
    let mut world = World::new();
    world.settings.retries.long = 2;
    world.settings.retries.long_delay = Duration::from_secs(20);
    let name = server(A);
    let ours: Arc<OnceLock<Arc<FederationClient>>> = Arc::default();
    let (hears, origin) = (Arc::clone(&ours), name.clone());
    let _at = world
        .serve(move |_| {
            hears.get().unwrap().heard_from(&origin);
            status(503, "{}")
        })
        .await;
    let client = world.client().await;
    assert!(ours.set(Arc::clone(&client)).is_ok());
    client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
    assert!(client.will_be_retried(&name) && client.backing_off_until(&name).is_none());
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: true }));
    assert!(!client.will_be_retried(&name));

    client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
    assert!(client.will_be_retried(&name) && client.backing_off_until(&name).is_none());
    client.heard_from(&name);
    world.clock.advance(Duration::from_secs(12));
    assert_eq!(client.came_back().now_or_never(), None);
    world.clock.advance(Duration::from_secs(12));
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: false }));
    client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
    assert!(!client.is_retried(&name) && client.backing_off_until(&name).is_some());
}

#[tokio::test]
async fn a_delivery_that_waits_to_be_tried_at_once_is_not_forgotten_when_something_else_fails() {
    let mut world = World::new();
    world.settings.retries.long = 2;
    let name = server(A);
    let ours: Arc<OnceLock<Arc<FederationClient>>> = Arc::default();
    let (hears, origin) = (Arc::clone(&ours), name.clone());
    let _at = world
        .serve(move |_| {
            hears.get().unwrap().heard_from(&origin);
            status(503, "{}")
        })
        .await;
    let client = world.client().await;
    assert!(ours.set(Arc::clone(&client)).is_ok());
    client.call(&name, get("/").patience(Patience::Persistent)).await.unwrap_err();
    client.call(&name, background()).await.unwrap_err();
    client.heard_from(&name);
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: true }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_during_a_delivery_shows_that_the_server_is_up() {
    let mut world = World::new();
    world.settings.retries.long = 2;
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = parking_lot::Mutex::new(may_go_on);
    let _at = world
        .serve(move |seen| match seen.path.as_str() {
            "/delivery" => {
                arrived.send(()).unwrap();
                tokio::task::block_in_place(|| may_go_on.lock().recv().unwrap());
                status(503, "{}")
            }
            _ => json("{}"),
        })
        .await;
    let name = server(A);
    let client = world.client().await;
    let delivery = tokio::spawn({
        let (client, name) = (Arc::clone(&client), name.clone());
        async move { client.call(&name, get("/delivery").patience(Patience::Persistent)).await }
    });
    has_arrived.recv().await.unwrap();
    client.call(&name, get("/query")).await.unwrap();
    go_on.send(()).unwrap();
    delivery.await.unwrap().unwrap_err();
    assert_eq!(client.came_back().now_or_never(), Some(CameBack { server: name.clone(), is_up: true }));
}
