//! Random requests: as the specification describes them, and nearly so.

use plexus_base::Random;
use serde_json::{Map, Value, json};

use super::{Files, Located, Operation, Specification};

/// The deepest nesting of a body.
const MAX_DEPTH: u32 = 7;
/// Of so many values one is of any type.
const STRANGE_ONE_OF: u64 = 16;
/// Of so many required members one is left out.
const MISSING_ONE_OF: u64 = 12;

const TEXTS: [&str; 12] = [
    "",
    "x",
    "@x:y",
    "!x:y",
    "#x:test.example",
    "$x",
    "m.room.message",
    "*",
    "../%2F\u{1f600}",
    "\u{0}",
    "0",
    "99999999999999999999",
];

/// What fits, by the name of a parameter or member.
pub trait Values {
    /// Returns a value that exists, or otherwise fits; `None`: nothing is known.
    fn known(&self, name: &str) -> Option<Value>;
}

/// A request.
#[derive(Debug, Clone)]
pub struct GeneratedRequest {
    /// The method.
    pub method: String,
    /// The path, with a query.
    pub target: String,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
}

struct Generator<'g> {
    files: &'g Files,
    random: &'g Random,
    values: &'g dyn Values,
}

impl Specification {
    /// Returns a random request to each endpoint of the file or folder, in no particular order.
    pub fn random_requests<'r>(
        &'r self,
        random: &'r Random,
        values: &'r dyn Values,
    ) -> impl Iterator<Item = GeneratedRequest> + 'r {
        let generator = Generator { files: &self.files, random, values };
        self.operations.iter().map(move |operation| generator.request(operation))
    }
}

impl Generator<'_> {
    fn request(&self, operation: &Operation) -> GeneratedRequest {
        let parameters: Vec<Located> =
            operation.parameters.iter().map(|parameter| self.files.resolve(parameter)).collect();
        let in_place = |place: &'static str| parameters.iter().filter(move |it| it.value["in"] == place);
        let path = operation.segments.iter().map(|segment| {
            let Some(name) = segment.strip_prefix('{').and_then(|name| name.split('}').next()) else {
                return segment.clone();
            };
            let described = in_place("path").find(|parameter| parameter.value["name"] == name);
            encoded(&text(&self.parameter(name, described)))
        });
        let mut target = path.collect::<Vec<_>>().join("/");
        let mut separator = '?';
        for parameter in in_place("query") {
            if parameter.value["required"] != true && self.random.below(3) == 0 {
                continue;
            }
            let name = parameter.value["name"].as_str().unwrap_or_default();
            let values = match self.parameter(name, Some(parameter)) {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                target.push_str(&format!("{separator}{}={}", encoded(name), encoded(&text(&value))));
                separator = '&';
            }
        }
        GeneratedRequest { method: operation.method.clone(), target, body: self.body(operation) }
    }

    fn parameter(&self, name: &str, described: Option<&Located>) -> Value {
        let schema = described.and_then(|parameter| parameter.at("schema"));
        match schema {
            Some(schema) => self.value(name, &schema, 0),
            None => self.values.known(name).unwrap_or_else(|| self.strange()),
        }
    }

    fn body(&self, operation: &Operation) -> Vec<u8> {
        let Some(body) = &operation.request_body else { return Vec::new() };
        let body = self.files.resolve(body);
        let content = body.at("content").and_then(|content| content.at("application/json"));
        let Some(schema) = content.and_then(|content| content.at("schema")) else { return b"a body".to_vec() };
        self.value("", &schema, 0).to_string().into_bytes()
    }

    fn one_of(&self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    fn pick<'v, V>(&self, from: &'v [V]) -> Option<&'v V> {
        from.get(usize::try_from(self.random.below(from.len().max(1) as u64)).unwrap_or_default())
    }

    /// Returns a value for a schema, which nearly always fits.
    fn value(&self, name: &str, schema: &Located, depth: u32) -> Value {
        if self.one_of(STRANGE_ONE_OF) || depth > MAX_DEPTH {
            return self.strange();
        }
        if let Some(known) = self.values.known(name).filter(|_| !self.one_of(4)) {
            return known;
        }
        let schema = self.files.resolve(schema);
        if let Some(example) = schema.value.get("example").filter(|_| self.one_of(3)) {
            return example.clone();
        }
        if let Some(allowed) = schema.value.get("enum").and_then(Value::as_array) {
            return self.pick(allowed).cloned().unwrap_or_default();
        }
        let choices = [schema.items("oneOf"), schema.items("anyOf")].concat();
        if let Some(choice) = self.pick(&choices) {
            return self.value(name, choice, depth + 1);
        }
        let mut merged = Map::new();
        for part in schema.items("allOf") {
            match self.value("", &part, depth + 1) {
                Value::Object(members) => merged.extend(members),
                other => return other,
            }
        }
        let named = match &schema.value["type"] {
            Value::Array(names) => self.pick(names).cloned().unwrap_or_default(),
            named => named.clone(),
        };
        match named.as_str() {
            Some("string") => json!(self.text()),
            Some("integer" | "number") => self.number(),
            Some("boolean") => json!(self.one_of(2)),
            Some("array") => self.array(name, &schema, depth),
            Some("object") => self.object(&schema, merged, depth),
            _ if !merged.is_empty() || schema.value.get("properties").is_some() => self.object(&schema, merged, depth),
            _ => self.strange(),
        }
    }

    fn array(&self, name: &str, schema: &Located, depth: u32) -> Value {
        let Some(items) = schema.at("items") else { return json!([self.strange()]) };
        (0..self.random.below(3)).map(|_| self.value(name, &items, depth + 1)).collect()
    }

    fn object(&self, schema: &Located, mut members: Map<String, Value>, depth: u32) -> Value {
        let required: Vec<Value> = schema.items("required").into_iter().map(|name| name.value).collect();
        for (name, described) in schema.members("properties") {
            let is_required = required.iter().any(|required| *required == name.as_str());
            let is_there = if is_required { !self.one_of(MISSING_ONE_OF) } else { self.one_of(2) };
            if is_there {
                let value = self.value(&name, &described, depth + 1);
                members.insert(name, value);
            }
        }
        let others = schema.at("additionalProperties").filter(|others| others.value.is_object());
        let patterns = schema.members("patternProperties").into_iter().map(|(_, described)| described);
        for described in others.into_iter().chain(patterns) {
            let key = self.pick(&["user_id", "room_id", "device_id", "event_id", "key_id", "x"]).copied();
            let key = key.and_then(|name| self.values.known(name)).map_or_else(|| self.text(), |key| text(&key));
            members.insert(key, self.value("", &described, depth + 1));
        }
        Value::Object(members)
    }

    fn text(&self) -> String {
        if self.one_of(20) {
            return "x".repeat(300);
        }
        self.pick(&TEXTS).copied().unwrap_or_default().to_owned()
    }

    fn number(&self) -> Value {
        let numbers = [json!(0), json!(1), json!(-1), json!(7), json!(1_u64 << 53), json!(u64::MAX), json!(0.5)];
        self.pick(&numbers).cloned().unwrap_or_default()
    }

    /// Returns a value of any type.
    fn strange(&self) -> Value {
        random_json(self.random, self.values, 2)
    }
}

/// Returns any JSON, nested up to `depth`.
pub fn random_json(random: &Random, values: &dyn Values, depth: u32) -> Value {
    const NAMES: [&str; 10] =
        ["user_id", "room_id", "device_id", "event_id", "type", "content", "reason", "delay", "limit", "x"];
    let pick = |from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(i64::try_from(random.below(100)).unwrap_or_default() - 50),
        3 => json!(pick(&TEXTS)),
        4 => values.known(pick(&NAMES)).unwrap_or_default(),
        5 => json!(1e300),
        6 => (0..random.below(4)).map(|_| random_json(random, values, depth - 1)).collect(),
        _ => (0..random.below(6)).map(|_| (pick(&NAMES).to_owned(), random_json(random, values, depth - 1))).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Percent-encodes all but the unreserved characters.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
