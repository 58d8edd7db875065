//! Which endpoints of the specification are served and called: all but those listed in an `...-unserved.tsv` or
//! `...-uncalled.tsv`, lists that may only shrink.

use std::collections::BTreeSet;

use plexus_http::Route;
use plexus_net::federation::api::ENDPOINTS;

/// Method and path, the latter with every parameter named alike.
fn endpoint(method: &str, path: &str) -> String {
    let segments: Vec<_> =
        path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect();
    format!("{method} {}", segments.join("/"))
}

fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    fields.filter_map(|fields| Some(endpoint(fields.first()?, fields.get(1)?))).collect()
}

fn assert_served(routes: &[Route], specified: &str, unserved_list: &str) {
    let served = routes.iter().map(|route| endpoint(route.method.as_str(), &route.path)).collect();
    assert_covered(&served, specified, unserved_list);
}

/// Every specified endpoint is either covered or in the list of exceptions.
fn assert_covered(covered: &BTreeSet<String>, specified: &str, uncovered_list: &str) {
    let uncovered: BTreeSet<_> = listed(specified).difference(covered).cloned().collect();
    let excused = listed(uncovered_list);
    let missing: Vec<_> = uncovered.difference(&excused).collect();
    assert!(missing.is_empty(), "specified, neither covered nor listed: {missing:#?}");
    let stale: Vec<_> = excused.difference(&uncovered).collect();
    assert!(stale.is_empty(), "covered by now, or never specified; take it off the list: {stale:#?}");
}

#[test]
fn every_client_endpoint_is_served_or_listed_as_not() {
    let routes = plexus_api_client::routes();
    let specified = include_str!("../data/client-server-1.19.tsv");
    assert_served(routes.list(), specified, include_str!("../data/client-server-unserved.tsv"));
}

#[test]
fn every_federation_endpoint_is_served_or_listed_as_not() {
    let mut routes = plexus_api_federation::routes::open().list().to_vec();
    routes.extend_from_slice(plexus_api_federation::routes::for_servers().list());
    let specified = include_str!("../data/server-server-1.19.tsv");
    assert_served(&routes, specified, include_str!("../data/server-server-unserved.tsv"));
}

#[test]
fn every_federation_endpoint_is_called_or_listed_as_not() {
    let called: BTreeSet<_> = ENDPOINTS.iter().map(|called| endpoint(called.method.as_str(), called.path)).collect();
    let specified = include_str!("../data/server-server-1.19.tsv");
    assert_covered(&called, specified, include_str!("../data/server-server-uncalled.tsv"));
    let older_or_of_synapse = [
        "GET /_matrix/federation/unstable/rooms/{}/complexity",
        "GET /_matrix/media/v3/download/{}/{}",
        "PUT /_matrix/federation/v1/send_join/{}/{}",
        "PUT /_matrix/federation/v1/send_leave/{}/{}",
    ];
    let specified = listed(specified);
    let unspecified: Vec<_> = called.iter().filter(|called| !specified.contains(*called)).collect();
    assert!(unspecified.iter().all(|called| older_or_of_synapse.contains(&called.as_str())), "{unspecified:#?}");
}
