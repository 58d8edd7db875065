//! The specification's OpenAPI descriptions: the allowed responses of an endpoint, and the mistakes of a response.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use plexus_base::yaml;
use regex::Regex;
use serde_json::Value;

use crate::client::Inspector;

pub use requests::{GeneratedRequest, Values, random_json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/matrix-spec-1.19/data/api");

/// The endpoints of one API.
pub struct Specification {
    operations: Vec<Operation>,
    files: Files,
}

struct Operation {
    method: String,
    /// The path's segments; a segment that begins with `{` is a parameter.
    segments: Vec<String>,
    /// Of the path and of the method.
    parameters: Vec<Located>,
    request_body: Option<Located>,
    responses: Located,
}

/// A part of a file.
#[derive(Clone)]
struct Located {
    file: PathBuf,
    value: Value,
}

/// Files that were read already, by path.
#[derive(Default)]
struct Files(Mutex<BTreeMap<PathBuf, Value>>);

impl Files {
    fn read(&self, path: &Path) -> Value {
        let mut files = self.0.lock();
        let read = || {
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            yaml::parse(&text, 0).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_json()
        };
        files.entry(path.to_owned()).or_insert_with(read).clone()
    }

    /// Follows the reference in `part`, if there is one.
    fn resolve(&self, part: &Located) -> Located {
        let Some(reference) = part.value["$ref"].as_str() else { return part.clone() };
        let (file, fragment) = reference.trim().split_once('#').unwrap_or((reference.trim(), ""));
        let file = if file.is_empty() { part.file.clone() } else { normal(&part.file.with_file_name(file)) };
        let whole = self.read(&file);
        let value = whole.pointer(fragment).unwrap_or_else(|| panic!("{reference} in {}", part.file.display()));
        self.resolve(&Located { value: value.clone(), file })
    }
}

/// Returns `path` without `..`, so that a file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

impl Located {
    fn at(&self, key: &str) -> Option<Self> {
        self.value.get(key).map(|value| Self { file: self.file.clone(), value: value.clone() })
    }

    fn items(&self, key: &str) -> Vec<Self> {
        let items = self.value.get(key).and_then(Value::as_array).into_iter().flatten();
        items.map(|value| Self { file: self.file.clone(), value: value.clone() }).collect()
    }

    fn members(&self, key: &str) -> Vec<(String, Self)> {
        let members = self.value.get(key).and_then(Value::as_object).into_iter().flatten();
        members.map(|(name, value)| (name.clone(), Self { file: self.file.clone(), value: value.clone() })).collect()
    }
}

impl Specification {
    /// Reads the API that a folder describes: `client-server` or `server-server`.
    pub fn read(api: &str) -> Self {
        let files = Files::default();
        let mut operations = Vec::new();
        for entry in std::fs::read_dir(Path::new(FOLDER).join(api)).expect("the specification is readable") {
            let file = entry.expect("the specification is readable").path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let value = files.read(&file);
                operations.extend(operations_of(&Located { file, value }));
            }
        }
        Self { operations, files }
    }

    /// Reads the endpoints that one file describes.
    pub fn read_file(path: &Path) -> Self {
        let files = Files::default();
        let value = files.read(path);
        let operations = operations_of(&Located { file: path.to_owned(), value });
        Self { operations, files }
    }

    /// Iterates over all endpoints, each as `METHOD /path/{parameter}`.
    pub fn endpoints(&self) -> impl Iterator<Item = String> {
        self.operations.iter().map(Operation::name)
    }

    /// Returns the endpoint of a request, as `METHOD /path/{parameter}`.
    pub fn endpoint(&self, method: &str, path: &str) -> Option<String> {
        self.operation(method, path).map(Operation::name)
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let segments: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let fitting =
            self.operations.iter().filter(|operation| operation.method == method && operation.fits(&segments));
        // `/devices/x` before `/devices/{deviceId}`.
        fitting.min_by_key(|operation| operation.segments.iter().filter(|segment| segment.starts_with('{')).count())
    }

    /// Returns the mistakes of a response, each with its place in the body; `body` is `None` if it is not JSON.
    pub fn problems(&self, method: &str, path: &str, status: u16, body: Option<&Value>) -> Vec<String> {
        let Some(operation) = self.operation(method, path) else {
            return vec!["no such endpoint in the specification".to_owned()];
        };
        let mut problems = Vec::new();
        let is_text = |field: &str| body.is_some_and(|body| body[field].is_string());
        // The described 401 is that of user-interactive authentication; another 401 reports a wrong token.
        let interactive = status == 401 && body.is_some_and(|body| body["flows"].is_array());
        let described = operation.responses.at(&status.to_string()).filter(|_| status != 401 || interactive);
        if let Some(response) = described {
            let response = self.files.resolve(&response);
            let content = response.at("content").and_then(|content| content.at("application/json"));
            match (content.and_then(|content| content.at("schema")), body) {
                (Some(schema), Some(body)) => self.check(&schema, body, "", &mut problems),
                (Some(_), None) => problems.push("the body is not JSON".to_owned()),
                (None, _) => {}
            }
        } else if status < 400 && status != 304 {
            problems.push(format!("the specification has no answer {status}"));
        }
        // The first response of user-interactive authentication has no errcode: nothing has failed yet.
        if status >= 400 && !interactive && !(is_text("errcode") && is_text("error")) {
            problems.push("an error without errcode and error".to_owned());
        }
        problems
    }

    fn check(&self, schema: &Located, value: &Value, place: &str, problems: &mut Vec<String>) {
        let schema = self.files.resolve(schema);
        for part in schema.items("allOf") {
            self.check(&part, value, place, problems);
        }
        for choice in ["oneOf", "anyOf"] {
            self.check_choice(&schema.items(choice), value, place, problems);
        }
        if let Some(allowed) = schema.value.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            problems.push(format!("{place}: {value} is none of {allowed:?}"));
        }
        if !has_type(&schema.value["type"], value) {
            problems.push(format!("{place}: {} instead of {}", kind(value), schema.value["type"]));
            return;
        }
        match value {
            Value::Object(members) => {
                self.check_members(&schema, members, place, problems);
            }
            Value::Array(items) => {
                if let Some(schema) = schema.at("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.check(&schema, item, &format!("{place}/{index}"), problems);
                    }
                }
            }
            Value::String(text) => {
                let pattern = schema.value["pattern"].as_str();
                if pattern.is_some_and(|pattern| !matches(pattern, text)) {
                    problems.push(format!("{place}: {text:?} does not match {}", schema.value["pattern"]));
                }
            }
            _ => {}
        }
    }

    fn check_choice(&self, choices: &[Located], value: &Value, place: &str, problems: &mut Vec<String>) {
        let fits = |choice: &Located| {
            let mut problems = Vec::new();
            self.check(choice, value, place, &mut problems);
            problems.is_empty()
        };
        if !choices.is_empty() && !choices.iter().any(fits) {
            problems.push(format!("{place}: {value} is none of the {} that are allowed", choices.len()));
        }
    }

    fn check_members(
        &self,
        schema: &Located,
        members: &serde_json::Map<String, Value>,
        place: &str,
        problems: &mut Vec<String>,
    ) {
        for name in schema.items("required") {
            let name = name.value.as_str().unwrap_or_default();
            if !members.contains_key(name) {
                problems.push(format!("{place}/{name}: missing"));
            }
        }
        let patterns = schema.members("patternProperties");
        for (name, value) in members {
            let place = format!("{place}/{name}");
            let mut described = false;
            if let Some(schema) = schema.at("properties").and_then(|properties| properties.at(name)) {
                self.check(&schema, value, &place, problems);
                described = true;
            }
            for (pattern, schema) in &patterns {
                if matches(pattern, name) {
                    self.check(schema, value, &place, problems);
                    described = true;
                }
            }
            match schema.at("additionalProperties") {
                Some(others) if !described && others.value.is_object() => self.check(&others, value, &place, problems),
                Some(others) if !described && others.value == false => problems.push(format!("{place}: not allowed")),
                _ => {}
            }
        }
    }
}

/// Appends each kind of mistake to the file at `path`, once per process.
pub(crate) fn reporting_to(path: PathBuf) -> Inspector {
    static APIS: LazyLock<[Specification; 2]> =
        LazyLock::new(|| ["client-server", "server-server"].map(Specification::read));
    static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    Arc::new(move |method, request, answer| {
        let body = serde_json::from_slice::<Value>(&answer.bytes).ok();
        for api in APIS.iter() {
            let Some(endpoint) = api.endpoint(method.as_str(), request) else { continue };
            for problem in api.problems(method.as_str(), request, answer.status, body.as_ref()) {
                let line = format!("{endpoint}: {} {problem}", answer.status);
                if WRITTEN.lock().insert(line.clone()) {
                    let file = OpenOptions::new().create(true).append(true).open(&path);
                    let written = file.and_then(|mut file| writeln!(file, "{line}\t{request}\t{}", answer.body));
                    written.expect("the file for wrong answers can be written");
                }
            }
        }
    })
}

fn operations_of(file: &Located) -> Vec<Operation> {
    let base = file.value.pointer("/servers/0/variables/basePath/default").and_then(Value::as_str).unwrap_or_default();
    let mut operations = Vec::new();
    for (path, methods) in file.members("paths") {
        // A trailing space allows a second description of a path.
        let path = path.trim_end();
        for method in ["get", "put", "post", "delete"] {
            let Some(operation) = methods.at(method) else { continue };
            let Some(responses) = operation.at("responses") else { continue };
            let parameters = [methods.items("parameters"), operation.items("parameters")].concat();
            let request_body = operation.at("requestBody");
            let segments = format!("{}{path}", base.trim_end_matches('/')).split('/').map(str::to_owned).collect();
            let method = method.to_uppercase();
            operations.push(Operation { method, segments, parameters, request_body, responses });
        }
    }
    operations
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.segments.join("/"))
    }

    fn fits(&self, segments: &[&str]) -> bool {
        let fits = |(own, given): (&String, &&str)| own.starts_with('{') || own == given;
        self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(fits)
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("the specification's patterns are valid").is_match(text)
}

/// Whether `value` has the type, or one of the types, in a schema; without types, any value has.
fn has_type(named: &Value, value: &Value) -> bool {
    match named {
        Value::Array(names) => names.iter().any(|name| has_type(name, value)),
        Value::String(name) => match name.as_str() {
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            name => kind(value) == name,
        },
        _ => true,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
