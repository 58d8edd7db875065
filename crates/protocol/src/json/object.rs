//! Objects: sorted vectors, which is the order canonical JSON wants and the smallest thing that finds a key quickly.

use super::{NotCanonical, ParseError, Value, parse, write};

/// A JSON object. Keys are unique and in canonical order (by code point, which is byte order in UTF-8).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Vec<(Box<str>, Value)>);

impl Object {
    /// An empty object.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Parses text that holds one JSON object. Of duplicate keys the last wins, as in Python.
    pub fn parse(json: &str) -> Result<Self, ParseError> {
        match parse::value(json)? {
            Value::Object(object) => Ok(object),
            _ => Err(ParseError::NotAnObject),
        }
    }

    /// As [`Object::parse`]; and whether the text is known to be what [`Object::to_json`] would write.
    pub(crate) fn parse_with_form(json: &str) -> Result<(Self, bool), ParseError> {
        match parse::value_and_form(json)? {
            (Value::Object(object), canonical) => Ok((object, canonical)),
            _ => Err(ParseError::NotAnObject),
        }
    }

    /// Checks that canonical JSON of room versions 6 and later can hold all numbers.
    pub(crate) fn check_canonical(&self) -> Result<(), NotCanonical> {
        write::check_object(self)
    }

    /// Entries in any order, the last of duplicate keys winning; and whether they were in canonical order.
    pub(super) fn from_entries(mut entries: Vec<(Box<str>, Value)>) -> (Self, bool) {
        let sorted = entries.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if !sorted {
            // Stable, so that of equal keys the last written comes last.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|later, earlier| {
                let duplicate = later.0 == earlier.0;
                if duplicate {
                    std::mem::swap(later, earlier);
                }
                duplicate
            });
        }
        (Self(entries), sorted)
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(self.find(key).ok()?).map(|(_, value)| value)
    }

    /// The value under `key`.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// The string under `key`, if it is one.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The integer under `key`, if it is one.
    pub fn get_i64(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    /// The truth value under `key`, if it is one.
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The object under `key`, if it is one.
    pub fn get_object(&self, key: &str) -> Option<&Object> {
        self.get(key)?.as_object()
    }

    /// The array under `key`, if it is one.
    pub fn get_array(&self, key: &str) -> Option<&[Value]> {
        self.get(key)?.as_array()
    }

    /// Whether there is a `key`, of whatever value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets `key`, answering the value it had.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes `key` out, answering its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps the entries for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    /// Keys and values in canonical order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The keys in canonical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Canonical JSON in the form room versions 1 to 5 allowed: any number, written as servers of the time did.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write::object(self, &mut out);
        out
    }

    /// [`Object::to_json`] of the object without some of its keys.
    pub fn to_json_without(&self, keys: &[&str]) -> String {
        let mut out = String::new();
        write::members(self.iter().filter(|(key, _)| !keys.contains(key)), &mut out);
        out
    }

    /// Canonical JSON as the specification defines it; an error if a number has no such form.
    pub fn to_canonical_json(&self) -> Result<String, NotCanonical> {
        write::check_object(self)?;
        Ok(self.to_json())
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key))
    }
}

impl IntoIterator for Object {
    type Item = (Box<str>, Value);
    type IntoIter = std::vec::IntoIter<(Box<str>, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Into<Box<str>>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect()).0
    }
}

impl<K: Into<Box<str>>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Object {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}
