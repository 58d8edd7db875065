//! Lies about the events on which an event depends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use plexus_http::JsonBody as Json;

use super::*;

use crate::client::room_path;

/// No event has this id.
fn nobodys(number: usize) -> String {
    let mut hash = [9; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    format!("${}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash))
}

fn answer(body: impl Into<Body>) -> Option<Response> {
    Some(Response::new(body.into()))
}

/// A body that comes so slowly that it never ends.
fn dripping() -> Body {
    let drip = async |mut every: tokio::time::Interval| {
        every.tick().await;
        Some((Ok::<_, std::io::Error>(bytes::Bytes::from_static(b" ")), every))
    };
    Body::from_stream(futures_util::stream::unfold(plexus_testkit::every(Duration::from_secs(1)), drip))
}

fn endless() -> Body {
    let piece = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 65_536]));
    Body::from_stream(futures_util::stream::repeat_with(piece))
}

/// The liar says something that follows what nobody has. Returns the text.
async fn says_what_follows_nothing(stage: &Stage, number: usize) -> String {
    let lie = stage.lie(|event| event["prev_events"] = stage.references(&[nobodys(number)])).await;
    stage.send(std::slice::from_ref(&lie)).await.ok();
    lie["content"]["body"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_holds_up_nobody_else() {
    for stage in Stage::on_each("11").await {
        let bodies: [fn() -> Body; 2] =
            [dripping, || Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>())];
        for (number, body) in bodies.into_iter().enumerate() {
            stage.liar.answers(move |_| Some(Response::new(body())));
            says_what_follows_nothing(&stage, number).await;
            let asked = stage.liar.peer.receives(|request| request.uri.contains("get_missing_events"));
            plexus_testkit::within(BOUND, asked).await.expect("it is asked");
            // While it is being waited for.
            stage.is_usable().await;
            stage.is_usable().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_instead_of_missing_events_harms_nobody() {
    for stage in Stage::on_each("11").await {
        let other_room = stage.lie(|event| event["room_id"] = json!("!other:test.example")).await;
        let unsigned = {
            let mut event = stage.lie(|_| {}).await;
            event["signatures"] = json!({});
            event
        };
        // A good event that nobody asked for.
        let unasked = stage.lie(|_| {}).await;
        let junk: Vec<Value> = vec![
            json!(null),
            json!([]),
            json!({}),
            json!("x"),
            json!({ "events": null }),
            json!({ "events": {} }),
            json!({ "events": [null, 1, "x", [], {}] }),
            json!({ "events": vec![unsigned.clone(); 1_000] }),
            json!({
                "events": [other_room, unsigned, unasked.clone()],
                "pdus": [unasked.clone()],
                "auth_chain": [unasked.clone()],
            }),
            json!({ "pdu_ids": [1], "auth_chain_ids": "x" }),
            json!({ "pdu_ids": ["x"], "auth_chain_ids": [] }),
            json!({ "pdu_ids": [], "auth_chain_ids": [], "pdus": [], "auth_chain": [], "events": [] }),
            json!({
                "pdu_ids": (0..5_000).map(nobodys).collect::<Vec<_>>(),
                "auth_chain_ids": [],
                "pdus": [],
                "auth_chain": [],
                "events": [],
            }),
        ];
        for (number, junk) in junk.into_iter().enumerate() {
            let body = junk.clone();
            stage.liar.answers(move |_| Some(Json(body.clone()).into_response()));
            let text = says_what_follows_nothing(&stage, number).await;
            stage.judged().await;
            let bodies = stage.bodies().await;
            assert!(!bodies.contains(&text), "{junk:.300}");
            assert!(!bodies.contains(&unasked["content"]["body"].as_str().unwrap().to_owned()), "{junk:.300}");
            stage.is_usable().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_other_kinds_are_failures() {
    for stage in Stage::on_each("11").await {
        let gzip = || {
            let mut response = Response::new(Body::from(&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..]));
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            response
        };
        let kinds: Vec<Answering> = vec![
            Box::new(move |_| Some(gzip())),
            Box::new(|uri| {
                // To itself, without end.
                Some((StatusCode::FOUND, [("location", uri.to_owned())]).into_response())
            }),
            Box::new(|_| Some((StatusCode::INTERNAL_SERVER_ERROR, endless()).into_response())),
            Box::new(|_| Some((StatusCode::OK, [("content-length", "1000")], "short").into_response())),
            Box::new(|_| Some((StatusCode::NO_CONTENT, "").into_response())),
            Box::new(|_| Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "99999999999")], "{}").into_response())),
        ];
        for (number, mut kind) in kinds.into_iter().enumerate() {
            stage.liar.answers(move |uri| kind(uri));
            let before = stage.liar.peer.received().len();
            let text = says_what_follows_nothing(&stage, number).await;
            plexus_testkit::within(BOUND, stage.judged()).await.expect("it is judged in time");
            assert!(!stage.bodies().await.contains(&text));
            let asked = stage.liar.peer.received().len() - before;
            assert!(asked < 40, "asked {asked} times");
            stage.is_usable().await;
        }
    }
}

/// The most bytes of one answer that the two kernels hold beyond what was read of it (`tcp_wmem` and `tcp_rmem`).
const MAX_SOCKET_BUFFERS: usize = 48 * 1024 * 1024;

/// An endless answer: the path that was asked for, and how many bytes were sent.
struct Endless {
    path: String,
    sent: Arc<AtomicUsize>,
}

/// The endpoint in a path below `/_matrix/federation/v1`, and the most bytes that are read of its answers.
fn bound_of(path: &str) -> (&str, usize) {
    let endpoint = path.split('/').nth(4).unwrap_or_default();
    let bound = match endpoint {
        "send" => 1024 * 1024,
        // 20 and 100 events.
        "get_missing_events" => 21 * 70_000,
        "backfill" => 101 * 70_000,
        "state_ids" => 32 * 1024 * 1024,
        other => panic!("nobody needs {other}"),
    };
    (endpoint, bound)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_off() {
    for stage in Stage::on_each("11").await {
        let answers: Arc<Mutex<Vec<Endless>>> = Arc::default();
        let record = Arc::clone(&answers);
        stage.liar.answers(move |path| {
            let sent = Arc::new(AtomicUsize::new(0));
            record.lock().push(Endless { path: path.to_owned(), sent: Arc::clone(&sent) });
            let piece = move || {
                sent.fetch_add(65_536, Ordering::Relaxed);
                Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 65_536]))
            };
            answer(Body::from_stream(futures_util::stream::repeat_with(piece)))
        });
        let text = says_what_follows_nothing(&stage, 1).await;
        stage.is_usable().await;
        stage.judged().await;
        assert!(!stage.bodies().await.contains(&text));
        let mut calls: HashMap<&str, usize> = HashMap::new();
        let answers = answers.lock();
        for Endless { path, sent } in answers.iter() {
            let (endpoint, bound) = bound_of(path);
            let sent = sent.load(Ordering::Relaxed);
            assert!(sent < bound + MAX_SOCKET_BUFFERS, "{sent} bytes were read of the answer to {path}");
            *calls.entry(endpoint).or_default() += 1;
        }
        // What failed is tried again after a while; each attempt asks each question once.
        let attempts = calls["get_missing_events"];
        assert!(calls["backfill"] <= attempts && calls["state_ids"] <= attempts, "{calls:?}");
    }
}

/// Messages each of which follows the one before; the first follows what nobody has.
async fn chain(stage: &Stage, length: usize) -> Vec<Value> {
    let template = stage.template(&stage.liar.mallory).await;
    let mut prev = nobodys(0);
    let mut chain = Vec::with_capacity(length);
    for number in 0..length {
        let mut event = template.clone();
        event["prev_events"] = stage.references(&[prev]);
        event["depth"] = json!(1_000 + number);
        event["content"]["body"] = json!(format!("chain {number}"));
        let event = forge(event, stage.version, &stage.liar.peer);
        prev = id_of(&event, stage.version);
        chain.push(event);
    }
    chain
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_without_an_end_is_not_followed_for_ever() {
    for stage in Stage::on_each("11").await {
        let chain = Arc::new(chain(&stage, 2_600).await);
        let (events, mut upto) = (Arc::clone(&chain), chain.len() - 1);
        // Whatever is asked, it hands out the next older events.
        stage.liar.answers(move |uri| {
            let count = if uri.contains("get_missing_events") { 20 } else { 100 };
            if !uri.contains("get_missing_events") && !uri.contains("/backfill/") {
                return None;
            }
            let from = upto.saturating_sub(count);
            let events = events.get(from..upto).unwrap_or_default().to_vec();
            upto = from;
            Some(Json(json!({ "events": events, "pdus": events })).into_response())
        });
        stage.send(&chain[chain.len() - 1..]).await.ok();
        stage.is_usable().await;
        plexus_testkit::within(Duration::from_secs(120), stage.judged()).await.expect("it ends");
        let asked = stage.liar.asked("get_missing_events") + stage.liar.asked("/backfill/");
        assert!(asked <= 30, "asked {asked} times");
        // Nobody returned the state at the end that was reached.
        assert!(!stage.bodies().await.iter().any(|body| body.starts_with("chain")));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_chain_without_an_end_is_not_followed() {
    for stage in Stage::on_each("11").await {
        let (key, name) = (stage.liar.peer.key().clone(), stage.liar.peer.name().as_str().to_owned());
        let version = stage.version;
        let template = stage.template(&stage.liar.mallory).await;
        let mut number = 0;
        // Whatever is asked for, the answer rests on something else.
        stage.liar.answers(move |uri| {
            let mut event = |auth: String| {
                number += 1;
                let mut event = template.clone();
                event["type"] = json!("m.room.power_levels");
                event["state_key"] = json!("");
                event["content"] = json!({ "users": {}, "number": number });
                event["auth_events"] = json!([auth]);
                signed_by(event, version, &key, &name)
            };
            let events: Vec<Value> = (0..50).map(|at| event(nobodys(at))).collect();
            let body =
                if uri.contains("/event_auth/") { json!({ "auth_chain": events }) } else { json!({ "pdus": events }) };
            Some(Json(body).into_response())
        });
        let mut texts = Vec::new();
        for number in 0..5 {
            let lie = stage.lie(|event| event["auth_events"] = json!([nobodys(number)])).await;
            stage.send(std::slice::from_ref(&lie)).await.ok();
            texts.push(lie["content"]["body"].as_str().unwrap().to_owned());
        }
        stage.is_usable().await;
        stage.judged().await;
        let bodies = stage.bodies().await;
        assert!(texts.iter().all(|text| !bodies.contains(text)), "{bodies:?}");
        let asked = stage.liar.asked("/event_auth/") + stage.liar.asked("/v1/event/");
        assert!(asked <= 20, "asked {asked} times");
    }
}

/// Messages each of which follows what nobody has, from number `from` on.
async fn loose(stage: &Stage, from: usize, count: usize) -> Vec<Value> {
    let template = stage.template(&stage.liar.mallory).await;
    let event = |number: usize| {
        let mut event = template.clone();
        event["prev_events"] = stage.references(&[nobodys(number)]);
        event["content"]["body"] = json!(format!("loose {number}"));
        forge(event, stage.version, &stage.liar.peer)
    };
    (from..from + count).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_few_states_however_many_it_could() {
    // A state that is small counts for less, one that only seems so does not.
    for (made_up, most) in [(0, 52), (1_000, 12)] {
        for stage in Stage::on_each("11").await {
            let ids: Vec<Value> = stage.state().await.iter().map(|event| event["event_id"].clone()).collect();
            let chain: Vec<String> = (0..made_up).map(|number| nobodys(1_000_000 + number)).collect();
            stage.liar.answers(move |uri| {
                let body = json!({ "pdu_ids": ids, "auth_chain_ids": chain, "events": [], "pdus": [] });
                (!uri.contains("/v1/event/")).then(|| Json(body).into_response())
            });
            for number in 0..3 {
                stage.send(&loose(&stage, 1_000 * number, 50).await).await.ok();
            }
            stage.is_usable().await;
            stage.judged().await;
            let asked = stage.liar.asked("/state_ids/");
            assert!((1..=most).contains(&asked), "asked {asked} times");
            // What it returned was good, and is there.
            assert!(stage.bodies().await.iter().any(|body| body.starts_with("loose")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_events_wait_is_asked_to_come_back() {
    for stage in Stage::on_each("11").await {
        stage.liar.answers(|_| Some(Response::new(dripping())));
        let mut refused = None;
        for number in 0..60 {
            let sent = stage.send(&loose(&stage, 1_000 * number, 50).await).await;
            if sent.status != 200 {
                refused = Some((number, sent));
                break;
            }
        }
        let (taken, sent) = refused.expect("some are refused");
        assert_eq!((taken, sent.refusal()), (40, (429, "M_LIMIT_EXCEEDED")));
        assert!(sent.body["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{sent:?}");
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_hides_a_ban_is_not_believed_over_the_rooms_own() {
    for stage in Stage::on_each("11").await {
        let state = stage.state().await;
        let ids: Vec<Value> = state.iter().map(|event| event["event_id"].clone()).collect();
        let template = stage.template(&stage.liar.mallory).await;
        let ban = json!({ "user_id": stage.liar.mallory });
        stage.server.post(&room_path(&stage.room, "ban"), &stage.alice.token, ban).await.ok();
        let create = ids
            .iter()
            .find(|id| state.iter().any(|event| event["event_id"] == **id && event["type"] == "m.room.create"));
        let states = [
            // As if there had been no ban; and without the create event, power levels or anything at all.
            ids.clone(),
            ids.iter().filter(|id| Some(*id) != create).cloned().collect(),
            create.into_iter().cloned().collect(),
            Vec::new(),
            [ids.clone(), ids.clone()].concat(),
        ];
        let before = untouched(&stage).await;
        for (number, state) in states.into_iter().enumerate() {
            let body = json!({ "pdu_ids": state, "auth_chain_ids": ids, "events": [], "pdus": [], "auth_chain": [] });
            stage.liar.answers(move |_| Some(Json(body.clone()).into_response()));
            let mut event = template.clone();
            event["prev_events"] = stage.references(&[nobodys(number)]);
            let text = unique_name();
            event["content"]["body"] = json!(text);
            stage.send(&[forge(event.clone(), stage.version, &stage.liar.peer)]).await.ok();
            // A topic that only the powerful may set.
            event["type"] = json!("m.room.topic");
            event["state_key"] = json!("");
            event["content"] = json!({ "topic": "lie" });
            stage.send(&[forge(event, stage.version, &stage.liar.peer)]).await.ok();
            let asked = stage
                .liar
                .peer
                .receives(|request| request.uri.contains(&nobodys(number)[1..]) || request.uri.contains("state_ids"));
            plexus_testkit::within(BOUND, asked).await.expect("the state is asked for");
            stage.is_usable().await;
            assert!(!stage.bodies().await.contains(&text), "{number}");
            assert_eq!(untouched(&stage).await, before, "{number}");
        }
        let member = federation::membership(&stage.server, &stage.alice, &stage.room, &stage.liar.mallory).await;
        assert_eq!(member.as_deref(), Some("ban"));
    }
}

/// The part of the state that the liar must not change.
async fn untouched(stage: &Stage) -> Vec<Value> {
    let mut ids: Vec<Value> = stage.state().await.iter().map(|event| event["event_id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    ids
}
