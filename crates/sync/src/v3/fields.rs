//! `event_fields`: only some members of each event.

use serde_json::{Map, Value};

/// Keeps only the named members of an event; a dot separates levels, `\.` is a dot within a name.
pub(super) fn select(event: &str, fields: &[String]) -> String {
    let Ok(Value::Object(event)) = serde_json::from_str(event) else { return event.to_owned() };
    let mut kept = Map::new();
    for field in fields {
        copy(&event, &mut kept, &split(field));
    }
    Value::Object(kept).to_string()
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(value) = from.get(name) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), value.clone());
    } else if let Value::Object(inner) = value {
        let below = to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(below) = below {
            copy(inner, below, rest);
        }
    }
}

fn split(field: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = field.chars();
    while let Some(character) = chars.next() {
        match character {
            '.' => parts.push(String::new()),
            '\\' => parts.last_mut().into_iter().for_each(|part| part.extend(chars.next())),
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_members_are_kept() {
        let event = r#"{"type":"m.x","content":{"body":"hi","m.y":{"z":1,"w":2},"n":3},"sender":"@a:x"}"#;
        let fields = ["type", "content.body", r"content.m\.y.z", "content.absent", "nothing"].map(str::to_owned);
        let kept: Value = serde_json::from_str(&select(event, &fields)).expect("JSON");
        assert_eq!(kept, serde_json::json!({"type": "m.x", "content": {"body": "hi", "m.y": {"z": 1}}}));
    }
}
