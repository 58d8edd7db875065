//! Generates events and JSON from a seed, biased towards what the rules treat specially.

use plexus_protocol::{
    json::{Object, Value},
    rules::RoomVersion,
};

/// A stream of choices (SplitMix64).
pub(crate) struct Generator(u64);

const TYPES: &[&str] = &[
    "m.room.member",
    "m.room.create",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.aliases",
    "m.room.history_visibility",
    "m.room.redaction",
    "m.room.message",
    "m.room.third_party_invite",
    "m.room.server_acl",
    "org.example.x",
];

/// Keys that redaction or signing treats specially somewhere, so that they occur everywhere.
const KEYS: &[&str] = &[
    "membership",
    "join_authorised_via_users_server",
    "third_party_invite",
    "signed",
    "creator",
    "room_version",
    "join_rule",
    "allow",
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
    "notifications",
    "aliases",
    "history_visibility",
    "redacts",
    "body",
    "displayname",
    "",
    "é",
    "\u{ff5e}",
    "😀",
    "a\"\\\n",
];

const STRINGS: &[&str] = &[
    "join",
    "invite",
    "leave",
    "knock",
    "@bob:b.org",
    "@carol:c.org:8448",
    "bob",
    "$x:y",
    "public",
    "",
    "\u{0}\u{7}\u{1f}",
    "\u{7f}\u{80}",
    "quote\" back\\ slash/",
    "日本語",
    "😀\u{10ffff}",
    "\t\r\n\u{8}\u{c}",
    "e\u{301}",
    "12",
];

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Returns true in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        match self.below(4) {
            0 => (0..self.below(12)).filter_map(|_| char::from_u32(self.next() as u32 % 0x11_0000)).collect(),
            1 => format!("k{}", self.below(50)),
            _ => self.pick(STRINGS).to_owned(),
        }
    }

    fn integer(&mut self) -> i64 {
        const MAX: i64 = (1 << 53) - 1;
        match self.below(6) {
            0 => 0,
            1 => MAX,
            2 => -MAX,
            3 => (self.next() as i64) % MAX,
            _ => self.below(200) as i64 - 100,
        }
    }

    /// Returns the text of a number that only early room versions allow.
    pub(crate) fn odd_number(&mut self) -> String {
        let (a, b) = (self.integer(), self.below(1000));
        match self.below(7) {
            0 => format!("{a}.{b}"),
            1 => format!("{b}e{}", self.below(40)),
            2 => format!("-{b}.5E-{}", self.below(40)),
            3 => format!("{}{b}", i64::MAX),
            4 => "9007199254740992".to_owned(),
            5 => "-9223372036854775808".to_owned(),
            _ => format!("{:?}", f64::from_bits(self.next()).abs().min(1e300)),
        }
    }

    /// Returns a value of canonical JSON.
    pub(crate) fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => Value::Null,
            1 => Value::Bool(self.one_in(2)),
            2 => self.integer().into(),
            3 => self.text().into(),
            4 => Value::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => self.object(depth - 1).into(),
        }
    }

    pub(crate) fn object(&mut self, depth: u64) -> Object {
        (0..self.below(5))
            .map(|_| {
                let key = if self.one_in(3) { self.text() } else { self.pick(KEYS).to_owned() };
                (key, self.value(depth))
            })
            .collect()
    }

    fn content(&mut self) -> Object {
        let mut content = self.object(3);
        for _ in 0..self.below(4) {
            let value = match self.below(3) {
                0 => self.pick(STRINGS).into(),
                1 => self.object(2).into(),
                _ => self.value(2),
            };
            content.insert(self.pick(KEYS), value);
        }
        if self.one_in(3) {
            content.insert(
                "third_party_invite",
                Object::from([("signed", self.object(1)), ("display_name", self.object(0))]),
            );
        }
        content
    }

    /// Returns an event that parses in `version`, sent from `a.org`, not hashed or signed yet.
    pub(crate) fn event(&mut self, version: RoomVersion) -> Object {
        const HASH: &str = "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
        let early = version <= RoomVersion::V2;
        let event_type = self.pick(TYPES);
        let is_create = event_type == "m.room.create";
        let references = |n: u64| -> Vec<Value> {
            (0..n)
                .map(|i| {
                    if early {
                        Value::Array(vec![format!("$e{i}:a.org").into(), Object::from([("sha256", "x")]).into()])
                    } else {
                        format!("$e{i}").into()
                    }
                })
                .collect()
        };
        let mut event = Object::from([
            ("type", Value::from(event_type)),
            ("sender", "@alice:a.org".into()),
            ("content", self.content().into()),
            ("depth", (self.integer().abs()).into()),
            ("origin_server_ts", (self.integer().abs()).into()),
            ("prev_events", references(self.below(4)).into()),
            ("auth_events", references(self.below(4)).into()),
            ("hashes", Object::from([("sha256", "?")]).into()),
            ("signatures", Object::new().into()),
        ]);
        if self.one_in(2) || is_create {
            let state_key = if is_create { String::new() } else { self.text() };
            event.insert("state_key", state_key);
        }
        if version < RoomVersion::V12 {
            event.insert("room_id", "!r:a.org");
        } else if !is_create {
            event.insert("room_id", format!("!{HASH}"));
        }
        if early {
            event.insert("event_id", format!("$e:{}", self.pick(&["a.org", "d.org"])));
        }
        for key in ["origin", "membership", "prev_state", "redacts", "age_ts", "outlier", "zzz"] {
            if self.one_in(4) {
                event.insert(key, self.value(2));
            }
        }
        if self.one_in(2) {
            event.insert("unsigned", self.object(2));
        }
        event
    }

    /// Writes the same JSON as another encoder might: keys in any order, spaces, escapes.
    pub(crate) fn rewrite(&mut self, value: &Value, out: &mut String) {
        self.space(out);
        match value {
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                for i in (1..entries.len()).rev() {
                    entries.swap(i, self.below(i as u64 + 1) as usize);
                }
                self.list(out, '{', '}', entries.len(), &mut |this, i, out| {
                    this.space(out);
                    this.string(entries[i].0, out);
                    this.space(out);
                    out.push(':');
                    this.rewrite(entries[i].1, out);
                });
            }
            Value::Array(values) => {
                self.list(out, '[', ']', values.len(), &mut |this, i, out| this.rewrite(&values[i], out));
            }
            Value::String(text) => self.string(text, out),
            other => out.push_str(&other.to_json()),
        }
        self.space(out);
    }

    fn list(
        &mut self,
        out: &mut String,
        open: char,
        close: char,
        n: usize,
        each: &mut dyn FnMut(&mut Self, usize, &mut String),
    ) {
        out.push(open);
        for i in 0..n {
            if i > 0 {
                out.push(',');
            }
            each(self, i, out);
        }
        out.push(close);
    }

    fn space(&mut self, out: &mut String) {
        if self.one_in(8) {
            out.push(self.pick(&[' ', '\n', '\t', '\r']));
        }
    }

    fn string(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' | '\0'..='\u{1f}' => self.escape(c, out),
                _ if self.one_in(6) => self.escape(c, out),
                c => out.push(c),
            }
        }
        out.push('"');
    }

    fn escape(&mut self, c: char, out: &mut String) {
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let escape = if self.one_in(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
            out.push_str(&escape);
        }
    }
}
