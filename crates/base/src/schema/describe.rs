//! Options as data, for the reference page and the sample file.

/// Whether an option does what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `acts`: setting it has its effect.
    Acts,
    /// `later`: known and checked, without effect in this version.
    Later,
    /// `refused`: known and without effect in this version. Running without its effect would lose, hide or expose
    /// data, or weaken access control, so that setting it is an error. The text says why, and the way out.
    Refused(&'static str),
    /// `moot`: about something that only Synapse has; there is nothing to do.
    Moot,
}

/// One option.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: &'static str,
    /// The lines of the doc comment.
    pub doc: &'static [&'static str],
    pub status: Status,
    /// What may be written: `duration`, `list of string`.
    pub kind: String,
    /// The default as YAML; `None` when there is none or when it is the sum of the members' defaults.
    pub default: Option<String>,
    /// True when leaving it out is an error.
    pub required: bool,
    /// The members, when it is an object or a list of objects.
    pub members: Option<fn() -> Vec<Field>>,
}

/// An object as YAML on one line, without the members that are null; `None` when one of them cannot be shown.
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

/// `one of "a", "b"`, for the allowed words of an option.
pub(crate) fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("one of {}", words.join(", "))
}

/// A word as YAML: quoted unless it is read as the same word without.
pub(crate) fn quoted(text: &str) -> String {
    match text {
        "true" | "false" => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}
