//! A registration file (application service API,
//! <https://spec.matrix.org/v1.19/application-service-api/#registration>), with the keys that Synapse knows besides.

use std::net::IpAddr;
use std::path::Path;

use regex::Regex;

use crate::config::{IpRange, Problem, Secret};
use crate::yaml::{self, Node, Scalar, Value};

/// The longest user id, in bytes.
const MAX_USER_ID: usize = 255;

/// An application service.
#[derive(Debug, Clone)]
pub struct AppService {
    /// Identifies it.
    pub id: String,
    /// Where it receives requests, without a slash at the end. `None`: it receives none.
    pub url: Option<String>,
    /// The token with which it makes requests.
    pub as_token: Secret,
    /// The token with which this server makes requests to it.
    pub hs_token: Secret,
    /// The user id of its own user.
    pub sender: String,
    /// The users that it claims.
    pub users: Vec<Namespace>,
    /// The aliases that it claims.
    pub aliases: Vec<Namespace>,
    /// The ids of the rooms that it claims.
    pub rooms: Vec<Namespace>,
    /// Whether its requests for other users than its own count for the rate limits.
    pub rate_limited: bool,
    /// The third-party networks that it serves.
    pub protocols: Vec<String>,
    /// Whether it gets typing notifications, receipts and presence.
    pub receive_ephemeral: bool,
    /// Whether it gets them under the name that they had before they were specified (MSC2409).
    pub push_ephemeral: bool,
    /// Whether it gets changes of device lists and counts of keys (MSC3202).
    pub msc3202: bool,
    /// Whether it manages devices without logging in (MSC4190).
    pub msc4190: bool,
    /// The addresses from which it makes requests; empty for all.
    pub ip_range_whitelist: Vec<IpRange>,
    pub(super) id_line: u32,
    pub(super) as_token_line: u32,
}

impl PartialEq for AppService {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AppService {}

/// Names that an application service claims.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Whether nobody else may use them.
    pub exclusive: bool,
    /// The beginning of the names.
    pub regex: Regex,
}

impl AppService {
    /// Whether a user is in its namespace, or its own.
    pub fn is_interested_in_user(&self, user_id: &str) -> bool {
        self.sender == user_id || claim(&self.users, user_id).is_some()
    }

    /// Whether nobody else may register or use the user.
    pub fn is_exclusive_user(&self, user_id: &str) -> bool {
        self.sender == user_id || is_exclusive(&self.users, user_id)
    }

    /// Whether an alias is in its namespace.
    pub fn is_interested_in_alias(&self, alias: &str) -> bool {
        claim(&self.aliases, alias).is_some()
    }

    /// Whether nobody else may create or delete the alias.
    pub fn is_exclusive_alias(&self, alias: &str) -> bool {
        is_exclusive(&self.aliases, alias)
    }

    /// Whether it gets typing notifications, receipts, presence and messages to devices.
    pub fn gets_ephemeral(&self) -> bool {
        self.receive_ephemeral || self.push_ephemeral
    }

    /// Whether the rate limits of users apply when it acts as a user. They never do for its own.
    pub fn is_limited_as(&self, user_id: &str) -> bool {
        self.rate_limited && self.sender != user_id
    }

    /// Whether it may make requests from an address.
    pub fn may_connect_from(&self, address: Option<IpAddr>) -> bool {
        self.ip_range_whitelist.is_empty()
            || address.is_some_and(|address| self.ip_range_whitelist.iter().any(|range| range.contains(address)))
    }
}

fn claim<'n>(namespaces: &'n [Namespace], name: &str) -> Option<&'n Namespace> {
    namespaces.iter().find(|namespace| namespace.regex.is_match(name))
}

/// The first namespace with a name decides, as in Synapse.
fn is_exclusive(namespaces: &[Namespace], name: &str) -> bool {
    claim(namespaces, name).is_some_and(|namespace| namespace.exclusive)
}

/// Returns a mistake in a registration file.
pub(super) fn problem(file: &Path, line: u32, option: &str, message: String) -> Problem {
    Problem { file: Some(file.to_owned()), line, option: option.to_owned(), message }
}

/// Reads a registration file.
pub(super) fn parse(text: &str, file: &Path, server_name: &str) -> Result<AppService, Vec<Problem>> {
    let root = yaml::parse(text, 0).map_err(|error| vec![problem(file, error.line, "", error.message)])?;
    if !matches!(root.value, Value::Mapping(_)) {
        let message = format!("found {}; allowed is the registration of an application service", root.describe());
        return Err(vec![problem(file, root.place.line, "", message)]);
    }
    let mut registration = Registration { root: &root, file, problems: Vec::new() };
    match registration.read(server_name) {
        Some(service) if registration.problems.is_empty() => Ok(service),
        _ => Err(registration.problems),
    }
}

/// A registration file while it is read.
struct Registration<'f> {
    root: &'f Node,
    file: &'f Path,
    problems: Vec<Problem>,
}

impl<'f> Registration<'f> {
    fn read(&mut self, server_name: &str) -> Option<AppService> {
        let (id, as_token, hs_token) = (self.id(), self.text("as_token"), self.text("hs_token"));
        let (sender, url) = (self.sender(server_name), self.url());
        let (users, aliases, rooms) = self.namespaces();
        let line = |key: &str| self.root.get(key).map_or(0, |node| node.place.line);
        let (id_line, as_token_line) = (line("id"), line("as_token"));
        Some(AppService {
            rate_limited: self.lenient_flag("rate_limited").unwrap_or(true),
            protocols: self.protocols(),
            receive_ephemeral: self.lenient_flag("receive_ephemeral").unwrap_or(false),
            push_ephemeral: self.lenient_flag("de.sorunome.msc2409.push_ephemeral").unwrap_or(false),
            msc3202: self.flag("org.matrix.msc3202"),
            msc4190: self.flag("io.element.msc4190"),
            ip_range_whitelist: self.addresses(),
            id: id?,
            url: url?,
            as_token: Secret::new(as_token?),
            hs_token: Secret::new(hs_token?),
            sender: sender?,
            users,
            aliases,
            rooms,
            id_line,
            as_token_line,
        })
    }

    fn error(&mut self, node: &Node, option: &str, message: &str) {
        let message = format!("found {}; {message}", node.describe());
        self.problems.push(problem(self.file, node.place.line, option, message));
    }

    fn missing(&mut self, option: &str, message: &str) {
        self.problems.push(problem(self.file, self.root.place.line, option, message.to_owned()));
    }

    /// Returns a required, non-empty string.
    fn text(&mut self, key: &str) -> Option<String> {
        let Some(node) = self.root.get(key) else {
            self.missing(key, "missing; allowed is a string");
            return None;
        };
        match &node.value {
            Value::Scalar(Scalar::String(text)) if !text.is_empty() => Some(text.clone()),
            Value::Scalar(_) if key.ends_with("_token") => {
                let message = "found another value; allowed is a string, in quotes if it looks like a number";
                self.problems.push(problem(self.file, node.place.line, key, message.to_owned()));
                None
            }
            _ => {
                self.error(node, key, "allowed is a string, in quotes if it looks like a number");
                None
            }
        }
    }

    fn id(&mut self) -> Option<String> {
        let id = self.text("id")?;
        if id.contains('|') {
            self.error(self.root.get("id")?, "id", "allowed is a string without |");
            return None;
        }
        Some(id)
    }

    /// Returns the id of the service's own user.
    fn sender(&mut self, server_name: &str) -> Option<String> {
        let localpart = self.text("sender_localpart")?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte);
        if !localpart.bytes().all(allowed) {
            let node = self.root.get("sender_localpart")?;
            self.error(node, "sender_localpart", "allowed are letters, digits and _ . - ~ /");
            return None;
        }
        let sender = format!("@{localpart}:{server_name}");
        if sender.len() > MAX_USER_ID {
            let node = self.root.get("sender_localpart")?;
            self.error(node, "sender_localpart", &format!("the user id has more than {MAX_USER_ID} bytes"));
            return None;
        }
        Some(sender)
    }

    /// Returns the URL: it is required, and may be null, so that nobody cuts off a service by forgetting it.
    #[expect(clippy::option_option, reason = "the inner one is the value, the outer one whether there is one")]
    fn url(&mut self) -> Option<Option<String>> {
        let Some(node) = self.root.get("url") else {
            self.missing(
                "url",
                "missing; allowed is an http or https URL, or null for a service that receives nothing",
            );
            return None;
        };
        match node.as_text() {
            _ if node.is_null() || node.is_empty() => Some(None),
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Some(Some(url.trim_end_matches('/').to_owned()))
            }
            _ => {
                self.error(node, "url", "allowed is an http or https URL, or null");
                None
            }
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        let Some(node) = self.root.get(key) else { return false };
        if let Value::Scalar(Scalar::Bool { value, .. }) = node.value {
            return value;
        }
        self.error(node, key, "allowed are true and false");
        false
    }

    /// Returns a boolean; Synapse ignores other values.
    fn lenient_flag(&self, key: &str) -> Option<bool> {
        match self.root.get(key)?.value {
            Value::Scalar(Scalar::Bool { value, .. }) => Some(value),
            _ => None,
        }
    }

    fn protocols(&mut self) -> Vec<String> {
        self.texts("protocols", |text| Some(text.to_owned()), "allowed is a list of strings")
    }

    fn addresses(&mut self) -> Vec<IpRange> {
        self.texts("ip_range_whitelist", IpRange::parse, "allowed is a list of addresses and ranges of addresses")
    }

    fn texts<T>(&mut self, key: &str, read: impl Fn(&str) -> Option<T>, allowed: &str) -> Vec<T> {
        let Some(node) = self.root.get(key).filter(|node| !node.is_null() && !node.is_empty()) else {
            return Vec::new();
        };
        let items = node.items();
        let read: Option<Vec<T>> = items.iter().map(|item| item.as_text().and_then(&read)).collect();
        match read {
            Some(read) if !items.is_empty() => read,
            _ => {
                self.error(node, key, allowed);
                Vec::new()
            }
        }
    }

    /// Returns the claimed users, aliases and rooms.
    fn namespaces(&mut self) -> (Vec<Namespace>, Vec<Namespace>, Vec<Namespace>) {
        let Some(node) = self.root.get("namespaces") else {
            self.missing("namespaces", "missing; allowed is an object with users, aliases and rooms");
            return (Vec::new(), Vec::new(), Vec::new());
        };
        if !matches!(node.value, Value::Mapping(_)) {
            self.error(node, "namespaces", "allowed is an object with users, aliases and rooms");
        }
        let mut of = |kind| node.get(kind).map(|list| self.namespace_list(list, kind)).unwrap_or_default();
        (of("users"), of("aliases"), of("rooms"))
    }

    fn namespace_list(&mut self, list: &Node, kind: &str) -> Vec<Namespace> {
        if !matches!(list.value, Value::Sequence(_)) && !list.is_null() {
            self.error(list, &format!("namespaces.{kind}"), "allowed is a list of objects with regex and exclusive");
        }
        let items = list.items().iter().enumerate();
        items.filter_map(|(number, item)| self.namespace(item, &format!("namespaces.{kind}[{number}]"))).collect()
    }

    fn namespace(&mut self, item: &Node, option: &str) -> Option<Namespace> {
        let exclusive = item.get("exclusive").map(|node| &node.value);
        let (Some(regex), Some(Value::Scalar(Scalar::Bool { value: exclusive, .. }))) = (item.get("regex"), exclusive)
        else {
            self.error(item, option, "allowed is an object with regex, a string, and exclusive, true or false");
            return None;
        };
        let Some(source) = regex.as_text() else {
            self.error(regex, &format!("{option}.regex"), "allowed is a regular expression");
            return None;
        };
        // Like `re.match` of Python, an expression need not reach the end of a name.
        match Regex::new(source).and_then(|_| Regex::new(&format!("^(?:{source})"))) {
            Ok(regex) => Some(Namespace { exclusive: *exclusive, regex }),
            Err(error) => {
                // The last line says what is wrong, those before it where.
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                let message =
                    format!("allowed is a regular expression without look-around and backreferences: {reason}");
                self.error(regex, &format!("{option}.regex"), &message);
                None
            }
        }
    }
}
