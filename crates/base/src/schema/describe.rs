//! Options as data, for the reference page and the sample file.

/// Whether this version implements an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `acts`: implemented.
    Acts,
    /// `later`: known and validated, without effect in this version.
    Later,
    /// `refused`: known and without effect in this version. Running without its effect would lose, hide or expose data,
    /// or weaken access control, so setting it is an error. The text gives the reason and the alternative.
    Refused(&'static str),
    /// `moot`: specific to Synapse; there is nothing to do.
    Moot,
}

/// One option.
#[derive(Debug, Clone)]
pub struct Field {
    /// The option's name in the file.
    pub name: &'static str,
    /// The lines of the doc comment.
    pub doc: &'static [&'static str],
    /// Whether this version implements the option.
    pub status: Status,
    /// The allowed values: `duration`, `list of string`.
    pub kind: String,
    /// The default as YAML; `None` when there is none or when it consists of the members' defaults.
    pub default: Option<String>,
    /// Whether omitting it is an error.
    pub required: bool,
    /// The members if it is an object or a list of objects.
    pub members: Option<fn() -> Vec<Field>>,
}

/// Returns an object as YAML on one line, without null members; `None` when a member cannot be shown.
pub(crate) fn object(members: &[(&str, Option<String>)]) -> Option<String> {
    let mut shown = Vec::new();
    for (name, value) in members {
        match value.as_deref()? {
            "null" => {}
            value => shown.push(format!("{}: {value}", name.trim_start_matches("r#"))),
        }
    }
    Some(format!("{{{}}}", shown.join(", ")))
}

/// Returns `one of "a", "b"` for the allowed words of an option.
pub(crate) fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("one of {}", words.join(", "))
}

/// Returns a word as YAML, in quotes if it would otherwise be read as something else.
pub(crate) fn quoted(text: &str) -> String {
    match text {
        "true" | "false" => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}
