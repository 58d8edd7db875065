//! Who is believed to have sent a request.

use http::Method;
use plexus_testkit::{Peer, TestPlace, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_believed_if_its_server_signed_it() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let path = "/_matrix/federation/v1/query/whatever?a=%2Fb";
    let answer = peer.get(&server, path).await;
    assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"), "the signature is right, the question unknown");
    let keys = peer.received();
    assert_eq!(keys.iter().map(|request| request.uri.as_str()).collect::<Vec<_>>(), ["/_matrix/key/v2/server"]);

    // Another path, and another server's name on the same signature.
    let authorization = peer.authorization(&server, &Method::GET, path, None);
    let send = async |path: &str, authorization: &str| {
        server.send(Method::GET, path, None, &[("Authorization", authorization)], Default::default()).await
    };
    let other_path = send("/_matrix/federation/v1/query/other", &authorization).await;
    assert_eq!(other_path.refusal(), (401, "M_UNAUTHORIZED"));
    let liar = Peer::start().await;
    let stolen = authorization.replace(peer.name().as_str(), liar.name().as_str());
    assert_eq!(send(path, &stolen).await.refusal(), (401, "M_UNAUTHORIZED"));
    let elsewhere = authorization.replace("test.example", "else.example");
    assert_eq!(send(path, &elsewhere).await.refusal(), (401, "M_UNAUTHORIZED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_on_the_whitelist_are_spoken_with() {
    let server = TestServer::on(TestPlace::sqlite()).config("federation_domain_whitelist: [a.example]").start().await;
    let peer = Peer::start().await;
    let answer = peer.get(&server, "/_matrix/federation/v1/query/profile?user_id=@a:test.example").await;
    assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
    assert!(peer.received().is_empty(), "its key need not be known");
}
