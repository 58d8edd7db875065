//! A large JSON object read as it comes in: its members one by one, and of long arrays the elements one by one, so that
//! it need not be in memory as a whole.

/// What of an object's members is wanted. Others are passed over.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Arrays whose elements are found one by one.
    pub elements_of: &'static [&'static str],
    /// The most bytes of an element; a larger one is passed over.
    pub max_element: usize,
    /// Members that are found as a whole.
    pub members: &'static [&'static str],
    /// The most bytes of such a member.
    pub max_member: usize,
}

/// A part of the object: its name is one of those that are wanted. The bytes are delimited as JSON is, which is all
/// that is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A member's value.
    Member(&'static str, Vec<u8>),
    /// An element of an array.
    Element(&'static str, Vec<u8>),
}

/// Why a text is not such an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PiecesError {
    #[error("not a JSON object: unexpected byte {byte:?} at byte {at}", byte = char::from(*.byte))]
    Syntax { byte: u8, at: u64 },
    #[error("the JSON ends too early")]
    UnexpectedEnd,
    #[error("the member {0:?} is too large")]
    TooLarge(&'static str),
}

/// The longest name of a member that is looked at.
const MAX_NAME: usize = 256;

/// Reads an object. Holds no more than one piece of it.
#[derive(Debug)]
pub struct ObjectReader {
    wanted: Wanted,
    at: At,
    /// What the value that is being read is good for.
    use_of: Use,
    value: Value,
    bytes_read: u64,
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// Behind `{`, or behind the comma of an object.
    Name {
        first: bool,
    },
    /// In a member's name.
    InName,
    Colon,
    BeforeValue,
    /// In a member's value.
    InMember,
    /// Behind `[`, or behind the comma of an array.
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
    /// A reader that has read nothing.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, at: At::Start, use_of: Use::None, value: Value::default(), bytes_read: 0 }
    }

    /// Reads on; hands what it finds to `found`.
    ///
    /// # Errors
    /// When the text is not the object it is said to be. Nothing more can be read then.
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

    /// The text has ended.
    ///
    /// # Errors
    /// When the object has not.
    pub fn finish(self) -> Result<(), PiecesError> {
        if self.at == At::End { Ok(()) } else { Err(PiecesError::UnexpectedEnd) }
    }

    /// A byte outside of names and values; answers how many bytes it has used: 0 when a value begins with it.
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

    /// A name or value has ended.
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

    /// What a member is good for, by its name with the quotes. Names that are wanted are not written with escapes.
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

    /// Takes what of `bytes` belongs to the value: how many bytes, and whether it ends there. Of a value that has not
    /// begun the first byte is no white space.
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

    /// In a string: how many bytes up to its end, its quote included.
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
