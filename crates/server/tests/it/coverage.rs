//! Which endpoints of the specification are served: all but those listed in an `...-unserved.tsv`, lists that may only shrink.

use std::collections::BTreeSet;

use plexus_http::Route;

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
    let served: BTreeSet<_> = routes.iter().map(|route| endpoint(route.method.as_str(), &route.path)).collect();
    let unserved: BTreeSet<_> = listed(specified).difference(&served).cloned().collect();
    let excused = listed(unserved_list);
    let missing: Vec<_> = unserved.difference(&excused).collect();
    assert!(missing.is_empty(), "specified, not served and not listed as unserved: {missing:#?}");
    let stale: Vec<_> = excused.difference(&unserved).collect();
    assert!(stale.is_empty(), "served by now, or never specified; take it off the list: {stale:#?}");
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
