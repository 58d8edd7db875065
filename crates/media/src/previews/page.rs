//! Reads a page in one pass, and keeps only what a preview may need of it. No tree is built: its memory
//! does not depend on its size or on how deep it nests.

mod text;
mod tokens;
mod words;

use std::collections::BTreeMap;
use std::io::{self, Read};

use html5gum::{IoReader, Tokenizer};
use plexus_protocol::json::Object;

use text::{MAX_TEXT_BYTES, Summary, is_space, summarize};
use tokens::{BoundedEmitter, Name, Tag, Tokens};
use words::BoundedWords;

/// The most `meta` tags of one vocabulary; a page with more of them has none, as in Synapse.
const MAX_META_TAGS: usize = 50;
/// The most characters of the value of a tag; one with more is left out of the preview, as in Synapse.
const MAX_VALUE_CHARS: usize = 1_000;
/// The most characters of the name of a tag; one with more is left out of the preview, as in Synapse.
const MAX_NAME_CHARS: usize = 50;
/// Images with a side of this many pixels or fewer are decoration.
const MAX_DECORATION_PIXELS: f64 = 10.0;

/// Elements whose content is not part of the text.
const WITHOUT_TEXT: [&[u8]; 14] = [
    b"header",
    b"nav",
    b"aside",
    b"footer",
    b"script",
    b"noscript",
    b"style",
    b"svg",
    b"iframe",
    b"video",
    b"canvas",
    b"img",
    b"picture",
    b"noframes",
];
/// ARIA roles of elements whose content is not part of the text.
const ROLES_WITHOUT_TEXT: [&str; 4] = ["directory", "menu", "menubar", "toolbar"];
/// Elements that can be before the body.
const BEFORE_BODY: [&[u8]; 11] =
    [b"html", b"head", b"title", b"meta", b"link", b"base", b"basefont", b"script", b"style", b"noscript", b"template"];
/// Elements without an end.
const VOID: [&[u8]; 15] = [
    b"area",
    b"base",
    b"basefont",
    b"br",
    b"col",
    b"embed",
    b"hr",
    b"img",
    b"input",
    b"link",
    b"meta",
    b"param",
    b"source",
    b"track",
    b"wbr",
];
/// Elements whose first text can be a title.
const TITLES: [&[u8]; 4] = [b"title", b"h1", b"h2", b"h3"];

/// What a page says that a preview may need.
#[derive(Debug, Default)]
pub struct Page {
    /// `og:`, `article:` and `profile:` tags.
    open_graph: [MetaTags; 3],
    /// `twitter:` tags, under the names that Open Graph has for the same.
    twitter: MetaTags,
    /// The first text of the first `title`, `h1`, `h2` or `h3`.
    title: Option<String>,
    meta_image: Option<String>,
    meta_description: Option<String>,
    /// The first of the largest images, with its area.
    largest_image: Option<(f64, String)>,
    first_image: Option<String>,
    icon: Option<String>,
    first_video: Option<String>,
    first_embed: Option<String>,
    oembed: Option<String>,
    oembed_alternative: Option<String>,
    /// A summary of the text.
    text: Option<String>,
}

/// The `meta` tags of one vocabulary.
#[derive(Debug, Default)]
struct MetaTags {
    values: BTreeMap<String, String>,
    are_too_many: bool,
}

impl MetaTags {
    /// Adds a tag, in place of an earlier one of that name. `name` is `None` for those that are not used.
    fn add(&mut self, name: Option<String>, value: &str) {
        if self.values.len() >= MAX_META_TAGS {
            self.are_too_many = true;
        }
        let Some(name) = name.filter(|_| !self.are_too_many) else { return };
        let value = match name.as_str() {
            // It may contain the image.
            "og:image" => value.to_owned(),
            "og:description" => start(value, MAX_TEXT_BYTES).to_owned(),
            _ => value.chars().take(MAX_VALUE_CHARS + 1).collect(),
        };
        self.values.insert(name, value);
    }

    fn usable(&self) -> impl Iterator<Item = (&str, &str)> {
        let usable = self.values.iter().filter(|_| !self.are_too_many);
        usable.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Page {
    /// Reads a page in UTF-8.
    ///
    /// # Errors
    /// When `source` cannot be read.
    pub fn read(source: impl Read) -> io::Result<Self> {
        let mut emitter = BoundedEmitter::new(PageReader::default());
        Tokenizer::new_with_emitter(IoReader::new(BoundedWords::new(source)), &mut emitter).finish()?;
        Ok(emitter.into_tokens().finish())
    }

    /// Returns where the page says that it is described by oEmbed in JSON.
    pub(super) fn oembed(&self) -> Option<&str> {
        self.oembed.as_deref().or(self.oembed_alternative.as_deref())
    }

    /// Returns the title that is not in a `meta` tag.
    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Returns the first image.
    pub(super) fn first_image(&self) -> Option<&str> {
        self.first_image.as_deref()
    }

    /// Returns the first video, or else the first embedded object.
    pub(super) fn first_video(&self) -> Option<&str> {
        self.first_video.as_deref().or(self.first_embed.as_deref())
    }

    /// Returns a summary of the text.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns what the page says as Open Graph tags. What it does not say in such tags comes from Twitter cards, or
    /// else from its title, its images and its text. `og:image` is as the page has it: maybe relative.
    pub fn open_graph(&self) -> Object {
        let mut tags = Object::new();
        for (name, value) in self.open_graph.iter().flat_map(MetaTags::usable) {
            tags.insert(name, value);
        }
        for (name, value) in self.twitter.usable() {
            if !tags.contains_key(name) {
                tags.insert(name, value);
            }
        }
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|_| !tags.contains_key(name)) {
                tags.insert(name, value);
            }
        };
        set("og:title", self.title.as_deref());
        let image = self.meta_image.as_deref().or(self.largest_image.as_ref().map(|(_, source)| source.as_str()));
        set("og:image", image.or(self.first_image.as_deref()).or(self.icon.as_deref()));
        let has_description = tags.contains_key("og:description");
        if has_description {
            let summary = tags.get_str("og:description").and_then(summarize);
            tags.remove("og:description");
            summary.map(|summary| tags.insert("og:description", summary));
        } else if let Some(text) = self.meta_description.as_deref().or(self.text.as_deref()) {
            tags.insert("og:description", text);
        }
        tags
    }
}

/// Removes tags whose names or values are too long.
pub(super) fn remove_long(tags: &mut Object) {
    let is_short = |text: &str, max_chars| text.chars().nth(max_chars).is_none();
    tags.retain(|name, value| {
        is_short(name, MAX_NAME_CHARS) && value.as_str().is_none_or(|text| is_short(text, MAX_VALUE_CHARS))
    });
}

/// Finds in a page what a preview may need.
#[derive(Debug, Default)]
struct PageReader {
    page: Page,
    summary: Summary,
    is_in_body: bool,
    /// The element around this place whose content is not part of the text.
    without_text: Option<Open>,
    /// The element around this place whose first text is the title, unless one was found before.
    of_title: Option<Open>,
    /// Which of [`TITLES`] have begun.
    titles_begun: [bool; TITLES.len()],
    /// The text since the last tag.
    text: Vec<u8>,
}

/// An element that is not closed yet.
#[derive(Debug)]
struct Open {
    name: Name,
    /// How many elements within it are not closed: for a title all of them, otherwise those of the same name.
    within: usize,
}

impl PageReader {
    fn finish(mut self) -> Page {
        self.page.text = self.summary.finish();
        self.page
    }

    fn meta(&mut self, tag: &Tag) {
        let page = &mut self.page;
        let Some(content) = tag.attribute("content").filter(|content| !content.is_empty()) else { return };
        if let Some(property) = tag.attribute("property") {
            let prefixes = ["og:", "article:", "profile:"];
            if let Some(at) = prefixes.iter().position(|prefix| property.starts_with(prefix))
                && let Some(tags) = page.open_graph.get_mut(at)
            {
                tags.add(Some(name_start(property)), content);
            }
        }
        if let Some(name) = tag.attribute("name").filter(|name| name.starts_with("twitter:")) {
            page.twitter.add(open_graph_name(name), content);
        }
        if page.meta_description.is_none() && tag.attribute("name").is_some_and(|name| is_word(name, "description")) {
            page.meta_description = Some(content.chars().take(MAX_VALUE_CHARS + 1).collect());
        }
        if page.meta_image.is_none() && tag.attribute("itemprop").is_some_and(|name| is_word(name, "image")) {
            page.meta_image = Some(content.to_owned());
        }
    }

    fn link(&mut self, tag: &Tag) {
        let Some(href) = tag.attribute("href") else { return };
        let rel = tag.attribute("rel").unwrap_or_default();
        if self.page.icon.is_none() && rel.contains("icon") && !href.is_empty() {
            self.page.icon = Some(href.to_owned());
        }
        if tag.attribute("type") == Some("application/json+oembed") {
            let place = match rel {
                "alternate" => &mut self.page.oembed,
                // Flickr, among others.
                "alternative" => &mut self.page.oembed_alternative,
                _ => return,
            };
            place.get_or_insert_with(|| href.to_owned());
        }
    }

    fn image(&mut self, tag: &Tag) {
        let Some(source) = tag.attribute("src").filter(|source| !source.is_empty()) else { return };
        self.page.first_image.get_or_insert_with(|| source.to_owned());
        let side = |name| tag.attribute(name).and_then(number).filter(|side| *side > MAX_DECORATION_PIXELS);
        let Some(area) = side("width").zip(side("height")).map(|(width, height)| width * height) else { return };
        if self.page.largest_image.as_ref().is_none_or(|(largest, _)| area > *largest) {
            self.page.largest_image = Some((area, source.to_owned()));
        }
    }

    fn begin_title(&mut self, name: &Name) {
        let Some(at) = TITLES.iter().position(|title| *title == name.as_bytes()) else { return };
        if let Some(begun) = self.titles_begun.get_mut(at).filter(|begun| !**begun) {
            *begun = true;
            self.of_title = Some(Open { name: name.clone(), within: 0 });
        }
    }
}

impl Tokens for PageReader {
    fn start_tag(&mut self, tag: &Tag) {
        self.text_ends();
        let name = tag.name.as_bytes();
        match name {
            b"meta" => self.meta(tag),
            b"link" => self.link(tag),
            b"img" => self.image(tag),
            b"video" | b"embed" => {
                let place = if name == b"video" { &mut self.page.first_video } else { &mut self.page.first_embed };
                if let Some(source) = tag.attribute("src").filter(|_| place.is_none()) {
                    *place = Some(source.to_owned());
                }
            }
            _ => {}
        }
        if !BEFORE_BODY.contains(&name) {
            self.is_in_body = true;
        }
        if tag.is_self_closing || VOID.contains(&name) {
            return;
        }
        if let Some(open) = &mut self.of_title {
            open.within += 1;
        }
        self.begin_title(&tag.name);
        match &mut self.without_text {
            Some(open) if open.name == tag.name => open.within += 1,
            Some(_) => {}
            None => {
                let is_title = name == b"title" && !self.is_in_body;
                let role = tag.attribute("role");
                if is_title
                    || WITHOUT_TEXT.contains(&name)
                    || role.is_some_and(|role| ROLES_WITHOUT_TEXT.contains(&role))
                {
                    self.without_text = Some(Open { name: tag.name.clone(), within: 0 });
                }
            }
        }
    }

    fn end_tag(&mut self, name: &[u8]) {
        self.text_ends();
        match &mut self.of_title {
            Some(open) if open.name.as_bytes() == name => self.of_title = None,
            Some(open) => open.within = open.within.saturating_sub(1),
            None => {}
        }
        if let Some(open) = self.without_text.as_mut().filter(|open| open.name.as_bytes() == name) {
            match open.within.checked_sub(1) {
                Some(within) => open.within = within,
                None => self.without_text = None,
            }
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        let bytes = if self.text.is_empty() { bytes.trim_ascii_start() } else { bytes };
        let room = MAX_TEXT_BYTES.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn text_ends(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let text = String::from_utf8_lossy(&text);
        let trimmed = text.trim_matches(is_space);
        if trimmed.is_empty() {
            return;
        }
        if self.page.title.is_none() && self.of_title.as_ref().is_some_and(|open| open.within == 0) {
            self.page.title = Some(trimmed.chars().take(MAX_VALUE_CHARS + 1).collect());
        }
        if self.without_text.is_none() {
            self.is_in_body = true;
            self.summary.add(&text);
        }
    }
}

/// Returns the name that Open Graph has for a `twitter:` tag; `None` if it has none.
fn open_graph_name(twitter: &str) -> Option<String> {
    match twitter {
        "twitter:card" | "twitter:creator" => None,
        "twitter:site" => Some("og:site_name".to_owned()),
        _ => Some(name_start(&format!("og:{}", twitter.strip_prefix("twitter:")?))),
    }
}

/// Returns the start of a tag's name: enough to see that the name is too long.
fn name_start(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS + 1).collect()
}

/// Returns the start of `text`, of at most `max_bytes`.
fn start(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn is_word(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

/// Returns the number of pixels in `width` and `height` (XPath 1.0, section 4.4): digits, maybe with a fraction.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<f64>().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests;
