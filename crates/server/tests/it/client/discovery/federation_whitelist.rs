//! `GET /_synapse/client/v1/config/federation_whitelist`.

use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

const PATH: &str = "/_synapse/client/v1/config/federation_whitelist";

#[tokio::test]
async fn users_read_the_list_where_that_is_enabled() {
    for (list, response) in [
        ("", json!({ "whitelist_enabled": false, "whitelist": [] })),
        ("federation_domain_whitelist: []", json!({ "whitelist_enabled": true, "whitelist": [] })),
        (
            "federation_domain_whitelist: [one.example, two.example]",
            json!({ "whitelist_enabled": true, "whitelist": ["one.example", "two.example"] }),
        ),
    ] {
        let config = format!("federation_whitelist_endpoint_enabled: true\n{list}");
        let server = TestServer::on(TestPlace::sqlite()).config(&config).start().await;
        let alice = server.register("alice").await;
        assert_eq!(server.get(PATH, &alice.token).await.ok(), &response);
        assert_eq!(server.request(Method::GET, PATH, None, None).await.refusal(), (401, "M_MISSING_TOKEN"));
    }
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    assert_eq!(server.get(PATH, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
}
