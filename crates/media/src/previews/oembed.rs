//! [oEmbed](https://oembed.com/): sites that describe their pages in JSON.

use std::borrow::Cow;
use std::time::Duration;

use plexus_protocol::json::{Object, Value};
use regex::Regex;
use url::Url;

use super::page::Page;

/// The sites whose pages say little without it: where to ask, and the globs of pages, all of https.
const PROVIDERS: [(&str, &[&str]); 2] = [
    ("https://publish.x.com/oembed", &["x.com/*", "x.com/*/status/*", "*.x.com/*/status/*"]),
    ("https://www.youtube.com/oembed", &["youtube.com/shorts/*", "*.youtube.com/shorts/*"]),
];

/// Why a file of sites (`oembed.additional_providers`) cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProvidersError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(#[from] plexus_protocol::json::ParseError),
    /// It does not have the form of oembed.com's providers.json.
    #[error("{0}")]
    Form(Cow<'static, str>),
    /// A glob cannot be used.
    #[error("{glob:?} cannot be used: {source}")]
    Glob {
        /// The glob.
        glob: String,
        /// The reason.
        source: regex::Error,
    },
}

/// The sites whose pages are described elsewhere.
#[derive(Debug, Default)]
pub struct OembedProviders(Vec<Provider>);

#[derive(Debug)]
struct Provider {
    endpoint: String,
    pages: Vec<Regex>,
}

impl OembedProviders {
    /// Adds the sites that are built in.
    ///
    /// # Errors
    /// Never, as long as the globs are right.
    pub fn add_built_in(&mut self) -> Result<(), ProvidersError> {
        for (endpoint, globs) in PROVIDERS {
            let pages = globs.iter().map(|glob| pattern(&format!("https://{glob}"))).collect::<Result<_, _>>()?;
            self.0.push(Provider { endpoint: endpoint.to_owned(), pages });
        }
        Ok(())
    }

    /// Adds the sites in a file that has the form of oembed.com's providers.json.
    ///
    /// # Errors
    /// See [`ProvidersError`].
    pub fn add_file(&mut self, json: &str) -> Result<(), ProvidersError> {
        let form = |text: &'static str| ProvidersError::Form(text.into());
        let Value::Array(providers) = Value::parse(json)? else { return Err(form("it is not a list of providers")) };
        for provider in &providers {
            let endpoints = provider.as_object().and_then(|provider| provider.get_array("endpoints"));
            for endpoint in endpoints.ok_or_else(|| form("a provider has no list of endpoints"))? {
                let endpoint = endpoint.as_object().ok_or_else(|| form("an endpoint is not an object"))?;
                let url = endpoint.get_str("url").ok_or_else(|| form("an endpoint has no url"))?;
                let schemes =
                    endpoint.get_array("schemes").ok_or_else(|| form("an endpoint has no list of schemes"))?;
                if !is_http(url) {
                    return Err(ProvidersError::Form(format!("{url} is neither http nor https").into()));
                }
                let globs = schemes.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
                let globs = globs.ok_or_else(|| form("a scheme is not a string"))?;
                if let Some(other) = globs.iter().find(|glob| !is_http(glob)) {
                    return Err(ProvidersError::Form(format!("{other} is neither http nor https").into()));
                }
                let formats = endpoint.get_array("formats");
                let has_json =
                    formats.is_none_or(|formats| formats.iter().any(|format| format.as_str() == Some("json")));
                if has_json && !url.ends_with(".xml") {
                    let pages = globs.into_iter().map(pattern).collect::<Result<_, _>>()?;
                    self.0.push(Provider { endpoint: url.to_owned(), pages });
                }
            }
        }
        Ok(())
    }

    /// Returns where `url` is described, if its site does that.
    pub(super) fn find(&self, url: &str) -> Option<Url> {
        let provider = self.0.iter().find(|provider| provider.pages.iter().any(|page| page.is_match(url)))?;
        let mut endpoint = Url::parse(&provider.endpoint.replace("{format}", "json")).ok()?;
        endpoint.query_pairs_mut().append_pair("url", url).append_pair("format", "json");
        Some(endpoint)
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// Returns the pattern of a glob: in the host, `*` is one label or a part of it; elsewhere, any text.
fn pattern(glob: &str) -> Result<Regex, ProvidersError> {
    let (scheme, rest) = glob.split_once("://").unwrap_or(("https", glob));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = regex::escape(host).replace(r"\*", "[a-zA-Z0-9_-]+");
    let path = regex::escape(path).replace(r"\*", ".+");
    let compiled = Regex::new(&format!(r"\A{scheme}://{host}{path}\z"));
    compiled.map_err(|source| ProvidersError::Glob { glob: glob.to_owned(), source })
}

/// A page as oEmbed describes it.
#[derive(Debug, Default, PartialEq)]
pub struct Oembed {
    /// As Open Graph tags.
    pub open_graph: Object,
    /// A title for a page without one.
    pub author_name: Option<String>,
    /// How long the description is valid.
    pub cache_age: Option<Duration>,
}

impl Oembed {
    /// Parses a response about `url`. One that is not oEmbed describes nothing.
    pub fn parse(url: &str, response: &str) -> Self {
        let Ok(response) = Object::parse(response) else { return Self::default() };
        let is_version_1 = match response.get("version") {
            None => true,
            Some(Value::String(version)) => version == "1.0",
            Some(Value::Number(version)) => version.as_f64() == 1.0,
            Some(_) => false,
        };
        if !is_version_1 {
            return Self::default();
        }
        let cache_age = match response.get("cache_age") {
            Some(Value::Number(seconds)) => seconds.as_u64(),
            Some(Value::String(seconds)) => seconds.trim().parse().ok(),
            _ => None,
        };
        let text = |name| response.get_str(name).filter(|text| !text.is_empty());
        let mut tags = Object::new();
        tags.insert("og:url", url);
        if let Some(title) = text("title") {
            // WordPress escapes it.
            tags.insert("og:title", unescape(title));
        }
        for (name, tag) in [("provider_name", "og:site_name"), ("thumbnail_url", "og:image")] {
            text(name).map(|value| tags.insert(tag, value));
        }
        match response.get_str("type") {
            Some("rich") => describe(&mut tags, text("html")),
            Some("photo") => {
                text("url").map(|image| tags.insert("og:image", image));
            }
            Some("video") => {
                tags.insert("og:type", "video.other");
                describe(&mut tags, text("html"));
                for (name, tag) in [("width", "og:video:width"), ("height", "og:video:height")] {
                    response.get_i64(name).map(|pixels| tags.insert(tag, pixels));
                }
            }
            Some("link") => {
                tags.insert("og:type", "website");
            }
            _ => {}
        }
        let author_name = response.get_str("author_name").map(str::to_owned);
        Self { open_graph: tags, author_name, cache_age: cache_age.map(Duration::from_secs) }
    }
}

/// Adds what is in the HTML of a description.
fn describe(tags: &mut Object, html: Option<&str>) {
    // A text in memory can always be read.
    let Some(page) = html.and_then(|html| Page::read(html.as_bytes()).ok()) else { return };
    if let Some(image) = page.first_image().filter(|_| !tags.contains_key("og:image")) {
        tags.insert("og:image", image);
    }
    page.first_video().map(|video| tags.insert("og:video", video));
    page.text().map(|text| tags.insert("og:description", text));
}

/// Replaces character references.
fn unescape(text: &str) -> String {
    // What could begin a tag is text here.
    let page = Page::read(format!("<title>{}</title>", text.replace('<', "&lt;")).as_bytes());
    page.ok().and_then(|page| page.title().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers() -> OembedProviders {
        let mut providers = OembedProviders::default();
        providers.add_built_in().unwrap();
        providers
    }

    #[test]
    fn pages_of_known_sites_are_described_elsewhere() {
        let providers = providers();
        let url = "https://x.com/matrixdotorg/status/1";
        let found = providers.find(url).map(String::from);
        let expected = "https://publish.x.com/oembed?url=https%3A%2F%2Fx.com%2Fmatrixdotorg%2Fstatus%2F1&format=json";
        assert_eq!(found.as_deref(), Some(expected));
        assert!(providers.find("https://www.youtube.com/shorts/abc").is_some());
        for other in
            ["https://a.b.youtube.com/shorts/abc", "https://youtube.com/watch?v=1", "https://ax.com/", "https://x.com/"]
        {
            assert_eq!(providers.find(other), None, "{other}");
        }
    }

    #[test]
    fn sites_are_added_by_files() {
        let mut providers = OembedProviders::default();
        let file = r#"[{"provider_name": "A", "provider_url": "https://a.example", "endpoints": [
            {"schemes": ["http://*.a.example/p/*"], "url": "https://a.example/oembed.{format}?key=1"},
            {"schemes": ["http://b.example/*"], "url": "https://b.example/oembed.xml"},
            {"schemes": ["http://c.example/*"], "url": "https://c.example/", "formats": ["xml"]}]}]"#;
        providers.add_file(file).unwrap();
        let found = providers.find("http://www.a.example/p/1").map(String::from);
        assert_eq!(
            found.as_deref(),
            Some("https://a.example/oembed.json?key=1&url=http%3A%2F%2Fwww.a.example%2Fp%2F1&format=json")
        );
        assert!(providers.find("http://b.example/x").is_none() && providers.find("http://c.example/x").is_none());
        for (file, reason) in [
            ("{", "it is not JSON"),
            ("{}", "it is not a list of providers"),
            (r#"[{}]"#, "a provider has no list of endpoints"),
            (r#"[{"endpoints": [{"url": "https://a.example"}]}]"#, "an endpoint has no list of schemes"),
            (r#"[{"endpoints": [{"url": "ftp://a.example", "schemes": []}]}]"#, "ftp://a.example is neither http nor"),
        ] {
            let error = OembedProviders::default().add_file(file).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }

    #[test]
    fn all_types_become_open_graph() {
        let parse = |json: &str| {
            let oembed = Oembed::parse("https://a.example/1", json);
            (oembed.open_graph.to_json(), oembed.author_name, oembed.cache_age.map(|age| age.as_secs()))
        };
        let rich = r#"{"version": "1.0", "type": "rich", "title": "A &amp; B &lt;i&gt;", "provider_name": "P",
            "author_name": "Someone", "cache_age": "3153600000",
            "html": "<blockquote><p>Hello <b>you</b></p><img src=/i.png></blockquote><script>x</script>"}"#;
        let (tags, author, age) = parse(rich);
        assert_eq!(
            Object::parse(&tags).unwrap(),
            Object::parse(
                r#"{"og:url": "https://a.example/1", "og:title": "A & B <i>", "og:site_name": "P",
                    "og:image": "/i.png", "og:description": "Hello\n\nyou"}"#
            )
            .unwrap()
        );
        assert_eq!((author.as_deref(), age), (Some("Someone"), Some(3_153_600_000)));
        let video = r#"{"version": 1.0, "type": "video", "thumbnail_url": "t.png", "width": 200, "height": "113",
            "html": "<embed src=e.swf><video src=v.mp4></video>"}"#;
        assert_eq!(
            Object::parse(&parse(video).0).unwrap(),
            Object::parse(
                r#"{"og:url": "https://a.example/1", "og:type": "video.other", "og:image": "t.png",
                    "og:video": "v.mp4", "og:video:width": 200}"#
            )
            .unwrap()
        );
        let photo = r#"{"type": "photo", "url": "p.png", "thumbnail_url": "t.png"}"#;
        assert!(parse(photo).0.contains(r#""og:image":"p.png""#));
        assert!(parse(r#"{"type": "link"}"#).0.contains(r#""og:type":"website""#));
        for nothing in [r#"{"version": "2.0"}"#, "[]", "<oembed/>", ""] {
            assert_eq!(parse(nothing), ("{}".to_owned(), None, None), "{nothing}");
        }
    }
}
