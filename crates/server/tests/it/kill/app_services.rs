//! kill -9 under load while an application service refuses every third transaction: it gets every event once, and a
//! transaction that is repeated is the same.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use parking_lot::Mutex;
use plexus_base::Random;
use plexus_testkit::{AppServiceStub, TestPlace, places};
use serde_json::{Value, json};

use super::{Conversation, Record, Victim, call, round, text};
use crate::binary::temporary_folder;

const ROUNDS: u64 = 15;
const END: &str = "end";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_transaction_to_an_application_service_is_lost_or_changed() {
    for place in places() {
        kill_and_compare(place).await;
    }
}

async fn kill_and_compare(place: TestPlace) {
    let (service, folder, random) = (AppServiceStub::start().await, temporary_folder(), Random::seeded(5));
    let registration = folder.join("irc.yaml");
    std::fs::write(&registration, service.registration("irc", "")).unwrap();
    let victim = Victim::with_settings(place, &format!("app_service_config_files: [{registration:?}]\n"));
    let (accepted, serial) = (Arc::new(Mutex::new(HashSet::new())), AtomicU64::new(0));
    let by_responder = Arc::clone(&accepted);
    service.respond(move |request| {
        if serial.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return (500, json!({}));
        }
        by_responder.lock().insert(request.path.clone());
        (200, json!({}))
    });

    let server = victim.start();
    let conversation = Arc::new(Conversation::start(&victim.url).await);
    let join = format!("{}/join/{}", victim.url, conversation.room);
    call(Method::POST, join, "from-irc", json!({})).await.unwrap();
    drop(server);
    let (mut record, mut unanswered) = (Record::default(), Vec::new());
    for number in 0..ROUNDS {
        let limit = 1 + random.below(60);
        unanswered = round(&victim, &conversation, (number, limit), &mut record, unanswered).await;
    }
    service.respond({
        let accepted = Arc::clone(&accepted);
        move |request| {
            accepted.lock().insert(request.path.clone());
            (200, json!({}))
        }
    });
    let server = victim.start();
    for (sender, message) in unanswered {
        let response = conversation.send(sender, &message).await.unwrap();
        record.events.insert(message, text(&response["event_id"]));
    }
    conversation.send(0, END).await.unwrap();
    let has_end =
        |service: &AppServiceStub| service.events().iter().any(|event| event["content"]["body"] == END).then_some(());
    service.wait_for(END, has_end).await;
    drop(server);

    let mut transactions: BTreeMap<String, Value> = BTreeMap::new();
    let mut repeated = 0;
    for (id, body) in service.transactions() {
        assert!(accepted.lock().contains(&format!("/_matrix/app/v1/transactions/{id}")), "{id} was never accepted");
        if let Some(before) = transactions.get(&id) {
            assert_eq!(*before, body, "{id} has changed");
            repeated += 1;
        }
        transactions.insert(id, body);
    }
    let events = transactions.values().filter_map(|body| body["events"].as_array()).flatten();
    let mut arrived = HashSet::new();
    for event in events {
        assert!(arrived.insert(text(&event["event_id"])), "{event} is in two transactions");
    }
    for (message, event) in &record.events {
        assert!(arrived.contains(event), "{message} has not arrived");
    }
    assert!(repeated > 0, "nothing was repeated: the test does not test anything");
    // In the temporary folder anyway.
    drop(std::fs::remove_dir_all(&folder));
}
