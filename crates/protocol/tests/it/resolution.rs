//! State resolution on the scenarios of `fixtures/state_res`.
//!
//! A fixture is a room and branches of it:
//!
//! ```text
//! # Comment
//! name <- previous : sender type [state key] {content} [at=time] [auth=name,name] [rejected]
//! branch = name [with name name...] [without type...]
//! expect 1 2-11
//!   type state_key name
//! ```
//!
//! `alice` is `@alice:a`; event types without a dot are `m.room.` ones. A branch is the state after an event, with
//! entries replaced or removed; a rejected event is not part of it unless added explicitly. In room version 12 the
//! creator is removed from `users`. With `UPDATE_FIXTURES=1` the expected states are written again.

use std::{collections::BTreeMap, fs, path::Path};

use plexus_protocol::{
    id::EventId,
    json::Object,
    rules::RoomVersion,
    state_res::{Resolution, State, resolve},
};

use crate::room::{NewEvent, Room, StateMap};

struct Fixture {
    text: String,
    events: Vec<EventLine>,
    branches: Vec<BranchLine>,
    expected: Vec<(Vec<RoomVersion>, BTreeMap<String, String>)>,
}

pub(crate) struct EventLine {
    pub name: String,
    pub previous: Option<String>,
    pub sender: String,
    pub event_type: String,
    pub state_key: Option<String>,
    pub content: Object,
    pub time: Option<u64>,
    pub auth: Option<Vec<String>>,
    pub rejected: bool,
}

struct BranchLine {
    after: String,
    with: Vec<String>,
    without: Vec<String>,
}

pub(crate) fn event_type(short: &str) -> String {
    if short.contains('.') { short.to_owned() } else { format!("m.room.{short}") }
}

fn user(short: &str) -> String {
    format!("@{short}:a")
}

impl Fixture {
    fn parse(text: String) -> Self {
        let mut fixture = Self { text: text.clone(), events: vec![], branches: vec![], expected: vec![] };
        for line in text.lines() {
            let words = line.split_whitespace().collect::<Vec<_>>();
            match words.as_slice() {
                [] | ["#", ..] => {}
                ["expect", versions @ ..] => {
                    fixture.expected.push((versions.iter().flat_map(|v| version_range(v)).collect(), BTreeMap::new()));
                }
                [_, "<-", ..] => fixture.events.push(parse_event(line)),
                ["branch", "=", after, options @ ..] => fixture.branches.push(parse_branch(after, options)),
                words => {
                    let (name, key) = words.split_last().unwrap();
                    fixture.expected.last_mut().unwrap().1.insert(key.join(" "), (*name).to_owned());
                }
            }
        }
        fixture
    }

    fn versions(&self) -> Vec<RoomVersion> {
        self.expected.iter().flat_map(|(versions, _)| versions.clone()).collect()
    }

    fn build(&self, version: RoomVersion) -> (Room, Vec<StateMap>) {
        let mut room = Room::new(version);
        let mut states: BTreeMap<&str, (StateMap, u64)> = BTreeMap::new();
        for (number, line) in self.events.iter().enumerate() {
            let (before, depth) = line.previous.as_deref().map_or((StateMap::new(), 0), |p| states[p].clone());
            let mut content = line.content.clone();
            adapt(&mut content, &line.event_type, version);
            let ids = |room: &Room, names: &[String]| names.iter().map(|name| room.id(name)).collect();
            let pdu = room.add(NewEvent {
                name: &line.name,
                sender: &line.sender,
                event_type: &line.event_type,
                state_key: line.state_key.as_deref(),
                content,
                time: line.time.unwrap_or(1000 + 10 * number as u64),
                depth: depth + 1,
                prev: line.previous.iter().map(|name| room.id(name)).collect(),
                state: &before,
                auth: line.auth.as_ref().map(|names| {
                    let selected = names.iter().filter(|name| version < RoomVersion::V12 || *name != "create");
                    ids(&room, &selected.cloned().collect::<Vec<_>>())
                }),
            });
            let after = if line.rejected { before } else { Room::after(&before, &pdu) };
            if line.rejected {
                room.rejected.insert(pdu.event_id().clone());
            }
            states.insert(&line.name, (after, depth + 1));
        }
        let branch = |line: &BranchLine| {
            let mut state = states[line.after.as_str()].0.clone();
            state.retain(|(event_type, _), _| !line.without.contains(event_type));
            for name in &line.with {
                state = Room::after(&state, &room.events[&room.id(name)]);
            }
            state
        };
        let branches = self.branches.iter().map(branch).collect();
        (room, branches)
    }
}

/// Adapts content to what a server of this room version would have written.
pub(crate) fn adapt(content: &mut Object, event_type: &str, version: RoomVersion) {
    match event_type {
        "m.room.create" => {
            if !content.contains_key("room_version") {
                content.insert("room_version", version.as_str());
            }
            if version < RoomVersion::V11 {
                content.insert("creator", user("alice"));
            }
        }
        "m.room.power_levels" if version >= RoomVersion::V12 => {
            if let Some(users) = content.get_mut("users").and_then(|users| users.as_object_mut()) {
                users.remove("@alice:a");
            }
        }
        _ => {}
    }
}

pub(crate) fn version_range(range: &str) -> Vec<RoomVersion> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (RoomVersion, RoomVersion) = (first.parse().unwrap(), last.parse().unwrap());
    RoomVersion::ALL.into_iter().filter(|version| (first..=last).contains(version)).collect()
}

pub(crate) fn parse_event(line: &str) -> EventLine {
    let (head, content, tail) = match (line.find('{'), line.rfind('}')) {
        (Some(start), Some(end)) => (&line[..start], Object::parse(&line[start..=end]).unwrap(), &line[end + 1..]),
        _ => (line, Object::new(), ""),
    };
    let words = head.split_whitespace().collect::<Vec<_>>();
    let [name, "<-", previous, ":", sender, kind, state_key @ ..] = words.as_slice() else { panic!("{line}") };
    let option = |name: &str| tail.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let event_type = event_type(kind);
    let state_key = match state_key {
        ["-"] => None,
        [] => Some(String::new()),
        [key] if event_type == "m.room.member" => Some(user(key)),
        [key] => Some((*key).to_owned()),
        _ => panic!("{line}"),
    };
    EventLine {
        name: (*name).to_owned(),
        previous: (*previous != "-").then(|| (*previous).to_owned()),
        sender: user(sender),
        event_type,
        state_key,
        content,
        time: option("at").map(|time| time.parse().unwrap()),
        auth: option("auth").map(|names| names.split(',').map(str::to_owned).collect()),
        rejected: tail.split_whitespace().any(|word| word == "rejected"),
    }
}

fn parse_branch(after: &str, options: &[&str]) -> BranchLine {
    let mut branch = BranchLine { after: after.to_owned(), with: vec![], without: vec![] };
    let mut with = true;
    for word in options {
        match *word {
            "with" => with = true,
            "without" => with = false,
            name if with => branch.with.push(name.to_owned()),
            kind => branch.without.push(event_type(kind)),
        }
    }
    branch
}

/// `m.room.member @bob:a` -> `join-bob`
fn readable(state: &StateMap) -> BTreeMap<String, String> {
    let entry = |((event_type, key), id): (&(String, String), &EventId)| {
        let short = event_type.strip_prefix("m.room.").unwrap_or(event_type);
        let key = key.trim_start_matches('@').trim_end_matches(":a");
        (format!("{short} {key}").trim_end().to_owned(), Room::name(id).to_owned())
    };
    state.iter().map(entry).collect()
}

fn check(path: &Path) {
    let fixture = Fixture::parse(fs::read_to_string(path).unwrap());
    let mut results: Vec<(Vec<RoomVersion>, BTreeMap<String, String>)> = Vec::new();
    for version in fixture.versions() {
        let (room, mut branches) = fixture.build(version);
        let resolved = readable(&room.resolve(&branches));
        branches.reverse();
        assert_eq!(readable(&room.resolve(&branches)), resolved, "{} depends on order", path.display());
        match results.iter_mut().find(|(_, state)| *state == resolved) {
            Some((versions, _)) => versions.push(version),
            None => results.push((vec![version], resolved)),
        }
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let room: Vec<&str> = fixture.text.lines().take_while(|line| !line.starts_with("expect")).collect();
        let mut text = room.join("\n").trim_end().to_owned() + "\n";
        for (versions, state) in &results {
            text += &format!("\nexpect {}\n", ranges(versions));
            let width = state.keys().map(String::len).max().unwrap_or(0);
            state.iter().for_each(|(key, name)| text += &format!("  {key:width$}  {name}\n"));
        }
        fs::write(path, text).unwrap();
        return;
    }
    for (versions, state) in results {
        for version in versions {
            let (_, expected) = fixture.expected.iter().find(|(versions, _)| versions.contains(&version)).unwrap();
            assert_eq!(state, *expected, "{} in room version {version}", path.display());
        }
    }
}

/// `1 2-11`
fn ranges(versions: &[RoomVersion]) -> String {
    let groups = versions.chunk_by(|a, b| *b as usize == *a as usize + 1);
    let group = |group: &[RoomVersion]| match group {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    groups.map(group).collect::<Vec<_>>().join(" ")
}

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state_res");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 10);
    paths.iter().for_each(|path| check(path));
}

/// `resolve` asks for missing events, and succeeds when given them.
#[test]
fn asks_for_what_it_needs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state_res/ban-and-join.txt");
    let fixture = Fixture::parse(fs::read_to_string(path).unwrap());
    for version in fixture.versions() {
        let (room, branches) = fixture.build(version);
        let states: Vec<_> = branches.iter().map(|branch| State::new(&room.graph, branch.values()).unwrap()).collect();
        let mut given = StateMap::new();
        let mut rounds = 0;
        let resolved = loop {
            let lookup = |id: &EventId| {
                let known = given.values().any(|known| known == id);
                known.then(|| room.lookup(id))?
            };
            match resolve(version.rules(), &room.graph, &states, &lookup).unwrap() {
                Resolution::Resolved(state) => break room.map(&state),
                Resolution::Need(ids) => {
                    assert!(!ids.is_empty());
                    given.extend(ids.into_iter().map(|id| ((id.to_string(), String::new()), id)));
                    rounds += 1;
                }
            }
        };
        assert!((1..=3).contains(&rounds), "{rounds} rounds");
        assert_eq!(resolved, room.resolve(&branches));
    }
}

/// Events in any order make the same graph. An event whose auth chain is incomplete or cyclic never enters it.
#[test]
fn graph_takes_events_in_any_order() {
    use plexus_protocol::state_res::AuthGraph;
    let id = |name: &str| -> EventId { format!("${name}").parse().unwrap() };
    let mut graph = AuthGraph::new();
    graph.add_parts(&id("c"), "m.room.topic", "", &[id("b"), id("a")]);
    graph.add_parts(&id("b"), "m.room.member", "@a:a", &[id("a")]);
    assert_eq!(graph.missing(), [id("a")]);
    graph.add_parts(&id("a"), "m.room.create", "", &[]);
    assert!(graph.missing().is_empty());
    let chain = graph.auth_chain(&[graph.node(&id("c")).unwrap()]);
    assert_eq!(chain.into_iter().map(|node| graph.id(node).clone()).collect::<Vec<_>>(), [id("a"), id("b")]);
    graph.add_parts(&id("x"), "m.room.name", "", &[id("y")]);
    graph.add_parts(&id("y"), "m.room.name", "", &[id("x")]);
    graph.add_parts(&id("z"), "m.room.name", "", &[id("z")]);
    assert_eq!(graph.len(), 3);
    assert!(graph.node(&id("x")).is_none() && graph.node(&id("z")).is_none());
}
