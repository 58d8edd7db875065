//! The numbers of user ids, event types and state keys, in memory once they are committed.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::repo::{interned, user_ids};
use plexus_store::{DbError, StateKeyNid, Tx, TypeNid, UserNid};

/// The maximum number of texts of a kind; beyond it, all are dropped.
const MAX_TEXTS: usize = 20_000;

/// Committed numbers. Owned by this process. They never change, so that another process can look them up itself.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    known: Mutex<Texts>,
}

#[derive(Debug, Default)]
struct Texts {
    users: HashMap<Box<str>, UserNid>,
    types: HashMap<Box<str>, TypeNid>,
    state_keys: HashMap<Box<str>, StateKeyNid>,
}

/// The lookups of a transaction. They may be kept once it is committed.
pub(crate) struct Lookups<'a> {
    interner: &'a Interner,
    new: Texts,
}

impl Interner {
    pub(crate) fn lookups(&self) -> Lookups<'_> {
        Lookups { interner: self, new: Texts::default() }
    }

    /// Keeps the lookups of a committed transaction.
    pub(crate) fn keep(&self, new: NewTexts) {
        let mut known = self.known.lock();
        let Texts { users, types, state_keys } = new.0;
        merge(&mut known.users, users);
        merge(&mut known.types, types);
        merge(&mut known.state_keys, state_keys);
    }
}

/// The numbers that a transaction has looked up.
pub(crate) struct NewTexts(Texts);

fn merge(known: &mut HashMap<Box<str>, i64>, new: HashMap<Box<str>, i64>) {
    if known.len() + new.len() > MAX_TEXTS {
        known.clear();
    }
    known.extend(new);
}

impl Lookups<'_> {
    pub(crate) fn user(&mut self, tx: &mut Tx<'_>, user: &UserId) -> Result<UserNid, DbError> {
        let known = |texts: &Texts| texts.users.get(user.as_str()).copied();
        if let Some(nid) = known(&self.new).or_else(|| self.interner.find(known)) {
            return Ok(nid);
        }
        let nid = user_ids::nid(tx, user)?;
        self.new.users.insert(user.as_str().into(), nid);
        Ok(nid)
    }

    pub(crate) fn event_type(&mut self, tx: &mut Tx<'_>, text: &str) -> Result<TypeNid, DbError> {
        let known = |texts: &Texts| texts.types.get(text).copied();
        if let Some(nid) = known(&self.new).or_else(|| self.interner.find(known)) {
            return Ok(nid);
        }
        let nid = interned::type_nid(tx, text)?;
        self.new.types.insert(text.into(), nid);
        Ok(nid)
    }

    pub(crate) fn state_key(&mut self, tx: &mut Tx<'_>, text: &str) -> Result<StateKeyNid, DbError> {
        let known = |texts: &Texts| texts.state_keys.get(text).copied();
        if let Some(nid) = known(&self.new).or_else(|| self.interner.find(known)) {
            return Ok(nid);
        }
        let nid = interned::state_key_nid(tx, text)?;
        self.new.state_keys.insert(text.into(), nid);
        Ok(nid)
    }

    /// Looks up many users and state keys at once.
    pub(crate) fn prepare<'p>(
        &mut self,
        tx: &mut Tx<'_>,
        users: impl Iterator<Item = &'p str>,
        state_keys: impl Iterator<Item = &'p str>,
    ) -> Result<(), DbError> {
        let find = |known: &dyn Fn(&Texts) -> bool| {
            known(&self.new) || self.interner.find(|texts| known(texts).then_some(0)).is_some()
        };
        let users: BTreeSet<&str> = users.filter(|user| !find(&|texts| texts.users.contains_key(*user))).collect();
        let keys: BTreeSet<&str> =
            state_keys.filter(|key| !find(&|texts| texts.state_keys.contains_key(*key))).collect();
        let found = user_ids::nids(tx, &users.into_iter().collect::<Vec<_>>())?;
        self.new.users.extend(found.into_iter().map(|(text, nid)| (text.into(), nid)));
        let found = interned::state_key_nids(tx, &keys.into_iter().collect::<Vec<_>>())?;
        self.new.state_keys.extend(found.into_iter().map(|(text, nid)| (text.into(), nid)));
        Ok(())
    }

    pub(crate) fn into_new(self) -> NewTexts {
        NewTexts(self.new)
    }
}

impl Interner {
    fn find(&self, known: impl Fn(&Texts) -> Option<i64>) -> Option<i64> {
        known(&self.known.lock())
    }
}
