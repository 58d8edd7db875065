use super::of_crate;
use crate::source::{File, Source};
use crate::workspace::Crate;

/// The routes of a list as `METHOD /path file::function`.
fn routes(list: &str) -> Vec<String> {
    let files = [
        ("http/src/routes.rs", "impl Client { pub const V3: Prefixes = Prefixes(&[\"/v3\", \"/r0\"]); }"),
        ("api-x/src/routes.rs", list),
        ("api-x/src/room/create.rs", ""),
    ]
    .map(|(path, text)| File { path: format!("crates/{path}"), text: text.into() });
    let sources = files.each_ref().map(Source::new);
    let one = Crate { name: "plexus-api-x".into(), folder: "crates/api-x".into(), dependencies: Vec::new() };
    let routes = of_crate(&one, &sources);
    let line = |it: &super::Route<'_>| format!("{} {} {}", it.method, it.path, it.file.unwrap_or("none"));
    routes.iter().map(line).collect()
}

const FILE: &str = "crates/api-x/src/room/create.rs";

#[test]
fn a_route_stands_under_each_prefix() {
    let found = routes("use crate::room; fn f(r: R) { r.post(Client::V3, \"/a/{b}\", room::create::handle).body(1); }");
    assert_eq!(found, [format!("POST /v3/a/{{b}} {FILE}"), format!("POST /r0/a/{{b}} {FILE}")]);
}

#[test]
fn variables_loops_and_formats_are_evaluated() {
    let found = routes(
        "use crate::room::create; const OWN: Prefixes = Prefixes(&[\"/own\"]);
        fn f(r: R) {
            let rule = \"/rule/{id}\";
            for slash in [\"\", \"/\"] { r.put(OWN, &format!(\"{rule}/on{slash}\"), create::handle); }
        }",
    );
    assert_eq!(found, [format!("PUT /own/rule/{{id}}/on {FILE}"), format!("PUT /own/rule/{{id}}/on/ {FILE}")]);
}

#[test]
fn prefixes_may_be_named_again_and_looped_over() {
    let found = routes(
        "use crate::room::create; const ALL: Prefixes = Client::V3; const OWN: Prefixes = Prefixes(&[\"/own\"]);
        fn f(r: R) { for prefixes in [ALL, OWN] { r.get(prefixes, \"/a\", create::handle); } }",
    );
    assert_eq!(found, ["/v3", "/r0", "/own"].map(|prefix| format!("GET {prefix}/a {FILE}")));
}
