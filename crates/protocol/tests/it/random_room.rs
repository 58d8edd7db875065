//! Randomly grown rooms: branches that fork, conflict and merge, with events that try forbidden things.

use plexus_protocol::{
    auth,
    event::Pdu,
    id::EventId,
    json::{Object, Value},
    rules::RoomVersion,
};

use crate::{
    generate::Generator,
    room::{NewEvent, Room, StateMap},
};

const USERS: [&str; 6] = ["@alice:a", "@bob:a", "@carol:b", "@dave:b", "@erin:c", "@frank:c"];

pub(crate) struct RandomRoom {
    pub room: Room,
    pub branches: Vec<Branch>,
    /// Every attempt: the event, the state it was made at, and whether it was allowed.
    pub attempts: Vec<(Pdu, StateMap, Result<(), auth::AuthRejection>)>,
    random: Generator,
    count: u64,
}

#[derive(Clone)]
pub(crate) struct Branch {
    pub state: StateMap,
    head: Vec<EventId>,
    depth: u64,
}

struct Attempt {
    sender: &'static str,
    event_type: &'static str,
    state_key: Option<String>,
    content: String,
}

impl RandomRoom {
    pub(crate) fn new(version: RoomVersion, seed: u64) -> Self {
        let first = Branch { state: StateMap::new(), head: Vec::new(), depth: 0 };
        let mut this = Self {
            room: Room::new(version),
            branches: vec![first],
            attempts: Vec::new(),
            random: Generator::new(seed),
            count: 0,
        };
        let creator = if version < RoomVersion::V11 { r#""creator":"@alice:a","# } else { "" };
        let additional = if this.random.below(4) == 0 { r#""additional_creators":["@bob:a"],"# } else { "" };
        let create = format!(r#"{{{creator}{additional}"room_version":"{version}"}}"#);
        this.attempt(0, attempt("@alice:a", "m.room.create", Some(""), &create));
        this.attempt(0, attempt("@alice:a", "m.room.member", Some("@alice:a"), r#"{"membership":"join"}"#));
        if this.random.below(8) > 0 {
            let alice = if version < RoomVersion::V12 { r#""@alice:a":100,"# } else { "" };
            let levels = format!(r#"{{"users":{{{alice}"@carol:b":50}}}}"#);
            this.attempt(0, attempt("@alice:a", "m.room.power_levels", Some(""), &levels));
        }
        let rule = this.join_rule();
        this.attempt(0, attempt("@alice:a", "m.room.join_rules", Some(""), &rule));
        this
    }

    /// Takes one step: tries an event on a branch, or forks, merges or damages one.
    pub(crate) fn step(&mut self) {
        let branch = self.random.below(self.branches.len() as u64) as usize;
        match self.random.below(20) {
            0 if self.branches.len() < 5 => self.branches.push(self.branches[branch].clone()),
            1 if self.branches.len() > 2 => self.merge(branch),
            // A server that has an incomplete or outdated state.
            2 if self.random.below(4) == 0 => self.damage(branch),
            _ => {
                let attempt = self.choose();
                // A room without join rules is closed to ruma, and invite-only to everyone else.
                let rules = ("m.room.join_rules".to_owned(), String::new());
                if attempt.event_type != "m.room.member" || self.branches[branch].state.contains_key(&rules) {
                    self.attempt(branch, attempt);
                }
            }
        }
    }

    pub(crate) fn states(&self) -> Vec<StateMap> {
        self.branches.iter().map(|branch| branch.state.clone()).collect()
    }

    fn merge(&mut self, branch: usize) {
        let other = self.branches.swap_remove(branch);
        let into = self.random.below(self.branches.len() as u64) as usize;
        let state = self.room.resolve(&[self.branches[into].state.clone(), other.state]);
        let branch = &mut self.branches[into];
        branch.state = state;
        branch.head.extend(other.head);
        branch.head.sort();
        branch.head.dedup();
        branch.depth = branch.depth.max(other.depth);
    }

    fn damage(&mut self, branch: usize) {
        let other = self.random.below(self.branches.len() as u64) as usize;
        let entries: Vec<_> = self.branches[other].state.clone().into_iter().collect();
        for (key, id) in entries {
            let random = self.random.below(10);
            let state = &mut self.branches[branch].state;
            if random == 0 && !matches!(key.0.as_str(), "m.room.create" | "m.room.join_rules") {
                state.remove(&key);
            } else if random == 1 {
                state.insert(key, id);
            }
        }
    }

    fn attempt(&mut self, branch: usize, attempt: Attempt) {
        let Branch { state, head, depth } = self.branches[branch].clone();
        self.count += 1;
        let name = if attempt.event_type == "m.room.create" { "create".to_owned() } else { format!("e{}", self.count) };
        let time = 1000 + self.count * 10 + self.random.below(4) * 7 - self.random.below(40);
        let event = self.room.add(NewEvent {
            name: &name,
            sender: attempt.sender,
            event_type: attempt.event_type,
            state_key: attempt.state_key.as_deref(),
            content: Object::parse(&attempt.content).unwrap(),
            time,
            depth: depth + 1,
            prev: head,
            state: &state,
            auth: None,
        });
        let rules = self.room.version.rules();
        let lookup = |event_type: &str, key: &str| {
            let id = state.get(&(event_type.to_owned(), key.to_owned()))?;
            self.room.events.get(id).cloned()
        };
        let result = auth::check(rules, &event, &lookup);
        if result.is_ok() {
            let state = Room::after(&state, &event);
            self.branches[branch] = Branch { state, head: vec![event.event_id().clone()], depth: depth + 1 };
        }
        if result.is_err() && attempt.event_type != "m.room.join_rules" && self.random.below(12) == 0 {
            // A server that has its state from a server that accepted what must be rejected.
            self.room.rejected.insert(event.event_id().clone());
            self.branches[branch].state = Room::after(&state, &event);
        }
        self.attempts.push((event, state, result));
    }

    fn user(&mut self) -> &'static str {
        // Powerful users act more often.
        let at = self.random.below(USERS.len() as u64).min(self.random.below(USERS.len() as u64));
        USERS[at as usize]
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.below(from.len() as u64) as usize]
    }

    fn join_rule(&mut self) -> String {
        let rules = ["public", "public", "invite", "knock", "restricted", "knock_restricted", "private"];
        format!(r#"{{"join_rule":"{}"}}"#, self.pick(&rules))
    }

    fn choose(&mut self) -> Attempt {
        let sender = self.user();
        match self.random.below(12) {
            0..=5 => self.choose_member(sender),
            6 | 7 => {
                let levels = self.levels();
                attempt(sender, "m.room.power_levels", Some(""), &levels)
            }
            8 => {
                let rule = self.join_rule();
                attempt(sender, "m.room.join_rules", Some(""), &rule)
            }
            9 => {
                let key = self.pick(&["", "a", "b", "x"]);
                attempt(sender, "m.room.aliases", Some(key), "{}")
            }
            10 => {
                let key = self.pick(&["", "@alice:a", "@bob:a", "x"]);
                attempt(sender, "org.example.state", Some(key), "{}")
            }
            _ => {
                let kind = self.pick(&["m.room.topic", "m.room.name", "m.room.third_party_invite"]);
                attempt(sender, kind, Some(""), "{}")
            }
        }
    }

    fn choose_member(&mut self, sender: &'static str) -> Attempt {
        let other = self.user();
        let membership = self.pick(&["join", "join", "join", "invite", "leave", "ban", "knock"]);
        let target = if membership == "join" && self.random.below(10) > 0 { sender } else { other };
        let authorised = match self.random.below(3) {
            0 => format!(r#","join_authorised_via_users_server":"{}""#, self.user()),
            _ => String::new(),
        };
        let content = format!(r#"{{"membership":"{membership}"{authorised}}}"#);
        attempt(sender, "m.room.member", Some(target), &content)
    }

    fn level(&mut self) -> Value {
        let level = [0, 10, 50, 50, 60, 100][self.random.below(6) as usize];
        match self.random.below(20) {
            0 if self.room.version < RoomVersion::V10 => Value::from(level.to_string().as_str()),
            _ => Value::from(i64::from(level)),
        }
    }

    /// All seven levels always, since ruma uses the default for absent ones.
    fn levels(&mut self) -> String {
        let mut content = Object::new();
        for (field, usual) in [
            ("users_default", 0_i64),
            ("events_default", 0),
            ("state_default", 50),
            ("ban", 50),
            ("redact", 50),
            ("kick", 50),
            ("invite", 0),
        ] {
            let value = if self.random.below(12) == 0 { self.level() } else { Value::from(usual) };
            content.insert(field, value);
        }
        let mut users = Object::new();
        for user in USERS {
            let creator = user == "@alice:a" && self.room.version >= RoomVersion::V12;
            if (user == "@alice:a" || self.random.below(3) == 0) && !(creator && self.random.below(10) > 0) {
                let level =
                    if user == "@alice:a" && self.random.below(10) > 0 { Value::from(100_i64) } else { self.level() };
                users.insert(user, level);
            }
        }
        content.insert("users", users);
        let mut events = Object::new();
        for name in ["m.room.topic", "m.room.power_levels", "m.room.join_rules"] {
            if self.random.below(4) == 0 {
                let level = self.level();
                events.insert(name, level);
            }
        }
        content.insert("events", events);
        let mut notifications = Object::new();
        let level = self.level();
        notifications.insert("room", level);
        content.insert("notifications", notifications);
        content.to_json()
    }
}

fn attempt(sender: &'static str, event_type: &'static str, state_key: Option<&str>, content: &str) -> Attempt {
    Attempt { sender, event_type, state_key: state_key.map(str::to_owned), content: content.to_owned() }
}
