//! `POST /search`.

mod pages;

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_store::repo::{scheduled_tasks, search_documents, search_progress};
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, join, on_each_with, public_room, room_path, say, send, two_in_a_room};

/// The response to a search by these criteria.
async fn try_search(server: &TestServer, user: &TestUser, criteria: Value, query: &str) -> Answer {
    let body = json!({ "search_categories": { "room_events": criteria } });
    server.post(&format!("{CLIENT}/search{query}"), &user.token, body).await
}

/// The results of a search by these criteria.
async fn search(server: &TestServer, user: &TestUser, criteria: Value) -> Value {
    try_search(server, user, criteria, "").await.ok()["search_categories"]["room_events"].clone()
}

/// The texts among results.
fn texts(results: &Value) -> Vec<&str> {
    let text = |result: &'_ Value| -> Option<&'static str> {
        ["body", "name", "topic"].into_iter().find(|key| result["result"]["content"][*key].is_string())
    };
    let results = results["results"].as_array().expect("results");
    results.iter().filter_map(|result| result["result"]["content"][text(result)?].as_str()).collect()
}

/// The texts that a term finds, the newest first.
async fn found(server: &TestServer, user: &TestUser, term: &str) -> Vec<String> {
    let results = search(server, user, json!({ "search_term": term, "order_by": "recent" })).await;
    texts(&results).into_iter().map(str::to_owned).collect()
}

async fn edit(server: &TestServer, user: &TestUser, room: &str, event: &str, text: &str) -> String {
    let content = json!({
        "msgtype": "m.text", "body": format!("* {text}"),
        "m.new_content": { "msgtype": "m.text", "body": text },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event },
    });
    let answer = send(server, user, room, "m.room.message", content).await;
    answer.ok()["event_id"].as_str().unwrap().to_owned()
}

async fn redact(server: &TestServer, user: &TestUser, room: &str, event: &str) {
    let path = room_path(room, &format!("redact/{event}/{}", plexus_testkit::unique_name()));
    server.put(&path, &user.token, json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_their_beginnings_are_found_in_any_script() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        for (text, terms) in [
            ("Hello, small World", &["hello", "wor", "WORLD hello", "sm"][..]),
            ("is it ok", &["ok", "o"]),
            ("今天天气很好", &["天气", "今", "好", "天气很好"]),
            ("東京タワーへ行く", &["タワ", "東京", "行"]),
            ("학교에서 만나요", &["학교", "교에", "만나요"]),
            ("Привет всем", &["привет", "ПРИ", "все"]),
            ("שלום עולם", &["שלום", "עו"]),
            ("สวัสดีครับ", &["สวัสดี", "ครับ"]),
        ] {
            say(&server, &alice, &room, text).await;
            for term in terms {
                assert_eq!(found(&server, &bob, term).await, [text], "{term}");
            }
        }
        for term in ["ello", "hello you", "天今", "気", "", "!", "\u{0}", "' OR 1", "hello*b", "(", ":*"] {
            assert_eq!(found(&server, &bob, term).await, [] as [&str; 0], "{term:?}");
        }
        let stranger = server.register("carol").await;
        assert_eq!(found(&server, &stranger, "hello").await, [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_groups_context_state_and_highlights() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({ "name": "Fox club", "topic": "All about the fox" })).await;
        let other = create(&server, &alice, json!({})).await;
        for text in ["before", "a fox", "after", "later"] {
            say(&server, &alice, &room, text).await;
        }
        say(&server, &alice, &other, "foxes").await;
        for (keys, expected) in [
            (json!(["content.body"]), &["foxes", "a fox"][..]),
            (json!(["content.name"]), &["Fox club"]),
            (json!(["content.topic"]), &["All about the fox"]),
            (json!(["content.topic", "content.name"]), &["All about the fox", "Fox club"]),
            (Value::Null, &["foxes", "a fox", "All about the fox", "Fox club"]),
        ] {
            let criteria = json!({ "search_term": "FOX", "keys": keys, "order_by": "recent" });
            let results = search(&server, &alice, criteria).await;
            let mut texts = texts(&results);
            texts.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(texts, expected, "{keys}");
            assert_eq!(results["count"], expected.len());
        }
        let criteria = json!({
            "search_term": "fox", "keys": ["content.body"], "order_by": "recent", "include_state": true,
            "event_context": { "before_limit": 1, "after_limit": 1, "include_profile": true },
            "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
        });
        let results = search(&server, &alice, criteria).await;
        assert_eq!(results["highlights"], json!(["fox", "foxes"]));
        let context = &results["results"][1]["context"];
        assert_eq!(context["events_before"][0]["content"]["body"], "before");
        assert_eq!(context["events_after"][0]["content"]["body"], "after");
        assert_eq!(context["events_after"].as_array().map(Vec::len), Some(1));
        assert_eq!(context["profile_info"][&alice.id]["displayname"], "alice");
        assert!(context["start"].is_string() && context["end"].is_string());
        let types: Vec<&Value> =
            results["state"][&room].as_array().unwrap().iter().map(|event| &event["type"]).collect();
        assert!(types.contains(&&json!("m.room.name")), "{types:?}");
        let ids: Vec<&Value> = (0..2).map(|at| &results["results"][at]["result"]["event_id"]).collect();
        assert_eq!(results["groups"]["room_id"][&other]["results"], json!([ids[0]]));
        assert_eq!(results["groups"]["room_id"][&room]["results"], json!([ids[1]]));
        assert_eq!(results["groups"]["room_id"][&other]["order"], 0);
        assert_eq!(results["groups"]["room_id"][&room]["order"], 1);
        assert_eq!(results["groups"]["sender"][&alice.id]["results"], json!(ids));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_or_the_newest_come_first_and_pages_follow_each_other() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let second = public_room(&server, &alice).await;
        for text in ["fox", "the very long story of the fox and of many others", "foxes", "fox, fox"] {
            say(&server, &alice, &room, text).await;
        }
        let best = search(&server, &bob, json!({ "search_term": "fox" })).await;
        assert_eq!(texts(&best)[..2], ["fox", "fox, fox"]);
        let ranks: Vec<f64> = (0..4).map(|at| best["results"][at]["rank"].as_f64().unwrap()).collect();
        assert!(ranks.is_sorted_by(|one, other| one >= other), "{ranks:?}");
        for number in 0..23 {
            let to = if number % 2 == 0 { &room } else { &second };
            say(&server, &alice, to, &format!("cat {number}")).await;
        }
        for order in ["recent", "rank"] {
            let criteria = json!({ "search_term": "cat", "order_by": order, "filter": { "limit": 5 } });
            let (mut seen, mut query) = (Vec::new(), String::new());
            loop {
                let answer = try_search(&server, &alice, criteria.clone(), &query).await;
                let page = &answer.ok()["search_categories"]["room_events"];
                assert_eq!(page["count"], 23, "{order}");
                seen.extend(texts(page).into_iter().map(str::to_owned));
                assert!(seen.len() <= 23);
                match page["next_batch"].as_str() {
                    Some(next) => query = format!("?next_batch={next}"),
                    None => break,
                }
                // What comes meanwhile moves nothing.
                say(&server, &alice, &room, "a dog").await;
            }
            let expected: Vec<String> = (0..23).rev().map(|number| format!("cat {number}")).collect();
            assert_eq!(seen, expected, "{order}");
        }
        // A room by itself.
        let groups = json!({ "group_by": [{ "key": "room_id" }] });
        let criteria =
            json!({ "search_term": "cat", "order_by": "recent", "filter": { "limit": 4 }, "groupings": groups });
        let first = search(&server, &alice, criteria.clone()).await;
        let next = first["groups"]["room_id"][&second]["next_batch"].as_str().expect("a token");
        let answer = try_search(&server, &alice, criteria, &format!("?next_batch={next}")).await;
        let page = &answer.ok()["search_categories"]["room_events"];
        assert_eq!(texts(page), ["cat 17", "cat 15", "cat 13", "cat 11"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_rooms_senders_and_types() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let other = public_room(&server, &alice).await;
        say(&server, &alice, &room, "fox of alice").await;
        say(&server, &bob, &room, "fox of bob").await;
        say(&server, &alice, &other, "fox elsewhere").await;
        let picture = json!({ "msgtype": "m.image", "body": "fox.png", "url": "mxc://test.example/x" });
        send(&server, &alice, &room, "m.room.message", picture).await.ok();
        for (filter, expected) in [
            (json!({ "rooms": [other] }), &["fox elsewhere"][..]),
            (json!({ "not_rooms": [room] }), &["fox elsewhere"]),
            (json!({ "senders": [bob.id] }), &["fox of bob"]),
            (json!({ "not_senders": [alice.id] }), &["fox of bob"]),
            (json!({ "contains_url": true }), &["fox.png"]),
            (json!({ "types": ["m.room.name"] }), &[]),
            (json!({ "rooms": ["!none:test.example", "nonsense"] }), &[]),
            (json!({ "limit": 1 }), &["fox.png"]),
        ] {
            let criteria = json!({ "search_term": "fox", "order_by": "recent", "filter": filter });
            assert_eq!(texts(&search(&server, &alice, criteria).await), expected, "{filter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_ignored_users_are_neither_found_nor_shown_around_others() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        say(&server, &bob, &room, "before").await;
        for (user, text) in [(&carol, "fox one"), (&bob, "fox two"), (&carol, "fox three")] {
            say(&server, user, &room, text).await;
        }
        say(&server, &bob, &room, "after").await;
        let ignored = json!({ "ignored_users": { &carol.id: {} } });
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", alice.id);
        server.put(&path, &alice.token, ignored).await.ok();

        let around = json!({ "before_limit": 1, "after_limit": 1 });
        for (order, limit) in [("recent", 1), ("recent", 10), ("rank", 1)] {
            let criteria = json!({
                "search_term": "fox", "order_by": order, "event_context": around, "filter": { "limit": limit },
            });
            let results = search(&server, &alice, criteria).await;
            assert_eq!(texts(&results), ["fox two"]);
            assert_eq!((&results["count"], &results["next_batch"]), (&json!(1), &Value::Null));
            let context = &results["results"][0]["context"];
            assert_eq!(context["events_before"][0]["content"]["body"], "before");
            assert_eq!(context["events_after"][0]["content"]["body"], "after");
        }
        assert_eq!(found(&server, &bob, "fox").await, ["fox three", "fox two", "fox one"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_by_words_that_were_edited_or_redacted_away() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let event = say(&server, &alice, &room, "an old fox").await;
        assert_eq!(found(&server, &bob, "old").await, ["an old fox"]);
        edit(&server, &bob, &room, &event, "an invalid cat").await;
        let first = edit(&server, &alice, &room, &event, "a middle dog").await;
        let second = edit(&server, &alice, &room, &event, "a new cat").await;
        for term in ["old", "fox", "middle", "dog", "invalid"] {
            assert_eq!(found(&server, &bob, term).await, [] as [&str; 0], "{term}");
        }
        let results = search(&server, &bob, json!({ "search_term": "new cat" })).await;
        assert_eq!(results["results"].as_array().map(Vec::len), Some(1));
        let result = &results["results"][0]["result"];
        assert_eq!(result["event_id"], json!(event));
        assert_eq!(result["unsigned"]["m.relations"]["m.replace"]["event_id"], json!(second));
        redact(&server, &alice, &room, &second).await;
        assert_eq!(found(&server, &bob, "new").await, [] as [&str; 0]);
        assert_eq!(found(&server, &bob, "middle").await, ["an old fox"]);
        redact(&server, &alice, &room, &first).await;
        assert_eq!(found(&server, &bob, "old").await, ["an old fox"]);
        redact(&server, &alice, &room, &event).await;
        for term in ["old", "middle", "new"] {
            assert_eq!(found(&server, &bob, term).await, [] as [&str; 0], "{term}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_has_no_document_of_a_redacted_event() {
    for mut server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let event = say(&server, &alice, &room, "a secret").await;
        assert_eq!(found(&server, &alice, "secret").await, ["a secret"]);
        redact(&server, &alice, &room, &event).await;
        assert_eq!(found(&server, &alice, "secret").await, [] as [&str; 0]);
        let database = server.open_database().await;
        assert!(!database.read(search_documents::has_any).await.unwrap());
        database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_finds_what_they_could_read_until_they_forget_the_room() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let joined = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = create(&server, &alice, json!({ "preset": "public_chat", "initial_state": [joined] })).await;
        let before = say(&server, &alice, &room, "fox before").await;
        join(&server, &bob, &room).await;
        let during = say(&server, &alice, &room, "fox during").await;
        let path = room_path(&room, "leave");
        server.post(&path, &bob.token, json!({})).await.ok();
        say(&server, &alice, &room, "fox after").await;
        assert_eq!(found(&server, &bob, "fox").await, ["fox during"]);
        assert_eq!(found(&server, &alice, "fox").await, ["fox after", "fox during", "fox before"]);
        // An edit that they do not see shows them nothing, neither old words nor new ones.
        edit(&server, &alice, &room, &during, "a hidden wolf").await;
        edit(&server, &alice, &room, &before, "another wolf").await;
        assert_eq!(found(&server, &bob, "fox").await, [] as [&str; 0]);
        assert_eq!(found(&server, &bob, "wolf").await, [] as [&str; 0]);
        server.post(&room_path(&room, "forget"), &bob.token, json!({})).await.ok();
        assert_eq!(found(&server, &bob, "fox").await, [] as [&str; 0]);
        assert_eq!(found(&server, &alice, "wolf").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_all_have_forgotten_leaves_the_index() {
    for mut server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        // A search in no room would not wait for the index.
        public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        say(&server, &alice, &room, "a fox").await;
        for user in [&bob, &alice] {
            assert_eq!(found(&server, &alice, "fox").await, ["a fox"]);
            server.post(&room_path(&room, "leave"), &user.token, json!({})).await.ok();
            server.post(&room_path(&room, "forget"), &user.token, json!({})).await.ok();
        }
        assert_eq!(found(&server, &alice, "fox").await, [] as [&str; 0]);
        let database = server.open_database().await;
        assert!(!database.read(search_documents::has_any).await.unwrap());
        database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_an_upgraded_room_is_searched_with_it() {
    for server in TestServer::on_each().await {
        let (alice, bob, old) = two_in_a_room(&server).await;
        say(&server, &alice, &old, "an old fox").await;
        let answer = server.post(&room_path(&old, "upgrade"), &alice.token, json!({ "new_version": "11" })).await;
        let new = answer.ok()["replacement_room"].as_str().unwrap().to_owned();
        join(&server, &bob, &new).await;
        say(&server, &alice, &new, "a new fox").await;
        let criteria = |filter: Value| json!({ "search_term": "fox", "order_by": "recent", "filter": filter });
        let both = search(&server, &bob, criteria(json!({ "rooms": [new] }))).await;
        assert_eq!(texts(&both), ["a new fox", "an old fox"]);
        let one = search(&server, &bob, criteria(json!({ "rooms": [new], "not_rooms": [old] }))).await;
        assert_eq!(texts(&one), ["a new fox"]);
        let one = search(&server, &bob, criteria(json!({ "rooms": [old] }))).await;
        assert_eq!(texts(&one), ["an old fox"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_the_index_was_not_kept_is_indexed_afterwards() {
    for place in places() {
        let off = "enable_search: false";
        let mut server = TestServer::on(place).config(off).start().await;
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        say(&server, &alice, &room, "an early fox").await;
        let redacted = say(&server, &alice, &room, "a redacted fox").await;
        redact(&server, &alice, &room, &redacted).await;
        let refused = try_search(&server, &alice, json!({ "search_term": "fox" }), "").await;
        assert_eq!(refused.refusal(), (400, "M_UNKNOWN"));
        let database = server.open_database().await;
        assert_eq!(database.read(search_progress::position).await.unwrap(), None);
        assert!(!database.read(search_documents::has_any).await.unwrap());
        database.close().await;
        server.config_mut().server.enable_search = true;
        server.restart().await;
        let alice = server.log_in("alice").await;
        say(&server, &alice, &room, "a late fox").await;
        let mut ticks = every(Duration::from_millis(20));
        let all = async {
            while found(&server, &alice, "fox").await.len() < 2 {
                ticks.tick().await;
            }
        };
        within(Duration::from_secs(30), all).await.expect("the old events are indexed");
        assert_eq!(found(&server, &alice, "fox").await, ["a late fox", "an early fox"]);
        // A restart forgets nothing.
        server.restart().await;
        let alice = server.log_in("alice").await;
        assert_eq!(found(&server, &alice, "fox").await, ["a late fox", "an early fox"]);
        server.config_mut().server.enable_search = false;
        server.restart().await;
        let mut ticks = every(Duration::from_millis(20));
        let emptied = async {
            loop {
                let database = server.open_database().await;
                let is_empty = !database.read(search_documents::has_any).await.unwrap();
                let position = database.read(search_progress::position).await.unwrap();
                let mut tasks = database.read(scheduled_tasks::unfinished_kinds).await.unwrap();
                database.close().await;
                if is_empty && position.is_none() {
                    // Every server has this one.
                    tasks.retain(|(kind, _)| *kind != "forget_client_addresses");
                    assert_eq!(tasks, []);
                    return;
                }
                server.restart().await;
                ticks.tick().await;
            }
        };
        within(Duration::from_secs(30), emptied).await.expect("the index is removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    for server in on_each_with("allow_guest_access: true").await {
        let alice = server.register("alice").await;
        let path = format!("{CLIENT}/search");
        for (criteria, errcode) in [
            (json!({}), "M_MISSING_PARAM"),
            (json!({ "search_term": "x", "groupings": { "group_by": [{}] } }), "M_MISSING_PARAM"),
            (json!({ "search_term": 5 }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "order_by": "size" }), "M_INVALID_PARAM"),
            (json!({ "search_term": "x", "keys": ["content.url"] }), "M_INVALID_PARAM"),
            (json!({ "search_term": "x", "keys": "content.body" }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "type" }] } }), "M_INVALID_PARAM"),
            (json!({ "search_term": "x", "groupings": { "group_by": {} } }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "filter": { "limit": -1 } }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "filter": [] }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "filter": { "types": ["*".repeat(300)] } }), "M_BAD_JSON"),
            (json!({ "search_term": "x", "event_context": { "before_limit": "5" } }), "M_BAD_JSON"),
        ] {
            let refused = try_search(&server, &alice, criteria.clone(), "").await;
            assert_eq!(refused.refusal(), (400, errcode), "{criteria}");
        }
        for (body, errcode) in [
            (json!({}), "M_MISSING_PARAM"),
            (json!([]), "M_BAD_JSON"),
            (json!({ "search_categories": 5 }), "M_BAD_JSON"),
        ] {
            assert_eq!(server.post(&path, &alice.token, body.clone()).await.refusal(), (400, errcode), "{body}");
        }
        let nothing = server.post(&path, &alice.token, json!({ "search_categories": {} })).await;
        assert_eq!(nothing.ok(), &json!({ "search_categories": {} }));
        for batch in ["nonsense", "1", "1_2_3", "-1_-1", "99999999999999999999_0", "1_18446744073709551615"] {
            let query = format!("?next_batch={batch}");
            let refused = try_search(&server, &alice, json!({ "search_term": "x" }), &query).await;
            assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"), "{batch}");
        }
        let far = format!("?next_batch={}_{}", i64::MIN, u32::MAX);
        for order in ["rank", "recent"] {
            let criteria = json!({ "search_term": "x", "order_by": order, "filter": { "limit": u64::MAX } });
            try_search(&server, &alice, criteria, &far).await.ok();
        }
        let unknown = server.request(Method::POST, &path, None, Some(json!({}))).await;
        assert_eq!(unknown.refusal(), (401, "M_MISSING_TOKEN"));
        let guest = server.request(Method::POST, &format!("{CLIENT}/register?kind=guest"), None, Some(json!({}))).await;
        let guest = guest.ok()["access_token"].as_str().unwrap().to_owned();
        let body = json!({ "search_categories": { "room_events": { "search_term": "x" } } });
        assert_eq!(server.post(&path, &guest, body).await.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
    }
}

/// With a clock that stands still all events have the same time, and the index does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_moment_keep_their_order() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock).start().await;
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        for number in 0..12 {
            say(&server, &alice, &room, &format!("cat {number}")).await;
        }
        let criteria = json!({ "search_term": "cat", "order_by": "recent", "filter": { "limit": 50 } });
        let results = search(&server, &alice, criteria).await;
        let expected: Vec<String> = (0..12).rev().map(|number| format!("cat {number}")).collect();
        assert_eq!(texts(&results), expected);
    }
}
