use super::Helpers;
use crate::source::{File, Source};

/// The requests of a test as `METHOD /path`.
fn requests(test: &str) -> Vec<String> {
    let helpers = "
        const CLIENT: &str = \"/_matrix/client/v3\";
        fn room_path(room: &str, rest: &str) -> String { format!(\"{CLIENT}/rooms/{room}/{rest}\") }
        async fn change(server: &Server, room: &str, what: &str) {
            server.post(&room_path(room, what), json!({})).await
        }";
    let files = [helpers, test].map(|text| File { path: "crates/server/tests/it/x.rs".into(), text: text.into() });
    let sources = files.each_ref().map(Source::new);
    let helpers = Helpers::of(&sources.iter().collect::<Vec<_>>());
    let requests = helpers.requests_of(&sources[1]);
    requests.into_iter().map(|it| format!("{} {}", it.method.as_deref().unwrap_or("?"), it.path)).collect()
}

#[test]
fn literals_formats_and_helpers_are_read() {
    for (call, expected) in [
        ("server.get(\"/_matrix/client/versions\")", "GET /_matrix/client/versions"),
        ("server.put(&format!(\"{CLIENT}/profile/{}/displayname\", alice.id), body)", {
            "PUT /_matrix/client/v3/profile/{alice.id}/displayname"
        }),
        ("server.delete(&room_path(&room, \"x\"), token)", "DELETE /_matrix/client/v3/rooms/{room}/x"),
        ("server.request(Method::GET, \"/health\", None)", "GET /health"),
        ("change(&server, &room, \"ban\")", "POST /_matrix/client/v3/rooms/{room}/ban"),
        ("(room_path(\"!a:b\", \"invite\"), json!({}))", "? /_matrix/client/v3/rooms/!a:b/invite"),
    ] {
        assert_eq!(requests(&format!("fn test() {{ {call}.await; }}")), [expected], "{call}");
    }
}

#[test]
fn variables_and_closures_are_followed() {
    let found = requests(
        "fn test() {
            let path = format!(\"{CLIENT}/account/{what}\");
            server.put(&path, 1).await;
            let ask = async |what: &str| server.get(&format!(\"{CLIENT}/thirdparty/{what}\")).await;
            ask(\"protocols\").await;
            for path in [\"/a\", \"/b\"] { server.get(path).await; }
        }
        fn other() { server.get(&path).await; }",
    );
    let expected = ["PUT /_matrix/client/v3/account/{what}", "GET /_matrix/client/v3/thirdparty/protocols"];
    assert_eq!(found, [&expected[..], &["GET /a", "GET /b"]].concat());
}
