//! `GET /rtc/transports`.

use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

const STABLE: &str = "/_matrix/client/v1/rtc/transports";
const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";
const WELL_KNOWN: &str = "/.well-known/matrix/client";

#[tokio::test]
async fn transports_are_those_of_the_configuration() {
    let config = "
public_baseurl: https://matrix.example/
matrix_rtc:
  transports:
    - {type: livekit, livekit_service_url: 'https://rtc.example/livekit'}
    - {type: example, url: 'https://rtc.example'}
experimental_features: {msc4143_enabled: true}";
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let alice = server.register("alice").await;
    let transports = json!([
        { "type": "livekit", "livekit_service_url": "https://rtc.example/livekit" },
        { "type": "example", "url": "https://rtc.example" },
    ]);
    for path in [STABLE, UNSTABLE] {
        assert_eq!(server.get(path, &alice.token).await.ok(), &json!({ "rtc_transports": transports }));
        assert_eq!(server.request(Method::GET, path, None, None).await.refusal(), (401, "M_MISSING_TOKEN"));
    }
    let well_known = server.request(Method::GET, WELL_KNOWN, None, None).await;
    assert_eq!(well_known.ok()["org.matrix.msc4143.rtc_foci"], transports);
}

#[tokio::test]
async fn without_transports_there_are_none() {
    let own = json!([{ "type": "livekit", "livekit_service_url": "https://other.example" }]);
    for well_known in [None, Some(&own)] {
        let own =
            well_known.map(|foci| format!("extra_well_known_client_content: {{org.matrix.msc4143.rtc_foci: {foci}}}"));
        let config = format!("public_baseurl: https://matrix.example/\n{}", own.unwrap_or_default());
        let server = TestServer::on(TestPlace::sqlite()).config(&config).start().await;
        let alice = server.register("alice").await;
        assert_eq!(server.get(STABLE, &alice.token).await.ok(), &json!({ "rtc_transports": [] }));
        assert_eq!(server.get(UNSTABLE, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
        let answer = server.request(Method::GET, WELL_KNOWN, None, None).await;
        assert_eq!(answer.ok().get("org.matrix.msc4143.rtc_foci"), well_known);
    }
}
