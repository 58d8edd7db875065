//! JSON that is none, or that room versions read differently.

use http::Method;

use super::*;

/// Sends a transaction whose body is `text`.
async fn put(stage: &Stage, text: &str) -> Answer {
    let path = format!("/_matrix/federation/v1/send/{}", unique_name());
    stage.liar.peer.request_text(&stage.server, Method::PUT, &path, text).await
}

/// A transaction of one event, in whose content stands `member`.
async fn with_member(stage: &Stage, member: &str) -> (Answer, String) {
    let text = unique_name();
    let event = stage.template(&stage.liar.mallory).await;
    let mut object = Object::parse(&event.to_string()).unwrap();
    let content = format!(r#"{{"body":"{text}","msgtype":"m.text",{member}}}"#);
    let content = plexus_protocol::json::Value::parse(&content).unwrap_or_else(|error| panic!("{member}: {error}"));
    object.insert("content", content);
    let name = stage.liar.peer.name().as_str();
    if stage.version.rules().event_id_format == EventIdFormat::Server {
        object.insert("event_id", format!("${}:{name}", unique_name()));
    }
    object.insert("hashes", Object::from([("sha256", STANDARD_NO_PAD.encode(hash::content_hash(&object.to_json())))]));
    let key = stage.liar.peer.key();
    let signature = key.sign(redact::redact_object(&object, stage.version.rules()).to_json().as_bytes());
    object.insert("signatures", Object::from([(name, Object::from([(key.key_id(), signature)]))]));
    (put(stage, &format!(r#"{{"origin":"{name}","origin_server_ts":1,"pdus":[{}]}}"#, object.to_json())).await, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_as_each_room_version_wants_them() {
    for (version, lax) in [("5", true), ("6", false), ("11", false), ("12", false)] {
        for stage in Stage::on_each(version).await {
            for number in ["1.5", "1e3", "9007199254740992", "-9007199254740992", "99999999999999999999", "-0.0"] {
                let (answer, text) = with_member(&stage, &format!(r#""x":{number}"#)).await;
                stage.judged().await;
                // "Events must be canonical JSON" from room version 6 on.
                assert_eq!(
                    answer.ok()["pdus"].as_object().unwrap().len(),
                    usize::from(lax),
                    "{version} {number}: {answer:?}"
                );
                assert_eq!(stage.bodies().await.contains(&text), lax, "{version} {number}");
            }
            for number in ["9007199254740991", "-9007199254740991", "0"] {
                let (answer, text) = with_member(&stage, &format!(r#""x":{number}"#)).await;
                stage.judged().await;
                assert_eq!(answer.ok()["pdus"].as_object().unwrap().len(), 1, "{version} {number}");
                assert!(stage.bodies().await.contains(&text), "{version} {number}");
            }
            stage.is_usable().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_are_refused() {
    for stage in Stage::on_each("11").await {
        let deep = format!(r#"{{"pdus":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let wide = format!(r#"{{"pdus":[],"x":{}1{}}}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        for text in [
            "",
            "{",
            "[]",
            "null",
            "true",
            "\"text\"",
            "{\"pdus\":[NaN]}",
            "{\"pdus\":[Infinity]}",
            "{\"pdus\":[01]}",
            "{\"pdus\":[]}}",
            "{\"pdus\":[],}",
            "{'pdus':[]}",
            "{\"pdus\":[\"\u{0}\"]}",
            "{\"pdus\":[\"\\x\"]}",
            r#"{"pdus":["\ud800"]}"#,
            &deep,
            &wide,
        ] {
            let answer = put(&stage, text).await;
            assert!((400..500).contains(&answer.status), "{text:.80}: {answer:?}");
            assert!(
                ["M_NOT_JSON", "M_BAD_JSON", "M_UNAUTHORIZED"].contains(&answer.refusal().1),
                "{text:.80}: {answer:?}"
            );
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_refused() {
    for stage in Stage::on_each("11").await {
        let path = format!("/_matrix/federation/v1/send/{}", unique_name());
        let header = stage.liar.peer.authorization(&stage.server, &Method::PUT, &path, Some(&json!({})));
        for body in [&b"{\"pdus\":[\"\xff\"]}"[..], b"\xfe\xff{}", b"{\"pdus\":[\"\xed\xa0\x80\"]}", b"\xef\xbb\xbf{}"]
        {
            let headers = [("Authorization", header.as_str())];
            let answer = stage.server.send(Method::PUT, &path, None, &headers, bytes::Bytes::from_static(body)).await;
            assert_eq!(answer.refusal(), (400, "M_NOT_JSON"), "{body:?}");
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_there_twice_are_read_one_way_only() {
    for stage in Stage::on_each("11").await {
        let good = stage.lie(|_| {}).await;
        // The signature covers one of them at most.
        let twice = format!(r#"{{"pdus":[],"pdus":[{good}]}}"#);
        let answer = put(&stage, &twice).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        let text = unique_name();
        for (first, second) in [("body", "type"), ("sender", "content"), ("room_id", "hashes")] {
            let event = good.to_string();
            for name in [first, second] {
                let doubled = event.replacen(&format!("\"{name}\":"), &format!("\"{name}\":\"{text}\",\"{name}\":"), 1);
                let answer = put(&stage, &format!(r#"{{"pdus":[{doubled}]}}"#)).await;
                assert!(answer.status < 500, "{answer:?}");
            }
        }
        stage.judged().await;
        assert!(!stage.bodies().await.contains(&text));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_nested_deeply_harms_nobody() {
    for stage in Stage::on_each("5").await {
        for depth in [50, 120, 1_000, 10_000] {
            let nested = format!("\"x\":{}1{}", "[".repeat(depth), "]".repeat(depth));
            let body = format!(r#"{{"pdus":[{{"room_id":"{}","content":{{{nested}}}}}]}}"#, stage.room);
            assert!(put(&stage, &body).await.status < 500);
        }
        // As deep as it is taken, every client is answered.
        for depth in [20, 60, 90] {
            let (answer, _) = with_member(&stage, &format!("\"x\":{}1{}", "[".repeat(depth), "]".repeat(depth))).await;
            answer.ok();
        }
        stage.judged().await;
        let sync = format!("{CLIENT}/sync");
        stage.server.get(&sync, &stage.alice.token).await.ok();
        stage.is_usable().await;
    }
}
