//! A client that sends what other servers cannot read, and servers that refuse what they are sent: everybody else's
//! messages arrive, each once and in order.

mod refusals;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;
use plexus_base::Clock;
use plexus_store::{Database, DbError, Tx, repo};

use super::*;
use crate::federation::away::{Transaction, bodies, say};

/// Servers that fail are tried again after a second, and within one try once.
const IMPATIENT: &str = "federation: {destination_min_retry_interval: 1s, destination_max_retry_interval: 1s, \
                         destination_retry_multiplier: 1, max_short_retries: 0, max_long_retries: 0}";

/// JSON that somebody cannot read.
fn unreadable() -> [String; 3] {
    let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(600), "]".repeat(600));
    [nested, r#"{"a":1e999}"#.to_owned(), format!(r#"{{"a":{}}}"#, "9".repeat(5_000))]
}

/// Sends `text` as the body of a request.
async fn send_text(server: &TestServer, user: &TestUser, method: Method, path: &str, text: &str) -> Answer {
    let headers = [("Content-Type", "application/json")];
    let body = Bytes::copy_from_slice(text.as_bytes());
    server.send(method, path, Some(&user.token), &headers, body).await
}

/// Sends `text` as the body of a PUT.
async fn put_text(server: &TestServer, user: &TestUser, path: &str, text: &str) -> Answer {
    send_text(server, user, Method::PUT, path, text).await
}

/// Sends messages to devices; `contents` by user.
async fn send_to(server: &TestServer, user: &TestUser, path: &str, contents: &[(&str, &str)]) -> Answer {
    let messages: Vec<String> = contents.iter().map(|(to, content)| format!(r#""{to}":{{"*":{content}}}"#)).collect();
    let body = format!(r#"{{"messages":{{{}}}}}"#, messages.join(","));
    put_text(server, user, &format!("{CLIENT}/sendToDevice/{path}"), &body).await
}

/// The content of an `m.direct_to_device` EDU, which need not be JSON.
fn message(id: &str, (from, to): (&str, &str), event_type: &str, content: &str) -> String {
    let messages = format!(r#"{{"{to}":{{"*":{content}}}}}"#);
    format!(r#"{{"message_id":"{id}","messages":{messages},"sender":"{from}","type":"{event_type}"}}"#)
}

/// The contents of the `m.direct_to_device` EDUs in transactions that were taken.
fn to_device(transactions: &[Transaction]) -> Vec<Value> {
    let taken = transactions.iter().filter(|it| it.taken);
    let edus = taken.flat_map(|it| it.body["edus"].as_array().unwrap());
    edus.filter(|edu| edu["edu_type"] == "m.direct_to_device").map(|edu| edu["content"].clone()).collect()
}

/// The numbers in the messages that arrived for Bob's devices.
fn numbers(transactions: &[Transaction], bob: &str) -> Vec<u64> {
    to_device(transactions).iter().filter_map(|content| content["messages"][bob]["*"]["n"].as_u64()).collect()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    plexus_testkit::within(2 * BOUND, what).await.expect("it must come through")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_somebody_cannot_read_are_refused_whole() {
    for server in TestServer::on_each().await {
        let (alice, carol) = (server.register("alice").await, server.register("carol").await);
        let away = Away::start().await;
        let since = server.get(&format!("{CLIENT}/sync"), &carol.token).await.ok()["next_batch"].clone();
        let mut bad = unreadable().to_vec();
        bad.extend(["{\"a\":1.5}", "{\"a\":9007199254740992}", "[]", "\"text\""].map(str::to_owned));
        for content in &bad {
            for to in [&away.bob, &carol.id] {
                let messages = [(to.as_str(), content.as_str()), ("@other:elsewhere", "{}")];
                let answer = send_to(&server, &alice, "m.test/1", &messages).await;
                assert_eq!(answer.refusal(), (400, "M_BAD_JSON"), "{content:.60}");
            }
        }
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(65_500));
        for to in [&away.bob, &carol.id] {
            let answer = send_to(&server, &alice, "m.test/1", &[(to, &large)]).await;
            assert_eq!(answer.refusal(), (413, "M_TOO_LARGE"));
            let path = format!("{}/1", "t".repeat(256));
            assert_eq!(send_to(&server, &alice, &path, &[(to, "{}")]).await.refusal(), (413, "M_TOO_LARGE"));
            let path = format!("{}/1", "t".repeat(40_000));
            let status = send_to(&server, &alice, &path, &[(to, "{}")]).await.status;
            assert!((400..500).contains(&status), "{status}");
        }
        // Nothing of it was stored, the transaction id neither.
        let good = [(away.bob.as_str(), r#"{"n":1}"#), (carol.id.as_str(), r#"{ "n" : 1, "e": "\u00e9" }"#)];
        send_to(&server, &alice, "m.test/1", &good).await.ok();
        let there = |answer: &Value| answer["to_device"]["events"].is_array();
        let seen = within(synced(&server, &carol, since.as_str().unwrap(), there)).await;
        let expected = json!([{ "type": "m.test", "sender": alice.id, "content": { "n": 1, "e": "é" } }]);
        assert_eq!(seen["to_device"]["events"], expected);
        let arrived = within(away.until(|transactions| !to_device(transactions).is_empty())).await;
        assert_eq!(numbers(&arrived, &away.bob), [1]);
        assert_eq!(to_device(&arrived).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_keys_that_somebody_cannot_read_are_refused() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(110), "]".repeat(110));
        for version in ["5", "11"] {
            let room = federation::public_room(&server, &alice, version).await;
            for content in unreadable().iter().chain([&deep]) {
                let path = format!("{CLIENT}/rooms/{room}/send/m.test/{}", unique_name());
                let answer = put_text(&server, &alice, &path, content).await;
                assert_eq!(answer.refusal().0, 400, "{version} {content:.60}: {answer:?}");
                let path = format!("{CLIENT}/rooms/{room}/state/m.test/key");
                assert_eq!(put_text(&server, &alice, &path, content).await.refusal().0, 400, "{version} {content:.60}");
            }
        }
        for bad in ["1.5", "9007199254740992", &format!("{}1{}", "[".repeat(110), "]".repeat(110))] {
            let whose = format!(r#""user_id":"{}","device_id":"{}""#, alice.id, alice.device_id);
            let keys = format!(r#"{{{whose},"algorithms":[],"keys":{{}},"signatures":{{}},"x":{bad}}}"#);
            let keys = format!(r#"{{"device_keys":{keys}}}"#);
            let one_time = format!(r#"{{"one_time_keys":{{"signed_curve25519:A":{{"key":"k","x":{bad}}}}}}}"#);
            for body in [keys, one_time] {
                let headers = [("Content-Type", "application/json")];
                let path = format!("{CLIENT}/keys/upload");
                let answer = server.send(Method::POST, &path, Some(&alice.token), &headers, body.into()).await;
                assert_eq!(answer.refusal(), (400, "M_BAD_JSON"), "{bad:.60}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_queued_unchecked_delay_nothing() {
    for place in plexus_testkit::places() {
        let options = place.options().clone();
        let mut server = TestServer::on(place).config(IMPATIENT).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        server.stop().await;
        // More than any server takes at once, and in between what none can read.
        let (bob, sender) = (away.bob.clone(), alice.id.clone());
        let name = away.peer.name().to_string();
        let queue = move |tx: &mut Tx<'_>| {
            let padding = "x".repeat(65_000);
            let bad = unreadable();
            for number in 0..230 {
                let edu = |event_type: &str, content: &str| {
                    let (bob, sender) = (bob.clone(), sender.clone());
                    let (event_type, content) = (event_type.to_owned(), content.to_owned());
                    move |position: i64| message(&position.to_string(), (&sender, &bob), &event_type, &content)
                };
                if number % 23 == 0 {
                    for content in bad.iter().map(String::as_str).chain(["{", ""]) {
                        repo::federation_out::add_to_device(tx, &name, 1, edu("m.test", content))?;
                    }
                    repo::federation_out::add_to_device(tx, &name, 1, edu(&"t".repeat(40_000), r#"{"t":1}"#))?;
                }
                let content = format!(r#"{{"n":{number},"p":"{padding}"}}"#);
                repo::federation_out::add_to_device(tx, &name, 1, edu("m.test", &content))?;
            }
            Ok::<_, DbError>(())
        };
        let database = tokio::task::spawn_blocking(move || Database::open(&options).unwrap()).await.unwrap();
        database.write(queue).await.unwrap();
        database.close().await;
        drop(database);
        let long = |body: &Value| {
            let edus = body["edus"].as_array().unwrap();
            edus.iter().any(|edu| edu["content"]["type"].as_str().is_some_and(|it| it.len() > 255))
        };
        away.refuse(move |body| long(body).then_some(StatusCode::BAD_REQUEST));
        server.restart().await;
        say(&server, &alice, &room, "later").await;
        let all = |transactions: &[Transaction]| {
            numbers(transactions, &away.bob).len() >= 230 && !bodies(transactions).is_empty()
        };
        let transactions = within(away.until(all)).await;
        assert_eq!(numbers(&transactions, &away.bob), (0..230).collect::<Vec<_>>());
        assert_eq!(bodies(&transactions), ["later"]);
        let largest = transactions.iter().map(|it| it.body.to_string().len()).max();
        assert!(largest < Some(1_100_000), "{largest:?}");
        let alone = transactions.iter().filter(|it| !it.taken).map(|it| it.body["edus"].as_array().unwrap().len());
        assert!(alone.min() == Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_pieces_are_set_aside_and_everything_else_arrives() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(IMPATIENT).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let mut expected = Vec::new();
        for (round, status) in [400, 413, 401].into_iter().enumerate() {
            let status = StatusCode::from_u16(status).unwrap();
            // What waits goes into one transaction.
            away.fail(true);
            for number in 0..20 {
                let (n, body) = (100 * round + number, format!("{round} {number}"));
                let poison = number % 8 == 3;
                let text = if poison { format!("poison {body}") } else { body.clone() };
                let content = format!(r#"{{"n":{n},"text":"{text}"}}"#);
                let path = format!("m.test/{}", unique_name());
                send_to(&server, &alice, &path, &[(&away.bob, &content)]).await.ok();
                say(&server, &alice, &room, &text.replace(' ', "_")).await;
                if !poison {
                    expected.push((n as u64, body.replace(' ', "_")));
                }
            }
            let refused = |transactions: &[Transaction]| transactions.last().is_some_and(|it| !it.taken);
            within(away.until(refused)).await;
            away.refuse(move |body| body.to_string().contains("poison").then_some(status));
            away.fail(false);
            let all = |transactions: &[Transaction]| {
                let last = expected.last().map(|(_, body)| body);
                let to_device = numbers(transactions, &away.bob).len();
                bodies(transactions).last() == last && to_device == expected.len()
            };
            let transactions = within(away.until(all)).await;
            let (messages, events): (Vec<u64>, Vec<String>) = expected.iter().cloned().unzip();
            assert_eq!(numbers(&transactions, &away.bob), messages, "{status}");
            assert_eq!(bodies(&transactions), events, "{status}");
        }
        // Other content, another id; the same id, the same content.
        let transactions = away.until(|_| true).await;
        let parts = |it: &Transaction| (it.id.clone(), it.body["pdus"].to_string(), it.body["edus"].to_string());
        let distinct: BTreeSet<_> = transactions.iter().map(parts).collect();
        let ids: BTreeSet<&str> = transactions.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(distinct.len(), ids.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_many_devices_are_split_into_edus_of_64_kib() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let users: Vec<String> = (0..5).map(|user| away.peer.user(&format!("user{user}"))).collect();
        let devices = |user: &str| -> serde_json::Map<String, Value> {
            let content = |device: usize| json!({ "for": format!("{user} D{device}"), "p": "x".repeat(2_000) });
            (0..60).map(|device| (format!("D{device}"), content(device))).collect()
        };
        let messages: serde_json::Map<String, Value> =
            users.iter().map(|user| (user.clone(), devices(user).into())).collect();
        let path = format!("{CLIENT}/sendToDevice/m.test/1");
        away.fail(true);
        server.put(&path, &alice.token, json!({ "messages": messages })).await.ok();
        within(away.until(|transactions| !transactions.is_empty())).await;
        away.fail(false);
        let got = |transactions: &[Transaction]| -> Vec<String> {
            let contents = to_device(transactions);
            let by_user = contents.iter().flat_map(|content| content["messages"].as_object().unwrap().values());
            let mut all: Vec<String> = by_user
                .flat_map(|devices| devices.as_object().unwrap().values())
                .map(|content| content["for"].as_str().unwrap().to_owned())
                .collect();
            all.sort();
            all
        };
        let transactions = within(away.until(|transactions| got(transactions).len() >= 300)).await;
        let mut expected: Vec<String> =
            users.iter().flat_map(|user| (0..60).map(move |device| format!("{user} D{device}"))).collect();
        expected.sort();
        assert_eq!(got(&transactions), expected);
        let edus = to_device(&transactions);
        let ids: BTreeSet<&str> = edus.iter().map(|content| content["message_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), edus.len());
        let sizes: Vec<usize> = edus.iter().map(|content| content.to_string().len()).collect();
        assert!(sizes.iter().all(|size| *size < 65_536) && sizes.len() > 8, "{sizes:?}");
        // What was sent before it failed was the same under the same id.
        let refused = transactions.iter().find(|it| !it.taken).unwrap();
        let taken = transactions.iter().find(|it| it.taken && it.id == refused.id).unwrap();
        assert_eq!(taken.body["edus"], refused.body["edus"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_a_device_come_in_parts() {
    for server in TestServer::on_each().await {
        let (alice, carol) = (server.register("alice").await, server.register("carol").await);
        let sync = format!("{CLIENT}/sync");
        let mut since = server.get(&sync, &carol.token).await.ok()["next_batch"].as_str().unwrap().to_owned();
        let padding = "x".repeat(60_000);
        for number in 0..50 {
            let content = format!(r#"{{"n":{number},"p":"{padding}"}}"#);
            send_to(&server, &alice, &format!("m.test/{number}"), &[(&carol.id, &content)]).await.ok();
        }
        let (mut seen, mut answers) = (Vec::new(), 0);
        while seen.len() < 50 {
            let answer = server.get(&format!("{sync}?since={since}"), &carol.token).await;
            assert!(answer.bytes.len() < 1_200_000, "{}", answer.bytes.len());
            let events = answer.ok()["to_device"]["events"].as_array().expect("there are more").clone();
            seen.extend(events.iter().map(|event| event["content"]["n"].as_u64().unwrap()));
            since = answer.ok()["next_batch"].as_str().unwrap().to_owned();
            answers += 1;
        }
        assert_eq!((seen, answers), ((0..50).collect(), 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_that_clients_cannot_read_are_passed_over() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let edu = |id: usize, event_type: &str, content: &str| {
            let content = message(&id.to_string(), (&away.bob, &alice.id), event_type, content);
            format!(r#"{{"edu_type":"m.direct_to_device","content":{content}}}"#)
        };
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(300), "]".repeat(300));
        let [_, infinite, long] = unreadable();
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(66_000));
        let typing = format!(
            r#"{{"edu_type":"m.typing","content":{{"room_id":"{room}","user_id":"{}","typing":true}}}}"#,
            away.bob
        );
        let edus = [
            edu(1, "m.test", &deep),
            edu(2, "m.test", &infinite),
            edu(3, "m.test", &long),
            edu(4, "m.test", &large),
            edu(5, "m.test", "[]"),
            edu(6, &"t".repeat(40_000), "{}"),
            edu(7, r"m.\u0000", "{}"),
            edu(8, "m.test", r#"{"n":1}"#),
            typing,
        ];
        let name = away.peer.name().as_str();
        let body = format!(r#"{{"origin":"{name}","origin_server_ts":1,"pdus":[],"edus":[{}]}}"#, edus.join(","));
        let path = format!("/_matrix/federation/v1/send/{}", unique_name());
        away.peer.request_text(&server, Method::PUT, &path, &body).await.ok();
        let there = |answer: &Value| answer["to_device"]["events"].is_array();
        let seen = within(synced(&server, &alice, since.as_str().unwrap(), there)).await;
        let expected = json!([{ "type": "m.test", "sender": away.bob, "content": { "n": 1 } }]);
        assert_eq!(seen["to_device"]["events"], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_data_can_be_read_by_every_client() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let own = format!("{CLIENT}/user/{}", alice.id);
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let digits = "9".repeat(5_000);
        let bad = ["1e400", digits.as_str(), r#""\ud800""#, deep.as_str()];
        for (method, path) in [
            (Method::PUT, format!("{own}/account_data/org.example")),
            (Method::PUT, format!("{own}/rooms/!x:example.org/account_data/org.example")),
            (Method::POST, format!("{own}/filter")),
        ] {
            for value in bad {
                let answer = send_text(&server, &alice, method.clone(), &path, &format!(r#"{{"a":{value}}}"#)).await;
                assert_eq!(answer.refusal(), (400, "M_BAD_JSON"), "{path} {value:.20}");
            }
            for text in ["[]", "1", "null"] {
                let answer = send_text(&server, &alice, method.clone(), &path, text).await;
                assert_eq!(answer.refusal(), (400, "M_BAD_JSON"), "{path} {text}");
            }
            send_text(&server, &alice, method, &path, r#"{"order":0.5,"a":1e10,"b":"\ud83d\ude00"}"#).await.ok();
        }
        let stored = server.get(&format!("{own}/account_data/org.example"), &alice.token).await;
        assert_eq!(stored.ok()["order"], 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_that_a_server_refuses_hold_up_no_events() {
    for place in plexus_testkit::places() {
        let now_ms = 1_800_000_000_000;
        let (options, clock) = (place.options().clone(), Clock::manual(now_ms));
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        server.stop().await;
        let (name, bob, sender) = (away.peer.name().to_string(), away.bob.clone(), alice.id.clone());
        let queue = move |tx: &mut Tx<'_>| {
            for number in 0..32 {
                let kind = if number < 31 { "poison" } else { "m.test" };
                repo::federation_out::add_to_device(tx, &name, now_ms, |position| {
                    let messages = json!({ bob.as_str(): { "*": { "n": number } } });
                    json!({ "message_id": position.to_string(), "messages": messages, "sender": sender, "type": kind })
                        .to_string()
                })?;
            }
            Ok::<_, DbError>(())
        };
        let database = tokio::task::spawn_blocking(move || Database::open(&options).unwrap()).await.unwrap();
        database.write(queue).await.unwrap();
        database.close().await;
        drop(database);
        away.refuse(|body| body["edus"].to_string().contains("poison").then_some(StatusCode::BAD_REQUEST));
        server.restart().await;
        // The clock stands still: nothing more is set aside, and nobody who sends events notices.
        for text in ["one", "two", "three"] {
            say(&server, &alice, &room, text).await;
        }
        assert_eq!(within(away.messages(3)).await, ["one", "two", "three"]);
        assert_eq!(numbers(&away.until(|_| true).await, &away.bob), [0_u64; 0]);
        let moving = refusals::pass_time(&clock);
        let good = away.until(|transactions| !numbers(transactions, &away.bob).is_empty());
        let transactions = within(async {
            tokio::select! { good = good => good, () = moving => unreachable!() }
        })
        .await;
        assert_eq!(numbers(&transactions, &away.bob), [31]);
        assert_eq!(bodies(&transactions), ["one", "two", "three"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_others_that_a_server_cannot_read_holds_up_nothing() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let peer = &stage.liar.peer;
        let user = peer.user("deep");
        let made = federation::make(&stage.server, peer, "join", &stage.room, &user).await;
        // Deeper than serde_json reads, with which the honest server reads transactions.
        let mut event = Object::parse(&made.ok()["event"].to_string()).unwrap();
        let content = format!(r#"{{"membership":"join","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        event.insert("content", plexus_protocol::json::Value::parse(&content).unwrap());
        event
            .insert("hashes", Object::from([("sha256", STANDARD_NO_PAD.encode(hash::content_hash(&event.to_json())))]));
        let signature = peer.key().sign(redact::redact_object(&event, stage.version.rules()).to_json().as_bytes());
        let signatures = Object::from([(peer.key().key_id(), signature)]);
        event.insert("signatures", Object::from([(peer.name().as_str(), signatures)]));
        let id = Pdu::parse(&event.to_json(), stage.version).unwrap().event_id().as_str().to_owned();
        let path = federation::path("v2/send_join", &[&stage.room, &id]);
        let answer = peer.request_text(&stage.server, Method::PUT, &path, &event.to_json()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let refused = |it: &plexus_testkit::Received| {
            it.uri.contains("/send/") && String::from_utf8_lossy(&it.body).contains(&"[".repeat(200))
        };
        within(stage.honest.peer.receives(refused)).await;
        for text in ["one", "two"] {
            say(&stage.server, &stage.alice, &stage.room, text).await;
        }
        assert_eq!(within(stage.honest.messages(2)).await, ["one", "two"]);
    }
}
