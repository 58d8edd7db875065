//! Tags and texts of a page, each with a bounded part of what a page may put into it.

use std::convert::Infallible;

use html5gum::{Emitter, Error, State};

/// The most bytes of a tag's or an attribute's name; those that matter are shorter.
const MAX_NAME_BYTES: usize = 16;
/// The most bytes of an attribute's value: a small image in a `data:` URL. A longer value counts as absent.
const MAX_VALUE_BYTES: usize = 128 * 1024;
/// The attributes that matter.
const ATTRIBUTES: [&[u8]; 11] =
    [b"content", b"height", b"href", b"itemprop", b"name", b"property", b"rel", b"role", b"src", b"type", b"width"];

/// A start tag.
#[derive(Debug, Default)]
pub(super) struct Tag {
    /// In lower case.
    pub(super) name: Name,
    /// Whether it ends with `/>`.
    pub(super) is_self_closing: bool,
    attributes: Vec<(&'static [u8], String)>,
}

impl Tag {
    /// Returns the value of an attribute, if it has one that matters.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name.as_bytes());
        found.map(|(_, value)| value.as_str())
    }
}

/// A name of at most [`MAX_NAME_BYTES`]; what is longer is cut off, and equals no known name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Name(Vec<u8>);

impl Name {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn push(&mut self, bytes: &[u8]) {
        // One byte more than any name that matters.
        let room = (MAX_NAME_BYTES + 1).saturating_sub(self.0.len());
        self.0.extend(bytes.iter().take(room));
    }
}

/// Receives the parts of a page in their order.
pub(super) trait Tokens {
    /// A tag begins an element.
    fn start_tag(&mut self, tag: &Tag);
    /// A tag ends an element.
    fn end_tag(&mut self, name: &[u8]);
    /// Text goes on, in UTF-8; a character may be split between two calls.
    fn text(&mut self, bytes: &[u8]);
    /// A comment, or the end of the page: what is after it is another text.
    fn text_ends(&mut self);
}

/// Passes the tokenizer's output on to `T`.
#[derive(Debug)]
pub(super) struct BoundedEmitter<T> {
    tokens: T,
    tag: Tag,
    is_end_tag: bool,
    last_start_tag: Vec<u8>,
    attribute: Name,
    value: Vec<u8>,
    value_is_too_long: bool,
}

impl<T: Tokens> BoundedEmitter<T> {
    pub(super) fn new(tokens: T) -> Self {
        Self {
            tokens,
            tag: Tag::default(),
            is_end_tag: false,
            last_start_tag: Vec::new(),
            attribute: Name::default(),
            value: Vec::new(),
            value_is_too_long: false,
        }
    }

    /// Returns what received the parts of the page.
    pub(super) fn into_tokens(self) -> T {
        self.tokens
    }

    /// Adds the attribute that has ended. The first of several with one name counts.
    fn finish_attribute(&mut self) {
        let attribute = std::mem::take(&mut self.attribute);
        let value = std::mem::take(&mut self.value);
        let is_too_long = std::mem::take(&mut self.value_is_too_long);
        let known = ATTRIBUTES.into_iter().find(|known| *known == attribute.as_bytes());
        if let Some(known) = known
            && !is_too_long
            && !self.is_end_tag
            && self.tag.attributes.iter().all(|(other, _)| *other != known)
        {
            self.tag.attributes.push((known, String::from_utf8_lossy(&value).into_owned()));
        }
    }
}

impl<T: Tokens> Emitter for &mut BoundedEmitter<T> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, last_start_tag: Option<&[u8]>) {
        self.last_start_tag = last_start_tag.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {
        self.tokens.text_ends();
    }

    fn emit_error(&mut self, _error: Error) {}

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    fn emit_string(&mut self, text: &[u8]) {
        self.tokens.text(text);
    }

    fn init_start_tag(&mut self) {
        self.tag = Tag::default();
        self.is_end_tag = false;
    }

    fn init_end_tag(&mut self) {
        self.tag = Tag::default();
        self.is_end_tag = true;
    }

    fn init_comment(&mut self) {}

    fn emit_current_tag(&mut self) -> Option<State> {
        self.finish_attribute();
        if self.is_end_tag {
            self.tokens.end_tag(self.tag.name.as_bytes());
            return None;
        }
        self.last_start_tag = self.tag.name.as_bytes().to_vec();
        self.tokens.start_tag(&self.tag);
        match self.tag.name.as_bytes() {
            b"textarea" | b"title" => Some(State::RcData),
            b"plaintext" => Some(State::PlainText),
            b"script" => Some(State::ScriptData),
            b"style" | b"iframe" | b"xmp" | b"noembed" | b"noframes" => Some(State::RawText),
            _ => None,
        }
    }

    fn emit_current_comment(&mut self) {
        self.tokens.text_ends();
    }

    fn emit_current_doctype(&mut self) {}

    fn set_self_closing(&mut self) {
        self.tag.is_self_closing = true;
    }

    fn set_force_quirks(&mut self) {}

    fn push_tag_name(&mut self, name: &[u8]) {
        self.tag.name.push(name);
    }

    fn push_comment(&mut self, _text: &[u8]) {}

    fn push_doctype_name(&mut self, _name: &[u8]) {}

    fn init_doctype(&mut self) {}

    fn init_attribute(&mut self) {
        self.finish_attribute();
    }

    fn push_attribute_name(&mut self, name: &[u8]) {
        self.attribute.push(name);
    }

    fn push_attribute_value(&mut self, value: &[u8]) {
        if self.value.len() + value.len() > MAX_VALUE_BYTES {
            self.value_is_too_long = true;
        } else {
            self.value.extend_from_slice(value);
        }
    }

    fn set_doctype_public_identifier(&mut self, _value: &[u8]) {}

    fn set_doctype_system_identifier(&mut self, _value: &[u8]) {}

    fn push_doctype_public_identifier(&mut self, _value: &[u8]) {}

    fn push_doctype_system_identifier(&mut self, _value: &[u8]) {}

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.is_end_tag && !self.last_start_tag.is_empty() && self.tag.name.as_bytes() == self.last_start_tag
    }
}
