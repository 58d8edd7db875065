//! [Dot-separated property paths](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths), looked up in
//! an event without flattening it.

use super::model::Scalar;
use crate::{
    event::Pdu,
    json::{Object, Value},
};

/// The parts of an event that push rules can match.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// The event id.
    pub event_id: &'a str,
    /// The room id.
    pub room_id: &'a str,
    /// The sender's user id.
    pub sender: &'a str,
    /// The event type.
    pub event_type: &'a str,
    /// The state key of a state event.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: &'a Object,
}

impl<'a> EventView<'a> {
    /// Returns the root of the thread that the event is in.
    pub(super) fn thread_root(&self) -> Option<&'a str> {
        let relation = self.content.get_object("m.relates_to")?;
        relation.get_str("event_id").filter(|_| relation.get_str("rel_type") == Some("m.thread"))
    }

    /// Returns the view of a PDU.
    pub fn new(pdu: &'a Pdu) -> Self {
        Self {
            event_id: pdu.event_id().as_str(),
            room_id: pdu.room_id().as_str(),
            sender: pdu.sender().as_str(),
            event_type: pdu.event_type(),
            state_key: pdu.state_key(),
            content: pdu.content(),
        }
    }
}

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Path {
    EventId,
    RoomId,
    Sender,
    Type,
    StateKey,
    Content(Box<[String]>),
    /// A property that push rules cannot match.
    Nothing,
}

impl Path {
    pub(super) fn parse(key: &str) -> Self {
        let mut segments = split(key);
        if segments.len() == 1 {
            return match key {
                "event_id" => Self::EventId,
                "room_id" => Self::RoomId,
                "sender" => Self::Sender,
                "type" => Self::Type,
                "state_key" => Self::StateKey,
                _ => Self::Nothing,
            };
        }
        if segments.first().is_some_and(|first| first == "content") {
            segments.remove(0);
            return Self::Content(segments.into_boxed_slice());
        }
        Self::Nothing
    }

    /// Whether this is `content.body`, in which patterns match words.
    pub(super) fn is_body(&self) -> bool {
        matches!(self, Self::Content(path) if matches!(&**path, [only] if only == "body"))
    }

    /// Returns the string at this path.
    pub(super) fn text<'a>(&self, event: &EventView<'a>) -> Option<&'a str> {
        match self {
            Self::EventId => Some(event.event_id),
            Self::RoomId => Some(event.room_id),
            Self::Sender => Some(event.sender),
            Self::Type => Some(event.event_type),
            Self::StateKey => event.state_key,
            Self::Content(path) => content_value(event, path)?.as_str(),
            Self::Nothing => None,
        }
    }

    /// Whether the value at this path equals `expected`.
    pub(super) fn is(&self, event: &EventView<'_>, expected: &Scalar) -> bool {
        match (self, expected) {
            (Self::Content(path), expected) => {
                content_value(event, path).is_some_and(|value| scalar_equals(value, expected))
            }
            (path, Scalar::String(expected)) => path.text(event) == Some(expected),
            _ => false,
        }
    }

    /// Returns the array at this path.
    pub(super) fn array<'a>(&self, event: &EventView<'a>) -> Option<&'a [Value]> {
        match self {
            Self::Content(path) => content_value(event, path)?.as_array(),
            _ => None,
        }
    }
}

pub(super) fn scalar_equals(value: &Value, expected: &Scalar) -> bool {
    match expected {
        Scalar::String(expected) => value.as_str() == Some(expected),
        Scalar::Integer(expected) => value.as_i64() == Some(*expected),
        Scalar::Bool(expected) => value.as_bool() == Some(*expected),
        Scalar::Null => value.is_null(),
    }
}

fn content_value<'a>(event: &EventView<'a>, path: &[String]) -> Option<&'a Value> {
    let (last, parents) = path.split_last()?;
    let mut object = event.content;
    for name in parents {
        object = object.get(name)?.as_object()?;
    }
    object.get(last)
}

/// Splits at dots. In a name `\.` is a dot and `\\` a backslash; any other backslash is literal.
fn split(key: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut chars = key.chars().peekable();
    while let Some(c) = chars.next() {
        let literal = match c {
            '.' => {
                segments.push(String::new());
                continue;
            }
            '\\' => chars.next_if(|next| matches!(next, '.' | '\\')).unwrap_or('\\'),
            c => c,
        };
        if let Some(segment) = segments.last_mut() {
            segment.push(literal);
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn escapes() {
        assert_eq!(split("content.body"), ["content", "body"]);
        assert_eq!(split(r"content.m\.mentions.room"), ["content", "m.mentions", "room"]);
        assert_eq!(split(r"a\\.b"), [r"a\", "b"]);
        assert_eq!(split(r"a\x"), [r"a\x"]);
        assert_eq!(split(""), [""]);
    }
}
