//! Servers that refuse what they are sent, clearly or not: nothing is lost that they would have accepted.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_edu_that_is_refused_costs_no_other() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let typing = |body: &Value| body["edus"].as_array().unwrap().iter().any(|edu| edu["edu_type"] == "m.typing");
        away.refuse(move |body| typing(body).then_some(StatusCode::BAD_REQUEST));
        let path = format!("{CLIENT}/rooms/{room}/typing/{}", alice.id);
        server.put(&path, &alice.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        let said = say(&server, &alice, &room, "hello").await;
        server.post(&format!("{CLIENT}/rooms/{room}/receipt/m.read/{said}"), &alice.token, json!({})).await.ok();
        let read = within(away.edu("m.receipt", |_| true)).await;
        assert_eq!(read[&room]["m.read"][&alice.id]["event_ids"], json!([said]));
        assert_eq!(within(away.messages(1)).await, ["hello"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_everything_costs_nothing() {
    costs_nothing(|_| Some(StatusCode::BAD_REQUEST)).await;
    costs_nothing(|_| Some(StatusCode::UNAUTHORIZED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_lets_empty_transactions_through_costs_nothing() {
    costs_nothing(|body| (!is_empty(body)).then_some(StatusCode::FORBIDDEN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_costs_nothing() {
    costs_nothing(|body| (!is_empty(body)).then_some(StatusCode::INTERNAL_SERVER_ERROR)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_takes_a_server_down_is_not_set_aside() {
    // The proxy's word: nobody can say that the content is to blame.
    costs_nothing(|body| body.to_string().contains(r#""n":7"#).then_some(StatusCode::BAD_GATEWAY)).await;
}

/// Lets time pass, 301 s at a time, without end.
pub(super) async fn pass_time(clock: &Clock) {
    let mut every = plexus_testkit::every(Duration::from_millis(20));
    loop {
        every.tick().await;
        clock.advance(Duration::from_secs(301));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_are_refused_with_an_unclear_status_are_set_aside_after_several_tries() {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_800_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        for (round, status) in [403, 422, 500, 200].into_iter().enumerate() {
            away.fail(true);
            for number in 0..20 {
                let n = 100 * round as u64 + number;
                let poison = [3, 11, 12].contains(&number);
                let text = format!("{}{n}", if poison { "poison" } else { "" });
                let content = format!(r#"{{"n":{n},"text":"{text}"}}"#);
                send_to(&server, &alice, &format!("m.test/{n}"), &[(&away.bob, &content)]).await.ok();
                say(&server, &alice, &room, &text).await;
                if !poison {
                    messages.push(n);
                    events.push(text);
                }
            }
            let status = StatusCode::from_u16(status).unwrap();
            away.refuse(move |body| body.to_string().contains("poison").then_some(status));
            away.fail(false);
            let all =
                away.until(|it| bodies(it).len() >= events.len() && numbers(it, &away.bob).len() >= messages.len());
            let transactions = within(async {
                tokio::select! { all = all => all, () = pass_time(&clock) => unreachable!() }
            })
            .await;
            assert_eq!(numbers(&transactions, &away.bob), messages, "{status}");
            assert_eq!(bodies(&transactions), events, "{status}");
        }
    }
}

/// Whether a transaction has neither events nor EDUs.
fn is_empty(transaction: &Value) -> bool {
    [&transaction["pdus"], &transaction["edus"]].iter().all(|it| it.as_array().is_none_or(Vec::is_empty))
}

/// Has a server refuse what it is sent, and then take everything: it gets everything.
async fn costs_nothing(refusing: impl Fn(&Value) -> Option<StatusCode> + Copy + Send + 'static) {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_800_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        away.refuse(refusing);
        let mut expected = Vec::new();
        for number in 0..30 {
            let content = format!(r#"{{"n":{number}}}"#);
            send_to(&server, &alice, &format!("m.test/{number}"), &[(&away.bob, &content)]).await.ok();
            say(&server, &alice, &room, &number.to_string()).await;
            expected.push(number.to_string());
        }
        let refused = |count: usize| {
            move |transactions: &[Transaction]| transactions.iter().filter(|it| !it.taken).count() >= count
        };
        let moving = async || pass_time(&clock).await;
        // It is tried now and then, and once more after a restart.
        let tried = away.until(refused(6));
        within(async {
            tokio::select! { _ = tried => {}, () = moving() => {} }
        })
        .await;
        server.restart().await;
        let tried_again = away.until(refused(8));
        within(async {
            tokio::select! { _ = tried_again => {}, () = moving() => {} }
        })
        .await;
        away.refuse(|_| None);
        let all = away.until(|it| numbers(it, &away.bob).len() >= 30 && bodies(it).len() >= 30);
        let transactions = within(async {
            tokio::select! { all = all => all, () = moving() => unreachable!() }
        })
        .await;
        assert_eq!(numbers(&transactions, &away.bob), (0..30).collect::<Vec<_>>());
        assert_eq!(bodies(&transactions), expected);
    }
}
