//! Adding an address: `POST /account/3pid/email/requestToken`, the link in the mail, and `POST /account/3pid/add`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::{Answer, Certificate, MailServer, TestPlace, TestServer, TestUser, places};
use serde_json::{Value, json};

use crate::client::{get_unauthenticated, post_unauthenticated, with_password};

const REQUEST_TOKEN: &str = "/_matrix/client/v3/account/3pid/email/requestToken";
const THREEPIDS: &str = "/_matrix/client/v3/account/3pid";
const ADDRESS: &str = "alice@example.org";
const START_MS: u64 = 1_700_000_000_000;

fn config(mail: &MailServer, options: &str) -> String {
    let port = mail.port();
    format!(
        "email: {{smtp_host: localhost, smtp_port: {port}, notif_from: '%(app)s <no-reply@test.example>', {options}}}\n\
         rc_3pid_validation: {{per_second: 1000, burst_count: 1000}}\n"
    )
}

/// Starts a mail server, and a homeserver that uses it. Returns `None` if there is no mail server.
async fn start(place: TestPlace, mail: Value, options: &str, more: &str) -> Option<(TestServer, MailServer)> {
    let mail = MailServer::start(mail).await?;
    let config = format!("{}{more}", config(&mail, options));
    let server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
    Some((server, mail))
}

async fn request(server: &TestServer, address: &str, attempt: u64) -> Answer {
    let body = json!({ "client_secret": "secret", "email": address, "send_attempt": attempt });
    post_unauthenticated(server, REQUEST_TOKEN, body).await
}

/// The path that the link in a mail leads to.
fn link(mail: &Value) -> String {
    let text = mail["text"].as_str().unwrap();
    let at = text.find("/_matrix/client/unstable/add_threepid/email/submit_token?").expect("there is a link");
    text[at..].split_whitespace().next().unwrap().to_owned()
}

async fn add(server: &TestServer, user: &TestUser, sid: &Value) -> Answer {
    let path = format!("{THREEPIDS}/add");
    let body = json!({ "client_secret": "secret", "sid": sid });
    let first = server.post(&path, &user.token, body.clone()).await;
    assert_eq!(first.status, 401);
    server.post(&path, &user.token, with_password(user, &first.body["session"], body)).await
}

async fn addresses(server: &TestServer, user: &TestUser) -> Vec<String> {
    let listed = server.get(THREEPIDS, &user.token).await;
    let listed = listed.ok()["threepids"].as_array().unwrap().clone();
    listed.iter().map(|it| it["address"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_added_by_whoever_opens_the_link_in_the_mail() {
    for place in places() {
        let Some((server, mut mails)) = start(place, json!({}), "app_name: App", "").await else { return };
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let sid = request(&server, " Alice@EXAMPLE.org", 1).await.ok()["sid"].clone();
        let mail = mails.next().await;
        assert_eq!((&mail["sender"], &mail["recipients"]), (&json!("no-reply@test.example"), &json!([ADDRESS])));
        assert_eq!(mail["headers"]["from"], "App <no-reply@test.example>");
        assert_eq!(mail["headers"]["subject"], "[test.example] Validate your email");
        let path = link(&mail);
        let html = mail["html"].as_str().unwrap().replace("&#x2f;", "/");
        assert!(html.contains(&path.replace('&', "&amp;")), "{mail}");

        // The same attempt sends no other mail; the next one does, about the same session.
        assert_eq!(request(&server, ADDRESS, 1).await.ok()["sid"], sid);
        assert_eq!(request(&server, ADDRESS, 2).await.ok()["sid"], sid);
        let again = mails.next().await;
        assert_eq!(link(&again), path);
        assert_ne!(again["headers"]["message-id"], mail["headers"]["message-id"]);

        assert_eq!(add(&server, &alice, &sid).await.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
        for wrong in [path.replace("token=", "token=x"), path.replace("sid=", "sid=%00"), path.replace("secret", "x")] {
            assert_eq!(get_unauthenticated(&server, &wrong).await.status, 400, "{wrong}");
        }
        assert_eq!(add(&server, &alice, &sid).await.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
        let page = get_unauthenticated(&server, &path).await;
        assert_eq!(page.status, 200);
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        for wrong in [json!("x"), json!("\u{0}"), json!("")] {
            assert_eq!(add(&server, &alice, &wrong).await.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
        }
        add(&server, &alice, &sid).await.ok();
        assert_eq!(addresses(&server, &alice).await, [ADDRESS]);
        // The session is used up, and the address taken.
        assert_eq!(add(&server, &bob, &sid).await.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
        assert_eq!(request(&server, ADDRESS, 3).await.refusal(), (400, "M_THREEPID_IN_USE"));

        let body = json!({ "medium": "email", "address": "ALICE@example.org" });
        server.post(&format!("{THREEPIDS}/delete"), &alice.token, body).await.ok();
        assert_eq!(addresses(&server, &alice).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_who_validate_one_address_do_not_both_get_it() {
    for place in places() {
        let Some((server, mut mails)) = start(place, json!({}), "", "").await else { return };
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let sid = request(&server, ADDRESS, 1).await.ok()["sid"].clone();
        let body = json!({ "client_secret": "other", "email": ADDRESS, "send_attempt": 1 });
        let other = post_unauthenticated(&server, REQUEST_TOKEN, body).await.ok()["sid"].clone();
        assert_ne!(sid, other);
        for _ in 0..2 {
            let path = link(&mails.next().await);
            assert_eq!(get_unauthenticated(&server, &path).await.status, 200);
        }
        add(&server, &alice, &sid).await.ok();
        let path = format!("{THREEPIDS}/add");
        let body = json!({ "client_secret": "other", "sid": other });
        let first = server.post(&path, &bob.token, body.clone()).await;
        let late = server.post(&path, &bob.token, with_password(&bob, &first.body["session"], body)).await;
        assert_eq!(late.refusal(), (400, "M_THREEPID_IN_USE"));
        assert_eq!(addresses(&server, &alice).await, [ADDRESS]);
        assert_eq!(addresses(&server, &bob).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_expire_and_lead_to_permitted_pages() {
    for place in places() {
        let more = "next_link_domain_whitelist: [app.example]\nrequest_token_inhibit_3pid_errors: true\n";
        let options = "validation_token_lifetime: 5m";
        let Some((server, mut mails)) = start(place, json!({}), options, more).await else { return };
        let alice = server.register("alice").await;
        let with_link = async |next_link: &str, attempt: u64| {
            let body = json!({ "client_secret": "secret", "email": ADDRESS, "send_attempt": attempt,
                "next_link": next_link });
            post_unauthenticated(&server, REQUEST_TOKEN, body).await
        };
        for wrong in
            ["https://evil.example/", "https://app.example@evil.example/", "javascript:alert(1)", "app.example"]
        {
            assert_eq!(with_link(wrong, 1).await.refusal(), (400, "M_INVALID_PARAM"), "{wrong}");
        }
        let next = "https://app.example/dön\ne";
        let sid = with_link(next, 1).await.ok()["sid"].clone();
        let path = link(&mails.next().await);
        server.clock().advance(Duration::from_secs(301));
        assert_eq!(get_unauthenticated(&server, &path).await.status, 400);
        // Another mail makes the link good again.
        assert_eq!(with_link(next, 2).await.ok()["sid"], sid);
        assert_eq!(link(&mails.next().await), path);
        let opened = get_unauthenticated(&server, &path).await;
        assert_eq!(
            (opened.status, &opened.headers["location"]),
            (303, &"https://app.example/d%C3%B6ne".parse().unwrap())
        );
        add(&server, &alice, &sid).await.ok();

        // The response does not say whether an account has the address, whose owner gets no mail.
        let body = json!({ "client_secret": "other", "email": ADDRESS, "send_attempt": 1 });
        let first = post_unauthenticated(&server, REQUEST_TOKEN, body.clone()).await.ok()["sid"].clone();
        assert_eq!(post_unauthenticated(&server, REQUEST_TOKEN, body).await.ok()["sid"], first);
        request(&server, "bob@example.org", 1).await.ok();
        assert_eq!(mails.next().await["recipients"], json!(["bob@example.org"]));

        // A day after it began, a validation is worth nothing.
        let sid = request(&server, "carol@example.org", 1).await.ok()["sid"].clone();
        let path = link(&mails.next().await);
        assert_eq!(get_unauthenticated(&server, &path).await.status, 200);
        server.clock().advance(Duration::from_secs(86_401));
        assert_eq!(add(&server, &alice, &sid).await.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    for place in places() {
        let more = "allowed_local_3pids: [{medium: email, pattern: '.*@example\\.org$'}]\n";
        let Some((server, mut mails)) = start(place, json!({}), "", more).await else { return };
        let good = json!({ "client_secret": "secret", "email": ADDRESS, "send_attempt": 1 });
        for (field, wrong, refusal) in [
            ("client_secret", json!("a b"), (400, "M_INVALID_PARAM")),
            ("client_secret", json!("\u{0}"), (400, "M_INVALID_PARAM")),
            ("client_secret", json!(1), (400, "M_BAD_JSON")),
            ("send_attempt", json!(-1), (400, "M_BAD_JSON")),
            ("send_attempt", json!("1"), (400, "M_BAD_JSON")),
            ("email", json!("alice"), (400, "M_INVALID_PARAM")),
            ("email", json!("a@example.org\r\nRCPT TO:<b@example.org>"), (400, "M_INVALID_PARAM")),
            ("email", json!("a\u{0}@example.org"), (400, "M_INVALID_PARAM")),
            ("email", json!("alice@example.com"), (403, "M_THREEPID_DENIED")),
            ("next_link", json!("javascript:alert(1)"), (400, "M_INVALID_PARAM")),
        ] {
            let mut body = good.clone();
            body[field] = wrong;
            assert_eq!(post_unauthenticated(&server, REQUEST_TOKEN, body.clone()).await.refusal(), refusal, "{body}");
        }
        request(&server, "bob@example.org", 1).await.ok();
        assert_eq!(mails.next().await["recipients"], json!(["bob@example.org"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_limited_by_address_and_by_client() {
    let Some(mail) = MailServer::start(json!({})).await else { return };
    let limit = "rc_3pid_validation: {per_second: 0.001, burst_count: 3}\n";
    for place in places() {
        let server = TestServer::on(place).config(&config(&mail, "")).config(limit).start().await;
        for attempt in 1..=3 {
            request(&server, ADDRESS, attempt).await.ok();
        }
        assert_eq!(request(&server, ADDRESS, 4).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(request(&server, "bob@example.org", 1).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deferred_is_sent_later_once_also_after_a_restart() {
    for place in places() {
        let options = json!({ "greylist": 2, "refused": ["nobody@example.org"] });
        let Some((mut server, mut mails)) = start(place, options, "", "").await else { return };
        request(&server, "nobody@example.org", 1).await.ok();
        assert_eq!(mails.next().await["refused"], "nobody@example.org");
        assert_eq!(mails.next().await["ended"], true);

        request(&server, ADDRESS, 1).await.ok();
        assert_eq!(mails.next().await["deferred"], ADDRESS);
        assert_eq!(mails.next().await["ended"], true);
        server.restart().await;
        server.clock().advance(Duration::from_secs(60));
        assert_eq!(mails.next().await["deferred"], ADDRESS);
        assert_eq!(mails.next().await["ended"], true);
        server.stop().await;
        server.clock().advance(Duration::from_secs(120));
        server.restart().await;
        let mail = mails.next().await;
        assert_eq!(mail["recipients"], json!([ADDRESS]));
        assert_eq!(get_unauthenticated(&server, &link(&mail)).await.status, 200);

        // What was refused for good is not tried again, and what was sent is not sent again.
        server.clock().advance(Duration::from_secs(900));
        request(&server, "bob@example.org", 1).await.ok();
        assert_eq!(mails.next().await["deferred"], "bob@example.org");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_authenticated_as_configured() {
    let insecure = "use_insecure_ssl_client_just_for_testing_do_not_use: true\n";
    let files = |tls: &str| {
        let certificate = Certificate::shared();
        json!({ "tls": tls, "certificate": certificate.certificate(), "key": certificate.key(),
            "login": ["plexus", "pass word"] })
    };
    let login = "smtp_user: plexus, smtp_pass: 'pass word'";
    for (options, settings, more, is_sent) in [
        (files("starttls"), login.to_owned(), insecure, true),
        (files("starttls"), format!("{login}, require_transport_security: true"), insecure, true),
        (files("implicit"), format!("{login}, force_tls: true"), insecure, true),
        (files("starttls"), "smtp_user: plexus, smtp_pass: wrong".to_owned(), insecure, false),
        // The server insists on what is not to be used, or does not offer what is required.
        (files("starttls"), format!("{login}, enable_tls: false"), insecure, false),
        (json!({}), "require_transport_security: true".to_owned(), insecure, false),
    ] {
        let what = format!("{options} {settings} {more}");
        let Some((server, mut mails)) = start(TestPlace::sqlite(), options, &settings, more).await else { return };
        request(&server, ADDRESS, 1).await.ok();
        let mut next = mails.next().await;
        if next["starttls"] == true {
            next = mails.next().await;
        }
        if is_sent {
            assert_eq!((&next["encrypted"], &next["user"]), (&json!(true), &json!("plexus")), "{what}: {next}");
        } else {
            assert!(next["ended"] == true || next["rejected"] == "plexus", "{what}: {next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_mail_server_whose_certificate_is_not_trusted() {
    let certificate = Certificate::shared();
    let options = json!({ "tls": "starttls", "certificate": certificate.certificate(), "key": certificate.key() });
    let Some((server, mut mails)) = start(TestPlace::sqlite(), options, "", "").await else { return };
    request(&server, ADDRESS, 1).await.ok();
    assert_eq!(mails.next().await["starttls"], true);
    // Nor is the next one.
    request(&server, "bob@example.org", 1).await.ok();
    let mut next = mails.next().await;
    while next["ended"] == true {
        next = mails.next().await;
    }
    assert_eq!(next["starttls"], true, "{next}");
}
