//! Building a tree from parser events.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Entry, Node, Place, Scalar, Value, YamlError};

/// The most nodes of a document, counting an alias as the nodes it repeats.
pub const MAX_NODES: usize = 200_000;
/// The deepest nesting of a document, including aliases.
pub const MAX_DEPTH: usize = 64;

/// Parses one YAML document; an empty one is null.
///
/// # Errors
/// When the text is not YAML, uses a tag other than YAML's own, or exceeds [`MAX_NODES`] or [`MAX_DEPTH`]; with the
/// line.
pub fn parse(text: &str, file: u16) -> Result<Node, YamlError> {
    let mut builder = Builder::new(file);
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|error| YamlError {
            line: line(error.marker()),
            message: format!("not valid YAML: {}", error.info()),
        })?;
        builder.event(event, &span.start)?;
    }
    Ok(builder.root.unwrap_or(Node { place: Place { file, line: 0 }, value: Value::Scalar(Scalar::Null) }))
}

struct Builder {
    file: u16,
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
}

/// A sequence or mapping whose end has not been reached.
struct Open {
    anchor: usize,
    place: Place,
    nodes_before: usize,
    height: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<Key> },
}

struct Key {
    text: String,
    place: Place,
    merges: bool,
}

/// A node that an alias may repeat.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

impl Builder {
    fn new(file: u16) -> Self {
        Self { file, root: None, open: Vec::new(), anchors: HashMap::new(), nodes: 0 }
    }

    fn event(&mut self, event: Event<'_>, at: &Marker) -> Result<(), YamlError> {
        let place = Place { file: self.file, line: line(at) };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let scalar = resolve(text, plain, tag.as_deref(), place)?;
                let merges = plain && matches!(&scalar, Scalar::String(text) if text == "<<");
                let node = Node { place, value: Value::Scalar(scalar) };
                self.count(1, 1, place)?;
                self.remember(anchor, &node, 1, 1);
                self.add(node, 1, merges)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(Content::Sequence(Vec::new()), anchor, tag.as_deref(), place)
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Mapping { entries: Vec::new(), key: None };
                self.start(content, anchor, tag.as_deref(), place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(error(place, "a second document starts here; only one is read"))
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, content: Content, anchor: usize, tag: Option<&Tag>, place: Place) -> Result<(), YamlError> {
        check_tag(tag, place)?;
        self.count(1, 1, place)?;
        self.open.push(Open { anchor, place, nodes_before: self.nodes - 1, height: 1, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, .. } => Value::Mapping(entries),
        };
        let node = Node { place: open.place, value };
        self.remember(open.anchor, &node, self.nodes - open.nodes_before, open.height);
        self.add(node, open.height, false)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), YamlError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(error(place, "this alias stands inside what it names"));
        };
        let (nodes, height) = (anchored.nodes, anchored.height);
        self.count(nodes, height, place)?;
        let node = self.anchors[&anchor].node.clone();
        self.add(node, height, false)
    }

    /// Refuses nodes that would exceed the limits, before they are built.
    fn count(&mut self, nodes: usize, height: usize, place: Place) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values, counting aliases");
            return Err(error(place, &message));
        }
        if self.open.len() + height > MAX_DEPTH {
            let message = format!("the file nests deeper than {MAX_DEPTH} levels");
            return Err(error(place, &message));
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize, height: usize) {
        if anchor != 0 {
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, nodes, height });
        }
    }

    fn add(&mut self, node: Node, height: usize, merges: bool) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.height = open.height.max(height + 1);
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key } => match key.take() {
                None => *key = Some(as_key(&node, merges)?),
                Some(key) if key.merges => merge(entries, &node)?,
                Some(key) => entries.push(Entry { key: key.text, place: key.place, node }),
            },
        }
        Ok(())
    }
}

fn line(at: &Marker) -> u32 {
    u32::try_from(at.line()).unwrap_or(u32::MAX)
}

fn error(place: Place, message: &str) -> YamlError {
    YamlError { line: place.line, message: message.to_owned() }
}

fn as_key(node: &Node, merges: bool) -> Result<Key, YamlError> {
    let text = match &node.value {
        Value::Scalar(Scalar::Null) => "null",
        Value::Scalar(Scalar::Bool { text, .. }) => text,
        Value::Scalar(scalar) => scalar.text().unwrap_or_default(),
        Value::Sequence(_) | Value::Mapping(_) => {
            return Err(error(node.place, "a list or object cannot be the name of an option"));
        }
    };
    Ok(Key { text: text.to_owned(), place: node.place, merges })
}

/// Merges `<<: *defaults`: entries of the mapping itself win over merged ones, in any order.
fn merge(entries: &mut Vec<Entry>, source: &Node) -> Result<(), YamlError> {
    match &source.value {
        Value::Mapping(merged) => {
            // Inserted in front: later entries of the same name win.
            entries.splice(0..0, merged.iter().cloned());
            Ok(())
        }
        Value::Sequence(items) => items.iter().try_for_each(|item| merge(entries, item)),
        Value::Scalar(_) => Err(error(source.place, "only an object can be merged with \"<<\"")),
    }
}

fn check_tag(tag: Option<&Tag>, place: Place) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            let message = format!("the tag {} is not known", tag.original());
            Err(error(place, &message))
        }
        _ => Ok(()),
    }
}

fn resolve(text: Cow<'_, str>, plain: bool, tag: Option<&Tag>, place: Place) -> Result<Scalar, YamlError> {
    check_tag(tag, place)?;
    match tag.and_then(Tag::core_suffix) {
        Some("str") => Ok(Scalar::String(text.into_owned())),
        Some(_) => Ok(Scalar::plain(&text)),
        None if plain => Ok(Scalar::plain(&text)),
        None => Ok(Scalar::String(text.into_owned())),
    }
}
