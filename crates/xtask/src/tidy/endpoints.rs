//! An endpoint's file is its module path in ruma.

use std::collections::BTreeMap;

use crate::routes::{self, Route};
use crate::source::Source;
use crate::workspace::Crate;

use super::{Rule, Violation};

/// Method, path with `{}` for parameters, and module.
const RUMA: &str = include_str!("../../data/endpoints.tsv");

/// Adds the endpoints that are elsewhere.
pub(super) fn check(crates: &[Crate], sources: &[Source<'_>], found: &mut Vec<Violation>) {
    let modules: BTreeMap<_, _> = RUMA
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(method, rest)| rest.split_once('\t').map(|(path, module)| ((method, path), module)))
        .collect();
    for one in crates {
        for route in routes::of_crate(one, sources) {
            let path = anonymous(&route.path);
            let expected = modules.get(&(route.method.as_str(), path.as_str()));
            if let Some(message) = expected.and_then(|module| misplaced(one, &route, module)) {
                let list = route.list.to_owned();
                found.push(Violation { rule: Rule::Endpoints, path: list, line: route.line, count: 1, message });
            }
        }
    }
}

/// `path` without the names of its parameters.
fn anonymous(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn misplaced(one: &Crate, route: &Route<'_>, module: &str) -> Option<String> {
    // The version may be left out where there is one.
    let (unversioned, _) = module.rsplit_once('/').filter(|(_, last)| last.starts_with('v')).unwrap_or((module, ""));
    let expected = [module, unversioned].map(|module| format!("{}/src/{module}.rs", one.folder));
    let is_there = route.file.is_some_and(|file| expected.iter().any(|path| path == file));
    (!is_there).then(|| {
        format!("{} {} is in {}, not {}", route.method, route.path, route.file.unwrap_or("no file"), expected[1])
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::{File, Source};
    use crate::workspace::Crate;

    fn found(file: &str, module: &str) -> Vec<String> {
        let list = format!(
            "use crate::{module};\nconst V3: Prefixes = Prefixes(&[\"/_matrix/client/v3\"]);\n\
             fn f(r: R) {{ r.post(V3, \"/rooms/{{room_id}}/ban\", {module}::ban_user::handle); }}"
        );
        let files = [("routes.rs", list.as_str()), (file, "")]
            .map(|(path, text)| File { path: format!("crates/api-client/src/{path}"), text: text.to_owned() });
        let sources = files.each_ref().map(Source::new);
        let folder = "crates/api-client".to_owned();
        let one = Crate { name: "plexus-api-client".into(), folder, dependencies: Vec::new() };
        let mut found = Vec::new();
        check(&[one], &sources, &mut found);
        found.into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn an_endpoint_stands_where_ruma_has_it() {
        assert_eq!(found("membership/ban_user.rs", "membership"), Vec::<String>::new());
        assert_eq!(
            found("room/ban_user.rs", "room"),
            ["POST /_matrix/client/v3/rooms/{room_id}/ban is in crates/api-client/src/room/ban_user.rs, \
              not crates/api-client/src/membership/ban_user.rs"]
        );
    }
}
