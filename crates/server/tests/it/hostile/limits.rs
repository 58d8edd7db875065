//! `rc_federation`: how much one other server may ask.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plexus_base::Clock;

use super::*;

const PATH: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Atest.example";
const FEW: &str =
    "rc_federation: {window_size: 1000, sleep_limit: 2, sleep_delay: 500, reject_limit: 3, concurrent: 2}";

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_many_requests_wait_and_with_too_many_are_refused() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(FEW).start().await;
    server.register("alice").await;
    let (often, other) = (Peer::start().await, Peer::start().await);
    often.get(&server, PATH).await.ok();
    often.get(&server, PATH).await.ok();
    // More than two in a second have to wait, which three may; the others are refused while the clock stands still.
    let mut waiting: FuturesUnordered<_> = (0..10).map(|_| often.get(&server, PATH)).collect();
    for _ in 0..7 {
        let refused = waiting.next().await.unwrap();
        assert_eq!(refused.refusal(), (429, "M_LIMIT_EXCEEDED"), "{refused:?}");
        assert!(refused.body["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{refused:?}");
    }
    other.get(&server, PATH).await.ok();
    let answered = async {
        while let Some(answer) = waiting.next().await {
            answer.ok();
        }
    };
    let moving = async {
        let mut every = plexus_testkit::every(Duration::from_millis(20));
        loop {
            every.tick().await;
            clock.advance(Duration::from_millis(500));
        }
    };
    let answered = async {
        tokio::select! { () = answered => true, () = moving => false }
    };
    assert!(plexus_testkit::within(BOUND, answered).await.expect("who waits is answered"));

    // Transactions come one after the other, and are not delayed for being many.
    for number in 0..10 {
        let body = json!({ "origin": often.name().as_str(), "origin_server_ts": 1, "pdus": [] });
        often.put(&server, &format!("/_matrix/federation/v1/send/{number}"), body).await.ok();
    }
}
