//! Users who set pushers to do harm, push gateways that do, and events that stop no pusher and no application service.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::Method;
use plexus_testkit::{AppServiceStub, GatewayConduct, PushGateway, every, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stored::{DAMAGED, between_runs, damage};
use super::*;
use crate::client::push_gateways::{pusher, set};
use crate::client::{create, join, room_path, two_in_a_room};

const SET: &str = "/_matrix/client/v3/pushers/set";

/// The odd pushers that are set as they are, and work.
const TAKEN: [&str; 9] = [
    "",
    "control characters",
    "control characters in the language",
    "U+0000 in the data",
    "U+0000 as a name in the data",
    "data nested 100 deep",
    "an integer of 200 digits",
    "a fraction",
    "the data's own names",
];

/// The body that sets a pusher, as text: some of it only text can say.
fn text(gateway: &PushGateway, change: impl FnOnce(&mut Value), (from, to): (&str, &str)) -> String {
    let mut body = pusher(gateway, "odd");
    change(&mut body);
    body.to_string().replace(from, to)
}

/// What a user tries to set. Whatever becomes of it, it is no failure of the server.
fn odd_pushers(gateway: &PushGateway) -> Vec<(&'static str, String, Option<u16>)> {
    let url = gateway.url();
    let port = url.rsplit(':').next().unwrap_or_default().to_owned();
    let at = |place: &'static str| {
        let url = format!("{place}{port}");
        text(gateway, |it| it["data"]["url"] = json!(url), ("", ""))
    };
    let with = |pointer: &'static str, value: Value| {
        let put = |it: &mut Value| *it.pointer_mut(pointer).expect("a member of the pusher") = value;
        text(gateway, put, ("", ""))
    };
    let raw = |value: &str| text(gateway, |it| it["data"]["more"] = json!("RAW"), ("\"RAW\"", value));
    vec![
        ("credentials", at("http://user:password@127.0.0.1:"), Some(400)),
        ("an unix socket", with("/data/url", json!("unix:/run/x.sock:/_matrix/push/v1/notify")), Some(400)),
        ("a file", with("/data/url", json!("file:///_matrix/push/v1/notify")), Some(400)),
        ("another path", with("/data/url", json!("http://127.0.0.1/_matrix/push/v1/notify/../admin")), Some(400)),
        ("an encoded path", with("/data/url", json!("http://127.0.0.1/_matrix/push/v1/%6eotify")), Some(400)),
        ("an IPv6 address", at("http://[::1]:"), None),
        ("an IPv4 address in IPv6", at("http://[::ffff:127.0.0.1]:"), None),
        ("half an IPv6 address", at("http://[::1:"), Some(400)),
        ("an IPv6 zone", at("http://[fe80::1%25eth0]:"), None),
        ("a port too large", with("/data/url", json!("http://127.0.0.1:99999/_matrix/push/v1/notify")), None),
        ("port 0", with("/data/url", json!("http://127.0.0.1:0/_matrix/push/v1/notify")), None),
        ("a control character in the URL", with("/data/url", json!("http://x\r\ny/_matrix/push/v1/notify")), Some(400)),
        (
            "a name of 10,000 letters",
            with("/data/url", json!(format!("http://{}/_matrix/push/v1/notify", "x".repeat(10_000)))),
            None,
        ),
        ("a URL that is a list", with("/data/url", json!([url])), Some(400)),
        ("no data", with("/data", json!({})), Some(400)),
        ("data that is a list", with("/data", json!([])), Some(400)),
        ("1 MB of display name", with("/device_display_name", json!("x".repeat(1_000_000))), Some(413)),
        ("1 MB of data", with("/data/more", json!("x".repeat(1_000_000))), Some(413)),
        ("a pushkey of 513 bytes", with("/pushkey", json!("x".repeat(513))), Some(400)),
        ("an empty pushkey", with("/pushkey", json!("")), None),
        ("control characters", with("/app_id", json!("app\n\u{1b}[31m\u{202e}\u{7f}")), None),
        ("control characters in the language", with("/lang", json!("e\nn\u{1b}")), None),
        ("U+0000", with("/lang", json!("e\u{0}n")), Some(400)),
        ("U+0000 in the data", with("/data/more", json!("a\u{0}b")), None),
        ("U+0000 as a name in the data", with("/data/more", json!({ "a\u{0}b": 1 })), None),
        ("data nested 600 deep", raw(&format!("{}1{}", "[".repeat(600), "]".repeat(600))), Some(400)),
        ("data nested 100 deep", raw(&format!("{}1{}", "[".repeat(100), "]".repeat(100))), None),
        ("1e999", raw("1e999"), Some(400)),
        ("an integer of 5,000 digits", raw(&"9".repeat(5_000)), Some(400)),
        ("an integer of 200 digits", raw(&"9".repeat(200)), None),
        ("a fraction", raw("1.25e-300"), None),
        ("half a surrogate pair", raw(r#""\ud800""#), Some(400)),
        ("the data's own names", raw(r#"1, "url": "http://else.example/_matrix/push/v1/notify", "more": 2"#), None),
        ("a kind that is a list", with("/kind", json!(["http"])), Some(400)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_pushers_are_refused_or_harm_nobody() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let (gateway, odd) = (PushGateway::start().await, PushGateway::start().await);
        set(&server, &bob, pusher(&gateway, "bobs")).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        for user in [&carol, &bob] {
            for (what, body, status) in odd_pushers(&odd) {
                let body = body.replace("\"odd\"", &json!(what).to_string());
                let headers = [("Content-Type", "application/json")];
                let answer = server.send(Method::POST, SET, Some(&user.token), &headers, body.into()).await;
                assert!(answer.status == 200 || answer.refusal().0 < 500, "{what}: {answer:?}");
                if let Some(status) = status {
                    assert_eq!(answer.status, status, "{what}: {answer:?}");
                }
                server.get(&format!("{CLIENT}/pushers"), &user.token).await.ok();
            }
        }
        for restarted in [false, true] {
            if restarted {
                server.restart().await;
            }
            let event = say(&server, &alice, &room, "for everybody").await;
            assert_eq!(gateway.next().await["event_id"], event.as_str());
            // A pusher that was taken as it is works, whatever is in its data.
            let mut missing = BTreeSet::from(TAKEN);
            while !missing.is_empty() {
                let notification = odd.next().await;
                missing.remove(notification["devices"][0]["pushkey"].as_str().unwrap_or_default());
            }
        }
    }
}

/// What a gateway sends back: first the one, then the other again and again.
#[derive(Clone)]
struct Behaviour {
    begin: Vec<u8>,
    repeat: Vec<u8>,
}

/// A gateway that sends bytes back. It counts the requests.
struct RawGateway {
    address: SocketAddr,
    requests: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for RawGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawGateway {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (count, requests) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                connections.spawn(answer(stream, behaviour.clone()));
            }
        });
        Self { address, requests, task }
    }

    fn url(&self) -> String {
        format!("http://{}/_matrix/push/v1/notify", self.address)
    }

    async fn requested(&self, times: usize) {
        let mut requests = self.requests.clone();
        let waited = within(BOUND, requests.wait_for(|count| *count >= times)).await;
        assert!(waited.is_ok_and(|waited| waited.is_ok()), "the gateway is not asked {times} times");
    }
}

async fn answer(mut stream: TcpStream, Behaviour { begin, repeat }: Behaviour) {
    let mut request = vec![0; 64 * 1024];
    if stream.read(&mut request).await.is_err() || stream.write_all(&begin).await.is_err() || repeat.is_empty() {
        return;
    }
    while stream.write_all(&repeat).await.is_ok() {}
}

fn response(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn odd_answers(other: &PushGateway) -> Vec<(&'static str, Behaviour)> {
    let once = |begin: Vec<u8>| Behaviour { begin, repeat: Vec::new() };
    let endless = |begin: &str, repeat: &[u8]| Behaviour { begin: begin.as_bytes().to_vec(), repeat: repeat.to_vec() };
    let redirect = format!("307 Away\r\nLocation: {}", other.url());
    let many = format!("{{\"rejected\":[{}\"\"]}}", "\"x\",".repeat(10_000));
    let deep = format!("{{\"rejected\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    vec![
        ("others' keys", once(response("200 OK", br#"{"rejected":["bobs","",7,null,{"odd":1}]}"#))),
        ("a redirect", once(response(&redirect, b""))),
        (
            "an endless body",
            endless("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"rejected\":[", &[b' '; 65_536]),
        ),
        ("endless chunks", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")),
        ("an endless head", endless("HTTP/1.1 200 OK\r\n", b"X-More: x\r\n")),
        ("endless 1xx", endless("", b"HTTP/1.1 103 Early Hints\r\n\r\n")),
        ("a length of exabytes", once(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n{}".to_vec())),
        (
            "a gzip bomb",
            once(response("200 OK\r\nContent-Encoding: gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff])),
        ),
        ("many rejected", once(response("200 OK", many.as_bytes()))),
        ("deep", once(response("200 OK", deep.as_bytes()))),
        ("no JSON", once(response("200 OK", b"<html>welcome to the hotel</html>"))),
        ("no HTTP", once(b"\0\x01\x02\xff\r\n\r\n".to_vec())),
        (
            "another protocol",
            once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec()),
        ),
        ("nothing", once(Vec::new())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_answer_oddly_harm_nobody() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let (gateway, other) = (PushGateway::start().await, PushGateway::start().await);
        set(&server, &bob, pusher(&gateway, "bobs")).await;
        let mut odd = Vec::new();
        for (number, (what, behaviour)) in odd_answers(&other).into_iter().enumerate() {
            let user = server.register(&format!("odd{number}")).await;
            join(&server, &user, &room).await;
            let gateway = RawGateway::start(behaviour).await;
            let mut body = pusher(&other, "odd");
            body["data"]["url"] = json!(gateway.url());
            set(&server, &user, body).await;
            odd.push((what, user, gateway));
        }
        for number in 0..3 {
            let event = say(&server, &alice, &room, &format!("for everybody {number}")).await;
            assert_eq!(gateway.next().await["event_id"], event.as_str());
        }
        for (_, _, gateway) in &odd {
            gateway.requested(1).await;
        }
        // The one that accepted what it was sent gets the rest.
        odd[0].2.requested(3).await;
        for (what, user, _) in &odd {
            let listed = server.get(&format!("{CLIENT}/pushers"), &user.token).await;
            assert_eq!(listed.ok()["pushers"].as_array().expect("a list").len(), 1, "{what}");
        }
        assert_eq!(server.get(&format!("{CLIENT}/pushers"), &bob.token).await.ok()["pushers"][0]["pushkey"], "bobs");
        assert_eq!(other.requests(), 0, "no redirect is followed");
        let event = say(&server, &alice, &room, "after all that").await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_stops_no_pusher_and_no_application_service() {
    for place in plexus_testkit::places() {
        let service = AppServiceStub::start().await;
        let everybody =
            service.registration("irc", "").replace("aliases:", "rooms: [{regex: '.*', exclusive: false}]\n  aliases:");
        let mut server = TestServer::on(place).app_service(everybody).start().await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        let gateway = PushGateway::start().await;
        set(&server, &bob, pusher(&gateway, "bobs")).await;
        let first = say(&server, &alice, &room, "first").await;
        assert_eq!(gateway.next().await["event_id"], first.as_str());
        // What waits becomes unreadable.
        gateway.conduct(GatewayConduct::Respond(502));
        service.respond(|_| (502, json!({})));
        let lost = say(&server, &alice, &room, "lost").await;
        gateway.requested(2).await;
        let key = plexus_store::event_key::encode(&lost.parse().expect("an event id"));
        between_runs(&mut server, move |tx| {
            tx.execute("UPDATE events SET json = $2 WHERE event_id = $1", &[&key, &DAMAGED[0]]).map(drop)
        })
        .await;
        for number in [0, 2, 3, 4] {
            damage(&mut server, &room, "m.room.member", &bob.id, DAMAGED[number]).await;
            damage(&mut server, &room, "m.room.member", &alice.id, DAMAGED[number]).await;
        }
        gateway.conduct(GatewayConduct::Accept);
        service.respond(|_| (200, json!({})));
        let after = say(&server, &alice, &room, "after").await;
        let pushed = async { while gateway.next().await["event_id"] != after.as_str() {} };
        within(BOUND, pushed).await.expect("the pusher goes on");
        let has_after = |service: &AppServiceStub| {
            service.events().iter().any(|event| event["event_id"] == after.as_str()).then_some(())
        };
        service.wait_for("what comes after", has_after).await;
        // Another room of the same users is served as well.
        let other = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        join(&server, &bob, &other).await;
        let event = say(&server, &alice, &other, "elsewhere").await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
        let mut looks = every(Duration::from_millis(50));
        while server.get(&room_path(&room, "joined_members"), &alice.token).await.status >= 500 {
            looks.tick().await;
        }
    }
}
