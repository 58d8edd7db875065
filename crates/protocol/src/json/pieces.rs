//! Reading a large JSON object as it arrives: single members, and single elements of long arrays, so that the whole
//! object is never in memory.

/// Selects the members to read. Others are skipped.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Arrays whose elements are returned one by one.
    pub elements_of: &'static [&'static str],
    /// The largest element in bytes; larger ones are skipped.
    pub max_element: usize,
    /// Members that are returned whole.
    pub members: &'static [&'static str],
    /// The largest such member in bytes.
    pub max_member: usize,
}

/// A selected part of the object. Its bytes are delimited like JSON but not otherwise checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A member's value.
    Member(&'static str, Vec<u8>),
    /// An element of an array.
    Element(&'static str, Vec<u8>),
}

/// Why a text is not a readable object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PiecesError {
    /// The text does not follow the grammar.
    #[error("not a JSON object: unexpected byte {byte:?} at byte {at}", byte = char::from(*.byte))]
    Syntax {
        /// The unexpected byte.
        byte: u8,
        /// Its offset in bytes.
        at: u64,
    },
    /// The text ends before the object does.
    #[error("the JSON ends too early")]
    UnexpectedEnd,
    /// A member to be returned whole is larger than allowed.
    #[error("the member {0:?} is too large")]
    TooLarge(&'static str),
}

/// The longest member name that is compared with the selected ones, in bytes.
const MAX_NAME: usize = 256;

/// Reads an object and holds at most one piece of it in memory.
#[derive(Debug)]
pub struct ObjectReader {
    wanted: Wanted,
    at: At,
    /// How the value being read is used.
    use_of: Use,
    value: Value,
    bytes_read: u64,
}

/// The reader's position in the syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// After `{`, or after a comma of an object.
    Name {
        first: bool,
    },
    /// In a member's name.
    InName,
    Colon,
    BeforeValue,
    /// In a member's value.
    InMember,
    /// After `[`, or after a comma of an array.
    Element {
        first: bool,
    },
    InElement,
    BehindElement,
    BehindMember,
    End,
}

#[derive(Debug, Clone, Copy)]
enum Use {
    None,
    Member(&'static str),
    ElementsOf(&'static str),
}

/// A value that is being delimited.
#[derive(Debug, Default)]
struct Value {
    kept: Vec<u8>,
    most: usize,
    too_large: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Not a string, object or array: it ends where something else begins.
    bare: bool,
}

impl ObjectReader {
    /// Creates a reader at the start of the text.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, at: At::Start, use_of: Use::None, value: Value::default(), bytes_read: 0 }
    }

    /// Reads the next bytes and passes the pieces found in them to `found`.
    ///
    /// # Errors
    /// When the text is not a readable object. Nothing can be read after an error.
    pub fn read(&mut self, chunk: &[u8], mut found: impl FnMut(Piece)) -> Result<(), PiecesError> {
        let mut rest = chunk;
        while let Some((&byte, behind)) = rest.split_first() {
            let read = match self.at {
                At::InName | At::InMember | At::InElement => {
                    let (read, ended) = self.value.read(rest);
                    if ended {
                        self.ended(&mut found)?;
                    }
                    read
                }
                _ if byte.is_ascii_whitespace() => 1,
                _ => self.between(byte)?,
            };
            self.bytes_read += read as u64;
            rest = rest.get(read..).unwrap_or(behind);
        }
        Ok(())
    }

    /// Whether the object has been read to its end.
    pub fn has_ended(&self) -> bool {
        self.at == At::End
    }

    /// Ends reading.
    ///
    /// # Errors
    /// When the object is not complete.
    pub fn finish(self) -> Result<(), PiecesError> {
        if self.at == At::End { Ok(()) } else { Err(PiecesError::UnexpectedEnd) }
    }

    /// Handles a byte outside of names and values. Returns how many bytes were used: 0 when a value begins here.
    fn between(&mut self, byte: u8) -> Result<usize, PiecesError> {
        let begins_value = !matches!(byte, b',' | b':' | b']' | b'}');
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::Name { first: true },
            (At::Name { .. }, b'"') => {
                self.value = Value::up_to(MAX_NAME);
                self.at = At::InName;
                return Ok(0);
            }
            (At::Name { first: true }, b'}') => At::End,
            (At::Colon, b':') => At::BeforeValue,
            (At::BeforeValue, b'[') if matches!(self.use_of, Use::ElementsOf(_)) => At::Element { first: true },
            (At::BeforeValue, _) if begins_value && !matches!(self.use_of, Use::ElementsOf(_)) => {
                let most = if matches!(self.use_of, Use::None) { 0 } else { self.wanted.max_member };
                self.value = Value::up_to(most);
                self.at = At::InMember;
                return Ok(0);
            }
            (At::Element { first: true }, b']') => At::BehindMember,
            (At::Element { .. }, _) if begins_value => {
                self.value = Value::up_to(self.wanted.max_element);
                self.at = At::InElement;
                return Ok(0);
            }
            (At::BehindElement, b',') => At::Element { first: false },
            (At::BehindElement, b']') => At::BehindMember,
            (At::BehindMember, b',') => At::Name { first: false },
            (At::BehindMember, b'}') => At::End,
            _ => return Err(PiecesError::Syntax { byte, at: self.bytes_read }),
        };
        Ok(1)
    }

    /// Handles the end of a name or value.
    fn ended(&mut self, found: &mut impl FnMut(Piece)) -> Result<(), PiecesError> {
        let Value { kept, too_large, .. } = std::mem::take(&mut self.value);
        self.at = match self.at {
            At::InName => {
                let name = if too_large { Vec::new() } else { kept };
                self.use_of = self.use_of(&name);
                At::Colon
            }
            At::InElement => {
                if let Use::ElementsOf(name) = self.use_of
                    && !too_large
                {
                    found(Piece::Element(name, kept));
                }
                At::BehindElement
            }
            _ => {
                if let Use::Member(name) = self.use_of {
                    if too_large {
                        return Err(PiecesError::TooLarge(name));
                    }
                    found(Piece::Member(name, kept));
                }
                At::BehindMember
            }
        };
        Ok(())
    }

    /// Returns how a member is used, by its quoted name. Selected names need no escapes.
    fn use_of(&self, name: &[u8]) -> Use {
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or_default();
        let find = |names: &'static [&'static str]| names.iter().copied().find(|wanted| wanted.as_bytes() == name);
        match (find(self.wanted.elements_of), find(self.wanted.members)) {
            (Some(name), _) => Use::ElementsOf(name),
            (None, Some(name)) => Use::Member(name),
            (None, None) => Use::None,
        }
    }
}

impl Value {
    fn up_to(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Reads the part of `bytes` that belongs to the value. Returns its length and whether the value ends there. The
    /// first byte of a value is not white space.
    fn read(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.in_string {
                at += self.read_string(bytes.get(at..).unwrap_or_default());
                if !self.in_string && self.depth == 0 {
                    return self.take(bytes, at, true);
                }
                continue;
            }
            if self.bare && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}')) {
                return self.take(bytes, at, true);
            }
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return self.take(bytes, at, true);
                    }
                }
                _ => self.bare |= self.depth == 0,
            }
        }
        self.take(bytes, at, false)
    }

    /// Inside a string: returns the number of bytes up to its end, including its quote.
    fn read_string(&mut self, bytes: &[u8]) -> usize {
        if std::mem::take(&mut self.escaped) {
            return 1;
        }
        match bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            None => bytes.len(),
            Some(at) => {
                match bytes.get(at) {
                    Some(b'\\') => self.escaped = true,
                    _ => self.in_string = false,
                }
                at + 1
            }
        }
    }

    fn take(&mut self, bytes: &[u8], upto: usize, ended: bool) -> (usize, bool) {
        if self.kept.len() + upto > self.most {
            self.too_large = true;
            self.kept = Vec::new();
        } else if !self.too_large {
            self.kept.extend_from_slice(bytes.get(..upto).unwrap_or_default());
        }
        (upto, ended)
    }
}

#[cfg(test)]
mod tests;
