//! `url_preview_url_blacklist`: URLs that are not previewed.

use regex::Regex;
use url::Url;

/// The most bytes of a compiled pattern: far more than one about URLs needs.
const MAX_PATTERN_BYTES: usize = 256 * 1024;

/// The patterns of an entry, as they are configured: globs, or regular expressions when they begin with `^`. An absent
/// one fits every URL.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields have the names of a URL's parts in Python's urllib, as in Synapse")]
pub struct UrlPatterns {
    pub scheme: Option<String>,
    pub netloc: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub hostname: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
    pub fragment: Option<String>,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {pattern:?} is not a pattern: {source}")]
pub struct UrlPatternError {
    /// The part of the URL.
    part: &'static str,
    /// The pattern.
    pattern: String,
    /// What is wrong with it.
    source: regex::Error,
}

/// The URLs that are not previewed.
#[derive(Debug, Default)]
pub struct UrlRules(Vec<Rule>);

/// An entry: a URL that fits all patterns is refused.
#[derive(Debug)]
struct Rule(Vec<(Part, Regex)>);

/// A part of a URL.
#[derive(Debug, Clone, Copy)]
enum Part {
    Scheme,
    Netloc,
    Username,
    Password,
    Hostname,
    Port,
    Path,
    Query,
    Fragment,
}

impl UrlRules {
    /// Compiles a list.
    ///
    /// # Errors
    /// When a pattern is not a regular expression.
    pub fn new(entries: &[UrlPatterns]) -> Result<Self, UrlPatternError> {
        entries.iter().map(Rule::new).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a URL is refused: as it is written, as it is understood, or as it is requested. These differ when, for
    /// example, letters of the host are written in upper case, or the URL holds a user name. What is written may be
    /// relative; it is no URL of its own then.
    pub(super) fn refuse(&self, written: &str, url: &Url) -> bool {
        let requested = requested(url);
        let mut forms = vec![Parts::of(url.as_str()), Parts::of(requested.as_str())];
        if Url::parse(written).is_ok() {
            forms.push(Parts::of(written));
        }
        self.0.iter().any(|rule| forms.iter().any(|parts| rule.fits(parts)))
    }
}

/// Returns a URL as the server of its host sees it: without user name, password, fragment and the dot that can end the
/// name of a host.
fn requested(url: &Url) -> Url {
    let mut requested = url.clone();
    requested.set_fragment(None);
    let _ = requested.set_username("").and_then(|()| requested.set_password(None));
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')) {
        let _ = requested.set_host(Some(host));
    }
    requested
}

impl Rule {
    fn new(entry: &UrlPatterns) -> Result<Self, UrlPatternError> {
        let UrlPatterns { scheme, netloc, username, password, hostname, port, path, query, fragment } = entry;
        let parts = [
            (Part::Scheme, "scheme", scheme),
            (Part::Netloc, "netloc", netloc),
            (Part::Username, "username", username),
            (Part::Password, "password", password),
            (Part::Hostname, "hostname", hostname),
            (Part::Port, "port", port),
            (Part::Path, "path", path),
            (Part::Query, "query", query),
            (Part::Fragment, "fragment", fragment),
        ];
        let compile = |(part, name, pattern): (Part, &'static str, &Option<String>)| {
            let pattern = pattern.as_deref()?;
            let compiled = compile(pattern).map(|regex| (part, regex));
            Some(compiled.map_err(|source| UrlPatternError { part: name, pattern: pattern.to_owned(), source }))
        };
        parts.into_iter().filter_map(compile).collect::<Result<_, _>>().map(Self)
    }

    fn fits(&self, parts: &Parts<'_>) -> bool {
        self.0.iter().all(|(part, pattern)| parts.get(*part).is_some_and(|value| pattern.is_match(value)))
    }
}

/// The parts of a URL as Python's `urlsplit` finds them in it.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'u> {
    scheme: String,
    netloc: &'u str,
    username: Option<&'u str>,
    password: Option<&'u str>,
    hostname: Option<String>,
    port: Option<&'u str>,
    path: &'u str,
    query: &'u str,
    fragment: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Self {
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), url),
        };
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (netloc, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let (user, host) = match netloc.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, netloc),
        };
        let (username, password) = match user.and_then(|user| user.split_once(':')) {
            Some((username, password)) => (Some(username), Some(password)),
            None => (user, None),
        };
        let (hostname, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let hostname = Some(hostname.to_lowercase()).filter(|name| !name.is_empty());
        let port = port.filter(|port| !port.is_empty());
        Self { scheme, netloc, username, password, hostname, port, path, query, fragment }
    }

    fn get(&self, part: Part) -> Option<&str> {
        match part {
            Part::Scheme => Some(&self.scheme),
            Part::Netloc => Some(self.netloc),
            Part::Username => self.username,
            Part::Password => self.password,
            Part::Hostname => self.hostname.as_deref(),
            Part::Port => self.port,
            Part::Path => Some(self.path),
            Part::Query => Some(self.query),
            Part::Fragment => Some(self.fragment),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Compiles a pattern: a regular expression, which must fit at the start, or a glob, which must fit all of a text.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let expression = if pattern.starts_with('^') { format!(r"\A(?:{pattern})") } else { glob(pattern) };
    regex::RegexBuilder::new(&expression).size_limit(MAX_PATTERN_BYTES).build()
}

/// Returns the regular expression of a glob as Python's `fnmatch` understands it: `*`, `?`, `[...]` and `[!...]`.
fn glob(pattern: &str) -> String {
    let mut expression = r"(?s)\A".to_owned();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => match class(rest.as_str()) {
                Some((class, after)) => {
                    expression.push_str(&class);
                    rest = after.chars();
                }
                None => expression.push_str(r"\["),
            },
            _ => expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    expression + r"\z"
}

/// Returns the class that begins after a bracket, and what follows it; `None` if it never ends.
fn class(text: &str) -> Option<(String, &str)> {
    let (negation, members) = match text.strip_prefix('!') {
        Some(members) => ("^", members),
        None => ("", text),
    };
    // A bracket that comes first is a member.
    let first = members.chars().next()?.len_utf8();
    let end = first + members.get(first..)?.find(']')?;
    let (members, after) = members.split_at_checked(end)?;
    let escaped: String = members
        .chars()
        .flat_map(|member| {
            let is_special = matches!(member, '\\' | '[' | ']' | '^' | '&' | '~');
            is_special.then_some('\\').into_iter().chain([member])
        })
        .collect();
    Some((format!("[{negation}{escaped}]"), after.strip_prefix(']')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(entry: UrlPatterns, url: &str) -> bool {
        UrlRules::new(&[entry]).unwrap().refuse(url, &Url::parse(url).unwrap())
    }

    fn some(pattern: &str) -> Option<String> {
        Some(pattern.to_owned())
    }

    #[test]
    fn urls_have_pythons_parts() {
        let parts = Parts::of("HTTPS://me:se:cret@WWW.a.example:8080/p/q?x=1?#end");
        assert_eq!((parts.scheme.as_str(), parts.netloc), ("https", "me:se:cret@WWW.a.example:8080"));
        assert_eq!((parts.username, parts.password, parts.port), (Some("me"), Some("se:cret"), Some("8080")));
        assert_eq!(parts.hostname.as_deref(), Some("www.a.example"));
        assert_eq!((parts.path, parts.query, parts.fragment), ("/p/q", "x=1?", "end"));
        let parts = Parts::of("http://[::1]/");
        assert_eq!((parts.hostname.as_deref(), parts.port, parts.username), (Some("::1"), None, None));
        let parts = Parts::of("//a.example");
        assert_eq!((parts.scheme.as_str(), parts.netloc, parts.path), ("", "a.example", ""));
    }

    #[test]
    fn globs_and_regular_expressions_are_those_of_synapse() {
        type Set = fn(&mut UrlPatterns, Option<String>);
        let netloc: Set = |entry, pattern| entry.netloc = pattern;
        let path: Set = |entry, pattern| entry.path = pattern;
        let port: Set = |entry, pattern| entry.port = pattern;
        let username: Set = |entry, pattern| entry.username = pattern;
        let scheme: Set = |entry, pattern| entry.scheme = pattern;
        for (set, pattern, url, expected) in [
            (netloc, "google.com", "https://google.com/", true),
            (netloc, "google.com", "https://www.google.com/", false),
            (netloc, "*.google.com", "https://www.google.com/", true),
            (netloc, "*.google.com", "https://WWW.Google.com/", true),
            (netloc, "^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$", "http://192.168.1.1/", true),
            // The same address.
            (netloc, "^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$", "http://0xc0a80101/", true),
            (netloc, "^goo", "https://google.com/", true),
            (netloc, "oogle.com", "https://google.com/", false),
            (netloc, "a.exampl[a-e]", "https://a.example/", true),
            (netloc, "a.exampl[!a-e]", "https://a.example/", false),
            (netloc, "a?example", "https://a.example/", true),
            (netloc, "^oo|google", "https://a.google.com/", false),
            (netloc, "google.com", "https://me:secret@google.com/", true),
            (netloc, "google.com", "https://google.com./", true),
            (netloc, "google.com", "https://google.com.:443/", true),
            (path, "/private/*", "https://a.example/private/x/y", true),
            (path, "/private/*", "https://a.example/public/../private/x", true),
            (port, "*", "https://a.example:8080/", true),
            (port, "*", "https://a.example/", false),
            (port, "80", "http://a.example:80/", true),
            (username, "*", "https://me@a.example/", true),
            (username, "*", "https://a.example/", false),
            (scheme, "http", "http://a.example/", true),
            (scheme, "http", "https://a.example/", false),
        ] {
            let mut entry = UrlPatterns::default();
            set(&mut entry, some(pattern));
            assert_eq!(refuses(entry, url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn relative_references_are_judged_by_where_they_lead() {
        let url = Url::parse("https://a.example/x").unwrap();
        for pattern in ["^[^.]*$", "^$"] {
            let rules = UrlRules::new(&[UrlPatterns { netloc: some(pattern), ..UrlPatterns::default() }]).unwrap();
            assert!(!rules.refuse("/x", &url), "{pattern}");
        }
    }

    #[test]
    fn all_patterns_of_an_entry_must_fit() {
        let entry = UrlPatterns { scheme: some("http"), path: some("*.html"), ..UrlPatterns::default() };
        assert!(refuses(entry.clone(), "http://a.example/x.html"));
        assert!(!refuses(entry.clone(), "https://a.example/x.html"));
        assert!(!refuses(entry, "http://a.example/x"));
        // As in Synapse, an entry without patterns fits everything.
        assert!(refuses(UrlPatterns::default(), "http://a.example/"));
        let broken = UrlPatterns { password: some("^("), ..UrlPatterns::default() };
        assert!(UrlRules::new(&[broken]).unwrap_err().to_string().starts_with("password: \"^(\" is not a pattern"));
    }
}
