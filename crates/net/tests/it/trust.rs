//! Whom connections are made to: addresses and certificates.

use plexus_base::config::IpRange;
use plexus_net::{AddressGuard, Call, FederationError, Purpose};

use crate::support::{Authority, Server, World, json, server};

const FORBIDDEN: &str = "ip_range_blacklist";

fn ranges(ranges: &[&str]) -> Vec<IpRange> {
    ranges.iter().map(|range| IpRange::parse(range).unwrap()).collect()
}

#[tokio::test]
async fn forbidden_addresses_are_not_connected_to_whatever_they_are_called() {
    let mut world = World::new();
    world.settings.guard = AddressGuard { blocked: ranges(&["127.0.0.0/8"]), exceptions: Vec::new() };
    let at = Server::start(&world.authority, &["a.example", "127.0.0.1"], |_| json("{}")).await;
    world.names.every_host(at.address);
    let client = world.client().await;
    let port = at.address.port();
    let names =
        [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}"), "a.example:5".into(), "a.example".into()];
    for name in names {
        let error = client.call(&server(&name), Call::get("/")).await.unwrap_err();
        assert!(error.to_string().contains(FORBIDDEN), "{name}: {error}");
    }
    let location = format!("http://127.0.0.1:{port}/");
    let error = client
        .fetch(Purpose::RemoteMedia, &server("a.example"), &location, std::time::Duration::from_secs(60), 1)
        .await
        .err();
    assert!(error.unwrap().to_string().contains(FORBIDDEN));
    // Not even the .well-known was asked for.
    assert_eq!(at.connections(), 0);

    world.settings.guard.exceptions = ranges(&["127.0.0.1"]);
    world.client().await.call(&server("a.example:5"), Call::get("/")).await.unwrap();
}

#[tokio::test]
async fn certificates_must_be_of_a_trusted_authority_and_for_the_name() {
    let mut world = World::new();
    let strange = Authority::new();
    let stranger = Server::start(&strange, &["a.example"], |_| json("{}")).await;
    let misnamed = Server::start(&world.authority, &["other.example"], |_| json("{}")).await;
    world.names.host("a.example:5", stranger.address);
    world.names.host("b.example:5", misnamed.address);
    let client = world.client().await;
    for name in ["a.example:5", "b.example:5"] {
        let refused = client.call(&server(name), Call::get("/")).await;
        assert!(matches!(refused, Err(FederationError::Unreachable { .. })), "{refused:?}");
    }
    assert!(stranger.seen().is_empty() && misnamed.seen().is_empty());

    // Servers are left alone once they have failed; a user's request goes there all the same.
    world.settings.tls.unverified_hosts = vec!["a.exam*".to_owned()];
    let client = world.client().await;
    client.call(&server("a.example:5"), Call::get("/")).await.unwrap();
    client.call(&server("b.example:5"), Call::get("/")).await.unwrap_err();
    world.settings.tls.verify = false;
    world.client().await.call(&server("b.example:5"), Call::get("/")).await.unwrap();
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_is_told_at_the_start() {
    let mut world = World::new();
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), "/does/not/exist.pem".into()] {
        world.settings.tls.authorities = vec![path.clone()];
        let settings = world.settings.clone();
        let error = crate::support::start(&world, settings).await.err().unwrap().to_string();
        assert!(error.contains("federation_custom_ca_list") && error.contains(path.to_str().unwrap()), "{error}");
    }
}
