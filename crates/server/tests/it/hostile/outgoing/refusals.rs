//! Servers that refuse what they are sent, clearly or not: nothing is lost that they would have accepted.

use super::*;

/// What a server refuses before it is tried once more after a restart.
#[derive(Clone, Copy)]
struct Refused {
    /// How many messages to devices wait for it, and as many events.
    waiting: u64,
    /// How many transactions.
    transactions: usize,
}

const MANY: Refused = Refused { waiting: 30, transactions: 6 };
/// So few that what comes after them is tried in the same turn.
const FEW: Refused = Refused { waiting: 5, transactions: 17 };

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
    costs_nothing(MANY, |_| Some(StatusCode::BAD_REQUEST)).await;
    costs_nothing(MANY, |_| Some(StatusCode::UNAUTHORIZED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_lets_empty_transactions_through_costs_nothing() {
    costs_nothing(MANY, |body| (!is_empty(body)).then_some(StatusCode::FORBIDDEN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_costs_nothing() {
    costs_nothing(MANY, |body| (!is_empty(body)).then_some(StatusCode::INTERNAL_SERVER_ERROR)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_takes_a_server_down_is_not_set_aside() {
    // The proxy's word: nobody can say that the content is to blame.
    costs_nothing(MANY, |body| body.to_string().contains(r#""n":7"#).then_some(StatusCode::BAD_GATEWAY)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_only_what_it_need_not_store_costs_nothing() {
    let is_typing = |edu: &Value| edu["edu_type"] == "m.typing";
    let is_stored = move |body: &Value| {
        let edus = body["edus"].as_array();
        body["pdus"].as_array().is_some_and(|pdus| !pdus.is_empty())
            || edus.is_some_and(|edus| !edus.iter().all(is_typing))
    };
    costs_nothing(FEW, move |body| is_stored(body).then_some(StatusCode::INTERNAL_SERVER_ERROR)).await;
}

/// As [`pass_time`]; in between a user types.
async fn pass_time_typing(clock: &Clock, server: &TestServer, user: &TestUser, room: &str) {
    let path = format!("{CLIENT}/rooms/{room}/typing/{}", user.id);
    let mut every = plexus_testkit::every(Duration::from_millis(20));
    loop {
        every.tick().await;
        clock.advance(Duration::from_secs(301));
        // Not at the same time: the request would take too long.
        server.put(&path, &user.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_devices_that_is_refused_alone_holds_up_no_events() {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_800_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        away.refuse_with_500("m.device_list_update");
        let id = format!("ed25519:{}", alice.device_id);
        let keys = json!({ "user_id": alice.id, "device_id": alice.device_id, "algorithms": [], "keys": { id: "key" },
                           "signatures": {} });
        server.post(&format!("{CLIENT}/keys/upload"), &alice.token, json!({ "device_keys": keys })).await.ok();
        tokio::select! { () = refused_for_long(&away) => {}, () = pass_time(&clock) => unreachable!() }
        say(&server, &alice, &room, "hello").await;
        let said = within(async {
            tokio::select! { said = away.messages(1) => said, () = pass_time(&clock) => unreachable!() }
        });
        assert_eq!(said.await, ["hello"]);
    }
}

impl Away {
    /// Has it respond with 500 to each transaction with such an EDU.
    fn refuse_with_500(&self, edu_type: &'static str) {
        let has_any = move |body: &Value| body["edus"].as_array().is_some_and(|edus| edus.iter().any(is_of(edu_type)));
        self.refuse(move |body| has_any(body).then_some(StatusCode::INTERNAL_SERVER_ERROR));
    }
}

fn is_of(edu_type: &'static str) -> impl Fn(&Value) -> bool {
    move |edu| edu["edu_type"] == edu_type
}

/// Waits until a server has refused so many transactions that the piece that is to blame is looked for.
async fn refused_for_long(away: &Away) {
    let refused = |transactions: &[Transaction]| transactions.iter().filter(|it| !it.taken).count() >= 4;
    within(away.until(refused)).await;
}

/// Whether a transaction has neither events nor EDUs.
fn is_empty(transaction: &Value) -> bool {
    [&transaction["pdus"], &transaction["edus"]].iter().all(|it| it.as_array().is_none_or(Vec::is_empty))
}

/// Has a server refuse what it is sent, while somebody types, and then take everything: it gets everything.
async fn costs_nothing(refused: Refused, refusing: impl Fn(&Value) -> Option<StatusCode> + Copy + Send + 'static) {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_800_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        away.refuse(refusing);
        let mut expected = Vec::new();
        for number in 0..refused.waiting {
            let content = format!(r#"{{"n":{number}}}"#);
            send_to(&server, &alice, &format!("m.test/{number}"), &[(&away.bob, &content)]).await.ok();
            say(&server, &alice, &room, &number.to_string()).await;
            expected.push(number.to_string());
        }
        let refusals = |least: usize| {
            move |transactions: &[Transaction]| transactions.iter().filter(|it| !it.taken).count() >= least
        };
        // It is tried now and then, and once more after a restart.
        let tried = away.until(refusals(refused.transactions));
        within(async {
            tokio::select! { _ = tried => {}, () = pass_time_typing(&clock, &server, &alice, &room) => {} }
        })
        .await;
        server.restart().await;
        let tried_again = away.until(refusals(refused.transactions + 2));
        within(async {
            tokio::select! { _ = tried_again => {}, () = pass_time_typing(&clock, &server, &alice, &room) => {} }
        })
        .await;
        away.refuse(|_| None);
        let all = away.until(|it| numbers(it, &away.bob).len() >= expected.len() && bodies(it).len() >= expected.len());
        let transactions = within(async {
            tokio::select! { all = all => all, () = pass_time(&clock) => unreachable!() }
        })
        .await;
        assert_eq!(numbers(&transactions, &away.bob), (0..refused.waiting).collect::<Vec<_>>());
        assert_eq!(bodies(&transactions), expected);
    }
}
