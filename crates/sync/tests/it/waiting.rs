//! Long polling.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use plexus_sync::PresenceState;
use serde_json::Value;

use crate::support::*;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Polls until the future waits for something that only the test can bring about.
async fn poll_until_waiting<T>(server: &Server, mut future: Pin<&mut impl Future<Output = T>>) {
    while server.notifier.waiting() == 0 {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "there is something to tell already");
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        assert!(matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_message_wakes_the_waiting_and_nobody_else() {
    run(async |db| {
        let server = Server::new(db);
        let (room, other) = (server.shared_room().await, server.room(ALICE).await);
        let mut bob = server.client(BOB);
        bob.sync().await;
        let mut waiting = pin!(bob.answer(TIMEOUT));
        poll_until_waiting(&server, waiting.as_mut()).await;
        server.send(&other, ALICE, "not for Bob").await;
        poll_until_waiting(&server, waiting.as_mut()).await;
        server.send(&room, ALICE, "for Bob").await;
        let answer: Value = waiting.await;
        assert_eq!(bodies(joined(&answer, &room)), ["for Bob"]);
        assert_eq!(server.notifier.waiting(), 0);
    });
}

#[test]
fn an_invite_typing_a_receipt_and_account_data_wake() {
    run(async |db| {
        let server = Server::new(db);
        let (room, other) = (server.shared_room().await, server.room(ALICE).await);
        let read = server.send(&room, ALICE, "read me").await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        {
            let mut waiting = pin!(bob.answer(TIMEOUT));
            poll_until_waiting(&server, waiting.as_mut()).await;
            server.invite(&other, ALICE, BOB).await;
            assert!(!section(&waiting.await, "invite", &other).is_null());
        }
        bob.sync().await;
        {
            let mut waiting = pin!(bob.answer(TIMEOUT));
            poll_until_waiting(&server, waiting.as_mut()).await;
            server.typing.start(room.nid, &user(ALICE), TIMEOUT);
            assert!(event(&joined(&waiting.await, &room)["ephemeral"], "m.typing").is_some());
        }
        bob.sync().await;
        {
            let mut waiting = pin!(bob.answer(TIMEOUT));
            poll_until_waiting(&server, waiting.as_mut()).await;
            server.read(&room, CAROL, &read, None).await;
            assert!(event(&joined(&waiting.await, &room)["ephemeral"], "m.receipt").is_some());
        }
        bob.sync().await;
        let mut waiting = pin!(bob.answer(TIMEOUT));
        poll_until_waiting(&server, waiting.as_mut()).await;
        server.account_data(BOB, "org.example", serde_json::json!({})).await;
        assert!(event(&waiting.await["account_data"], "org.example").is_some());
    });
}

#[test]
fn waiting_ends_with_the_timeout() {
    run(async |db| {
        let server = Server::new(db);
        let (_room, other) = (server.shared_room().await, server.room(ALICE).await);
        let mut bob = server.client(BOB);
        bob.sync().await;
        let mut waiting = pin!(bob.answer(TIMEOUT));
        poll_until_waiting(&server, waiting.as_mut()).await;
        server.send(&other, ALICE, "not for Bob").await;
        server.clock.advance(TIMEOUT);
        let answer = waiting.await;
        assert!(answer["rooms"].is_null());
        assert!(answer["next_batch"].is_string());
    });
}

/// Lets time pass, second by second, until the future is ready.
async fn pass_time<T>(server: &Server, mut future: Pin<&mut impl Future<Output = T>>) -> T {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        server.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
}

#[test]
fn typing_and_presence_time_out() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let (typing, presence) = (server.typing.clone(), server.presence.clone());
        let timers = tokio::spawn(async move { tokio::join!(typing.run(), presence.run()) });
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.typing.start(room.nid, &user(ALICE), Duration::from_secs(20));
        bob.sync().await;
        let answer = pass_time(&server, pin!(bob.answer(Duration::MAX))).await;
        let typing = event(&joined(&answer, &room)["ephemeral"], "m.typing").expect("a typing event");
        assert_eq!(typing["content"]["user_ids"], serde_json::json!([]));

        server.presence.set(&user(ALICE), PresenceState::Online, None).unwrap();
        bob.sync().await;
        let answer = pass_time(&server, pin!(bob.answer(Duration::MAX))).await;
        assert_eq!(answer["presence"]["events"][0]["content"]["presence"], "offline");
        timers.abort();
    });
}

#[test]
fn status_messages_survive_a_restart() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.join(&room, BOB).await;
        let presence = server.presence.clone();
        let timers = tokio::spawn(async move { presence.run().await });
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.presence.set(&user(ALICE), PresenceState::Online, Some("hi".into())).unwrap();
        // Published after the wake-up, stored before the next one.
        bob.sync().await;
        let answer = pass_time(&server, pin!(bob.answer(Duration::MAX))).await;
        assert_eq!(answer["presence"]["events"][0]["content"]["presence"], "offline");
        server.presence.set(&user(ALICE), PresenceState::Online, Some("hello".into())).unwrap();
        let stored = || server.db.read(|tx| plexus_store::repo::presence::get(tx, ALICE));
        let mut status = None;
        while status.as_deref() != Some("hello") {
            server.clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
            let row = stored().await.map_err(|error: plexus_store::DbError| error).expect("read");
            status = row.and_then(|row| row.status_msg);
        }
        timers.abort();

        let server = server.restarted();
        let presence = server.presence.clone();
        let timers = tokio::spawn(async move { presence.run().await });
        let mut bob = server.client(BOB);
        bob.sync().await;
        let mut waiting = pin!(bob.answer(Duration::MAX));
        poll_until_waiting(&server, waiting.as_mut()).await;
        server.presence.active(&user(ALICE));
        let answer = waiting.await;
        assert_eq!(answer["presence"]["events"][0]["content"]["status_msg"], "hello");
        timers.abort();
    });
}
