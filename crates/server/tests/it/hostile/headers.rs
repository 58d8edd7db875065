//! Requests whose X-Matrix header is not what it should be.

use http::Method;
use plexus_protocol::id::ServerName;
use plexus_protocol::x_matrix::{self, XMatrix};

use super::*;

const PATH: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Atest.example";

fn sign(stage: &Stage, destination: &str, origin: &str, uri: &str) -> String {
    let (destination, origin): (ServerName, ServerName) = (destination.parse().unwrap(), origin.parse().unwrap());
    let request = x_matrix::Request { method: "GET", uri, destination: &destination, content: None };
    XMatrix::sign(&request, &origin, stage.liar.peer.key()).to_string()
}

async fn get(stage: &Stage, headers: &[&str]) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|value| ("Authorization", *value)).collect();
    stage.server.send(Method::GET, PATH, None, &headers, bytes::Bytes::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_not_right_is_refused() {
    for stage in Stage::on_each("11").await {
        let own = stage.liar.peer.name().as_str().to_owned();
        let right = sign(&stage, "test.example", &own, PATH);
        get(&stage, &[&right]).await.ok();
        let honest = stage.honest.peer.authorization(&stage.server, &Method::GET, PATH, None);
        let cases: Vec<(&str, Vec<String>)> = vec![
            ("none", vec![]),
            ("of another destination", vec![sign(&stage, "else.example", &own, PATH)]),
            (
                "with the destination replaced",
                vec![sign(&stage, "else.example", &own, PATH).replace("else.example", "test.example")],
            ),
            ("for another path", vec![sign(&stage, "test.example", &own, "/_matrix/federation/v1/version")]),
            ("in the name of another", vec![sign(&stage, "test.example", stage.honest.peer.name().as_str(), PATH)]),
            ("in our own name", vec![sign(&stage, "test.example", "test.example", PATH)]),
            ("of two servers", vec![right.clone(), honest]),
            ("of a server that cannot be reached", vec![sign(&stage, "test.example", "127.0.0.1:1", PATH)]),
            (
                "without a signature",
                vec![format!("X-Matrix origin=\"{own}\",destination=\"test.example\",key=\"ed25519:p_1\"")],
            ),
            ("of an unknown key", vec![right.replace("ed25519:p_1", "ed25519:p_2")]),
            ("of another algorithm", vec![right.replace("ed25519:p_1", "rsa:p_1")]),
            ("of no server", vec![right.replace(&own, "not a name")]),
            ("huge", vec![format!("X-Matrix origin=\"{}\",key=\"ed25519:1\",sig=\"AA\"", "x".repeat(10_000))]),
            (
                "with a long signature",
                vec![format!(
                    "X-Matrix origin=\"{own}\",destination=\"test.example\",key=\"ed25519:p_1\",sig=\"{}\"",
                    "A".repeat(10_000)
                )],
            ),
            ("not of the scheme", vec!["Bearer abc".to_owned()]),
            ("empty", vec![String::new()]),
            ("unfinished", vec!["X-Matrix origin=\"".to_owned()]),
            ("nothing but commas", vec![format!("X-Matrix {}", ",".repeat(1_000))]),
            ("with its parts twice", vec![right.replace("X-Matrix ", "X-Matrix origin=\"else.example\",")]),
            ("many", vec![sign(&stage, "test.example", &own, "/"); 50]),
        ];
        for (name, headers) in cases {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = get(&stage, &headers).await;
            assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{name}: {answer:?}");
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_make_us_ask_for_keys_without_end() {
    for stage in Stage::on_each("11").await {
        let own = stage.liar.peer.name().as_str().to_owned();
        let right = sign(&stage, "test.example", &own, PATH);
        let before = stage.liar.asked("/_matrix/key/v2/server");
        for number in 0..40 {
            let header = right.replace("ed25519:p_1", &format!("ed25519:x{number}"));
            assert_eq!(get(&stage, &[&header]).await.refusal(), (401, "M_UNAUTHORIZED"));
        }
        let asked = stage.liar.asked("/_matrix/key/v2/server") - before;
        assert!(asked <= 5, "asked {asked} times");
        get(&stage, &[&right]).await.ok();
        stage.is_usable().await;
    }
}
