//! What pages have, and what they say of messages that are not on them.

use std::time::Duration;

use plexus_testkit::server::TestServer;
use plexus_testkit::{every, within};
use serde_json::json;

use super::{search, texts, try_search};
use crate::client::{create, join, public_room, room_path, say};

/// Neither what was said after they left, nor before they came, nor in a room that they were only invited to.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_messages_are_not_counted() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let joined = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let invited = create(&server, &alice, json!({ "invite": [bob.id] })).await;
        let banned = create(&server, &alice, json!({})).await;
        let room = create(&server, &alice, json!({ "preset": "public_chat", "initial_state": [joined] })).await;
        server.post(&room_path(&invited, "leave"), &bob.token, json!({})).await.ok();
        server.post(&room_path(&banned, "ban"), &alice.token, json!({ "user_id": bob.id })).await.ok();
        for hidden in [&invited, &banned, &room, &room] {
            say(&server, &alice, hidden, "fox before").await;
        }
        let (all, named) = (json!({}), json!({ "rooms": [invited, banned] }));
        for (base, order, limit) in [(&all, "recent", 0), (&named, "recent", 1), (&all, "rank", 0), (&named, "rank", 1)]
        {
            let mut filter = base.clone();
            filter["limit"] = json!(limit);
            let criteria = json!({ "search_term": "fo", "order_by": order, "filter": filter });
            let results = search(&server, &bob, criteria).await;
            assert_eq!(results, json!({ "count": 0, "highlights": [], "results": [] }), "{order} {filter}");
        }
        join(&server, &bob, &room).await;
        for number in 0..2 {
            say(&server, &bob, &room, &format!("fox {number}")).await;
        }
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        say(&server, &alice, &room, "fox after").await;
        for order in ["recent", "rank"] {
            let criteria = json!({ "search_term": "fo", "order_by": order, "filter": { "limit": 1 } });
            let first = search(&server, &bob, criteria.clone()).await;
            let next = first["next_batch"].as_str().expect("a second page");
            let answer = try_search(&server, &bob, criteria, &format!("?next_batch={next}")).await;
            let second = &answer.ok()["search_categories"]["room_events"];
            for (page, text) in [(&first, "fox 1"), (second, "fox 0")] {
                assert_eq!((texts(page), &page["count"]), (vec![text], &json!(2)), "{order}");
            }
            assert_eq!(second.get("next_batch"), None, "{order}");
        }
    }
}

/// Each result has a context of some 2.5 MB.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_large_ends_early() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let long = "x".repeat(60_000);
        for number in 10..60 {
            say(&server, &alice, &room, &format!("{number} fox {long}")).await;
        }
        let mut ticks = every(Duration::from_millis(20));
        let indexed = async {
            while search(&server, &alice, json!({ "search_term": "fox", "filter": { "limit": 1 } })).await["count"]
                != 50
            {
                ticks.tick().await;
            }
        };
        within(Duration::from_secs(60), indexed).await.expect("all are indexed");
        for order in ["recent", "rank"] {
            let criteria = json!({
                "search_term": "fox", "order_by": order, "filter": { "limit": 20 },
                "event_context": { "before_limit": 20, "after_limit": 20 },
            });
            let (mut seen, mut query) = (Vec::new(), String::new());
            loop {
                let answer = try_search(&server, &alice, criteria.clone(), &query).await;
                let page = &answer.ok()["search_categories"]["room_events"];
                assert!(page.to_string().len() < 11 * 1024 * 1024);
                let numbers: Vec<u32> =
                    texts(page).iter().filter_map(|text| text.split(' ').next()?.parse().ok()).collect();
                assert!((1..20).contains(&numbers.len()));
                seen.extend(numbers);
                match page["next_batch"].as_str() {
                    Some(next) => query = format!("?next_batch={next}"),
                    None => break,
                }
            }
            assert_eq!(seen, (10..60).rev().collect::<Vec<u32>>(), "{order}");
        }
    }
}
