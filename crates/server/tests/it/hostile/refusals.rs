//! Refusals that a client would take for errors of its own session or account.

use http::Method;

use super::*;

/// Requests of a client for which the liar is asked, each for something that was not asked for before.
fn requests(stage: &Stage, number: usize) -> Vec<(Method, String, Value)> {
    let liar = stage.liar.peer.name();
    let room = format!("%21room{number}:{liar}");
    let rooms = "/_matrix/client/v3/rooms";
    vec![
        (Method::POST, format!("/_matrix/client/v3/join/{room}?via={liar}"), json!({})),
        (Method::POST, format!("/_matrix/client/v3/knock/{room}?via={liar}"), json!({})),
        (Method::POST, format!("{rooms}/{}/invite", stage.room), json!({ "user_id": format!("@b{number}:{liar}") })),
        (Method::GET, format!("/_matrix/client/v3/profile/@p{number}:{liar}"), Value::Null),
        (Method::GET, format!("/_matrix/client/v3/directory/room/%23a{number}:{liar}"), Value::Null),
        (Method::GET, format!("/_matrix/client/v3/publicRooms?server={liar}"), Value::Null),
        (Method::POST, format!("/_matrix/client/v3/publicRooms?server={liar}"), json!({ "limit": number + 1 })),
        (Method::GET, format!("/_matrix/client/v1/media/download/{liar}/media{number}"), Value::Null),
        (Method::GET, format!("/_matrix/client/v1/room_summary/{room}?via={liar}"), Value::Null),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_looks_like_the_end_of_a_session() {
    const REFUSALS: [(u16, &str); 7] = [
        (401, "M_UNKNOWN_TOKEN"),
        (403, "M_UNKNOWN_TOKEN"),
        (400, "M_UNKNOWN_TOKEN"),
        (404, "M_MISSING_TOKEN"),
        (403, "M_USER_DEACTIVATED"),
        (403, "M_USER_LOCKED"),
        (401, "M_FORBIDDEN"),
    ];
    for place in plexus_testkit::places() {
        let stage = Stage::closed(place).await;
        for (number, (status, errcode)) in REFUSALS.into_iter().enumerate() {
            stage.liar.answers(move |_| {
                let error = "x".repeat(2_000);
                let body = json!({ "errcode": errcode, "error": error, "soft_logout": false, "flows": [] });
                Some((StatusCode::from_u16(status).unwrap(), body.to_string()).into_response())
            });
            for (method, path, body) in requests(&stage, number) {
                let asked = stage.liar.peer.received().len();
                let body = (!body.is_null()).then_some(body);
                let answer = stage.server.request(method, &path, Some(&stage.alice.token), body).await;
                assert!(stage.liar.peer.received().len() > asked, "{path}: the liar was not asked: {answer:?}");
                let refused_as = answer.body["errcode"].as_str().unwrap_or_default();
                let is_plain = ["M_UNKNOWN", "M_NOT_FOUND", "M_FORBIDDEN"].contains(&refused_as);
                assert!([400, 403, 404, 502].contains(&answer.status) && is_plain, "{path} {errcode}: {answer:?}");
                assert!(answer.body.get("soft_logout").is_none() && answer.body.get("flows").is_none(), "{answer:?}");
                assert!(answer.bytes.len() < 1_000, "{path}: {} bytes", answer.bytes.len());
            }
        }
        stage.server.get("/_matrix/client/v3/account/whoami", &stage.alice.token).await.ok();
    }
}
