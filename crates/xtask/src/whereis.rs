//! `cargo xtask where METHOD /path`: the file of an endpoint, and where it is tested.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::requests::{Helpers, Request};
use crate::routes::{self, Route};
use crate::source::Source;
use crate::workspace::{ReadError, Workspace};

/// Where the tests of whole servers are.
const TESTS: &str = "crates/server/tests/it";
/// How many files are printed that send a request to the endpoint without bearing its name.
const MAX_SHOWN_REQUESTERS: usize = 5;

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no route serves {method} {path}; crates/api-*/src/routes.rs lists all")]
    NotServed { method: String, path: String },
}

/// Prints what serves `method` and `path`. The path may have its prefix (`/_matrix/client/v3`) or not, parameters as
/// values or in braces, and a query.
pub(crate) fn run(root: &Path, method: &str, path: &str) -> Result<(), Error> {
    let workspace = Workspace::read(root)?;
    let sources: Vec<_> = workspace.rust.iter().map(Source::new).collect();
    let endpoints = Endpoints::of(&workspace, &sources);
    let asked = if method.eq_ignore_ascii_case("HEAD") { "GET".to_owned() } else { method.to_uppercase() };
    let served: Vec<_> = best(&endpoints.routes, path).into_iter().filter(|route| route.method == asked).collect();
    let by_handler = by_handler(&served);
    if by_handler.is_empty() {
        return Err(Error::NotServed { method: asked, path: path.to_owned() });
    }
    for of_handler in by_handler.values() {
        print!("{}", endpoints.describe(of_handler));
    }
    Ok(())
}

/// The routes of each handler, by the place where they are listed.
fn by_handler<'r, 'a>(routes: &[&'r Route<'a>]) -> BTreeMap<(&'a str, usize), Vec<&'r Route<'a>>> {
    let mut by_handler: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for route in routes {
        by_handler.entry((route.list, route.line)).or_default().push(*route);
    }
    by_handler
}

/// All endpoints and the tests of whole servers.
struct Endpoints<'a> {
    routes: Vec<Route<'a>>,
    sources: &'a [Source<'a>],
    /// The requests of each file of tests.
    requests: Vec<(&'a str, Vec<Request>)>,
    /// The places in the route lists that serve each requested path.
    served: BTreeMap<String, BTreeSet<(&'a str, usize)>>,
}

impl<'a> Endpoints<'a> {
    fn of(workspace: &Workspace, sources: &'a [Source<'a>]) -> Self {
        let routes: Vec<_> = workspace.crates.iter().flat_map(|one| routes::of_crate(one, sources)).collect();
        let tests: Vec<_> = sources.iter().filter(|source| source.path.starts_with(TESTS)).collect();
        let helpers = Helpers::of(&tests);
        let requests: Vec<_> = tests.iter().map(|source| (source.path, helpers.requests_of(source))).collect();
        let paths: BTreeSet<_> =
            requests.iter().flat_map(|(_, requests)| requests).map(|it| it.path.as_str()).collect();
        let places = |path: &str| best(&routes, path).into_iter().map(|route| (route.list, route.line)).collect();
        let served = paths.into_iter().map(|path| (path.to_owned(), places(path))).collect();
        Self { routes, sources, requests, served }
    }

    /// The routes of one handler and its files.
    fn describe(&self, of_handler: &[&Route<'_>]) -> String {
        let Some(first) = of_handler.first() else { return String::new() };
        let mut text = String::new();
        for route in of_handler {
            text.push_str(&format!("{} {}\n", route.method, route.path));
        }
        let mut add = |label: &str, place: &str| text.push_str(&format!("  {label:<9}{place}\n"));
        add("listed", &format!("{}:{}", first.list, first.line));
        let Some(file) = first.file else { return text };
        let line = self.sources.iter().find(|source| source.path == file).and_then(|it| line_of(it, first.function));
        add("endpoint", &line.map_or(file.to_owned(), |line| format!("{file}:{line}")));
        let tests = self.tests_of(file);
        for path in &tests {
            add("tests", path);
        }
        let others = self.requesters(first).into_iter().filter(|(path, _)| !tests.contains(path));
        for (path, line) in others.take(MAX_SHOWN_REQUESTERS) {
            add("requests", &format!("{path}:{line}"));
        }
        text
    }

    /// The tests in the endpoint's file or beside it, and those that bear its name.
    fn tests_of(&self, file: &str) -> Vec<&'a str> {
        let stem = file.trim_end_matches(".rs");
        let named = named_tests(file);
        let is_of = |source: &&Source<'_>| {
            let inside = source.path == file && source.tokens_without_tests().len() < source.tokens.len();
            inside || source.path == format!("{stem}/tests.rs") || named.as_deref() == Some(source.path)
        };
        self.sources.iter().filter(is_of).map(|source| source.path).collect()
    }

    /// The test files that send requests to the endpoint, the most frequent first, with the first line.
    fn requesters(&self, route: &Route<'_>) -> Vec<(&'a str, usize)> {
        let is_to_route = |request: &&Request| {
            let is_of_method = request.method.as_ref().is_none_or(|method| *method == route.method);
            is_of_method
                && self.served.get(&request.path).is_some_and(|places| places.contains(&(route.list, route.line)))
        };
        let mut found: Vec<_> = self
            .requests
            .iter()
            .filter_map(|(path, requests)| {
                let lines: Vec<_> = requests.iter().filter(is_to_route).map(|request| request.line).collect();
                Some((lines.len(), *path, *lines.first()?))
            })
            .collect();
        found.sort_by_key(|(count, ..)| Reverse(*count));
        found.into_iter().map(|(_, path, line)| (path, line)).collect()
    }
}

/// Where the tests of the endpoint in `file` are: `client/membership/ban_user.rs` for
/// `crates/api-client/src/membership/ban_user.rs`.
fn named_tests(file: &str) -> Option<String> {
    let (api, module) = file.strip_prefix("crates/api-")?.split_once("/src/")?;
    // The versions of an endpoint are tested together.
    let (unversioned, version) = module.rsplit_once('/').unwrap_or(("", module));
    let is_version = version.trim_end_matches(".rs").strip_prefix('v').is_some_and(|it| it.parse::<u8>().is_ok());
    let module = if is_version { format!("{unversioned}.rs") } else { module.to_owned() };
    Some(format!("{TESTS}/{api}/{module}"))
}

/// The routes that match `path` with as few parameters as possible. Without a prefix in `path`, those under all
/// prefixes.
fn best<'r, 'a>(routes: &'r [Route<'a>], path: &str) -> Vec<&'r Route<'a>> {
    let path = path.split('?').next().unwrap_or_default();
    let scored: Vec<_> = routes.iter().filter_map(|route| Some((literals_matched(route, path)?, route))).collect();
    let most = scored.iter().map(|(literals, _)| *literals).max();
    scored.into_iter().filter(|(literals, _)| Some(*literals) == most).map(|(_, route)| route).collect()
}

/// How many segments of the route behind its prefix stand in `path` as they are; `None` when it does not match.
fn literals_matched(route: &Route<'_>, path: &str) -> Option<usize> {
    let segments: Vec<_> = path.split('/').collect();
    let (prefix, pattern) = route.path.split_at(route.prefix);
    let prefix: Vec<_> = prefix.split('/').collect();
    let pattern: Vec<_> = pattern.split('/').collect();
    let behind_prefix = segments.split_at_checked(prefix.len()).filter(|(start, _)| {
        prefix.iter().zip(*start).all(|(expected, segment)| expected == segment || is_placeholder(segment))
    });
    // `pattern` begins with the empty segment before its first slash.
    let behind_prefix = behind_prefix.and_then(|(_, rest)| literals(&pattern[1..], rest));
    behind_prefix.or_else(|| literals(&pattern, &segments))
}

/// How many segments of `pattern` are no parameters; `None` when `segments` do not match it.
fn literals(pattern: &[&str], segments: &[&str]) -> Option<usize> {
    let catches_all = pattern.last().is_some_and(|last| last.starts_with("{*"));
    if pattern.len() != segments.len() && !(catches_all && segments.len() > pattern.len()) {
        return None;
    }
    let matches = |(expected, segment): (&&str, &&str)| {
        if is_placeholder(expected) { !segment.is_empty() } else { expected == segment }
    };
    let all = pattern.iter().zip(segments).all(matches);
    all.then(|| pattern.iter().filter(|segment| !is_placeholder(segment)).count())
}

/// Whether a segment is a parameter of a route, or of a format string.
fn is_placeholder(segment: &str) -> bool {
    segment.starts_with('{')
}

fn line_of(source: &Source<'_>, function: &str) -> Option<usize> {
    let pair = source.tokens.windows(2).find(|pair| pair[0].is("fn") && pair[1].is(function))?;
    Some(pair[0].line)
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, Endpoints, best, by_handler, named_tests};
    use crate::routes::Route;
    use crate::source::Source;
    use crate::workspace::{self, Workspace};

    /// The endpoints that no test of a whole server requests; a list that may only shrink.
    const UNTESTED: &str = include_str!("../data/untested.txt");

    const PREFIX: &str = "/_matrix/client/v3";

    fn route(path: &str) -> Route<'static> {
        let (method, path) = ("GET".to_owned(), format!("{PREFIX}{path}"));
        Route { method, path, prefix: PREFIX.len(), list: "routes.rs", line: 1, file: None, function: "handle" }
    }

    fn found(path: &str) -> Vec<String> {
        let routes = ["/sync", "/rooms/{room_id}/state", "/rooms/{room_id}/{other}", "/rules/{*path}"].map(route);
        best(&routes, path).into_iter().map(|route| route.path[PREFIX.len()..].to_owned()).collect()
    }

    #[test]
    fn every_endpoint_is_tested_or_listed_as_not() {
        let workspace = Workspace::read(&workspace::root()).expect("the workspace can be read");
        let sources: Vec<_> = workspace.rust.iter().map(Source::new).collect();
        let endpoints = Endpoints::of(&workspace, &sources);
        let mut untested = BTreeSet::new();
        for of_handler in by_handler(&endpoints.routes.iter().collect::<Vec<_>>()).values() {
            let first = of_handler[0];
            let bears_name = first.file.is_some_and(|file| !endpoints.tests_of(file).is_empty());
            if !bears_name && endpoints.requesters(first).is_empty() {
                untested.insert(format!("{} {}", first.method, first.path));
            }
        }
        let listed = UNTESTED.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let missing: Vec<_> = untested.difference(&listed).collect();
        assert!(missing.is_empty(), "no test requests them: {missing:#?}");
        let stale: Vec<_> = listed.difference(&untested).collect();
        assert!(stale.is_empty(), "tested by now, or not served; take it off the list: {stale:#?}");
    }

    #[test]
    fn tests_are_where_the_endpoint_is() {
        let tests = |file: &str| named_tests(&format!("crates/api-{file}"));
        let expected = |file: &str| Some(format!("crates/server/tests/it/{file}"));
        assert_eq!(tests("client/src/membership/ban_user.rs"), expected("client/membership/ban_user.rs"));
        assert_eq!(tests("client/src/sync/sync_events/v3.rs"), expected("client/sync/sync_events.rs"));
        assert_eq!(tests("admin/src/register.rs"), expected("admin/register.rs"));
        assert_eq!(named_tests("crates/rooms/src/lib.rs"), None);
    }

    #[test]
    fn a_path_matches_with_and_without_its_prefix() {
        for path in ["/sync", "/sync?since=1", "/_matrix/client/v3/sync", "/_matrix/client/{version}/sync"] {
            assert_eq!(found(path), ["/sync"], "{path}");
        }
        assert_eq!(found("/_matrix/client/v1/sync"), Vec::<String>::new());
    }

    #[test]
    fn parameters_match_values_and_lose_to_literals() {
        assert_eq!(found("/rooms/!a:b/state"), ["/rooms/{room_id}/state"]);
        assert_eq!(found("/rooms/!a:b/else"), ["/rooms/{room_id}/{other}"]);
        assert_eq!(found("/rooms//state"), Vec::<String>::new());
        assert_eq!(found("/rules/a/b/c"), ["/rules/{*path}"]);
    }
}
