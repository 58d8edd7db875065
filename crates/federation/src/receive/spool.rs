//! Keeps the events of a state until all have arrived: ids and auth events in memory, the JSON of many events in a
//! temporary file.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::state_map::StateEntry;
use plexus_rooms::write::outliers::create_event_of;
use plexus_store::EventNid;
use plexus_store::repo::events::Verdict;
use tempfile::SpooledTempFile;

/// The number of a stored event, and the verdict on it.
pub(super) type Stored = (EventNid, Verdict);

/// How many bytes of JSON are kept in memory. More is written to a temporary file, which the system removes when the
/// program ends.
const MAX_BYTES_IN_MEMORY: usize = 8 * 1024 * 1024;

/// Events of one room, each once.
pub(super) struct Spool {
    file: SpooledTempFile,
    end: u64,
    /// The number of each event that was added or is named as an auth event.
    numbers: HashMap<EventId, u32>,
    events: Vec<Option<Spooled>>,
    /// The events of the state, in the order received.
    state: Vec<u32>,
    types: HashMap<Box<str>, Arc<str>>,
    /// Which events of the state are needed first.
    is_first: Box<dyn Fn(&Pdu) -> bool + Send>,
}

struct Spooled {
    id: EventId,
    /// Where its JSON begins in the file, unless the event is stored.
    offset: u64,
    length: usize,
    /// The numbers of its auth events.
    auth_events: Box<[u32]>,
    /// The entry of the state that it is; `None` until it is received as part of the state.
    entry: Option<Entry>,
    first: bool,
    /// Its place, once it is stored.
    stored: Option<Stored>,
}

/// The key of a state event, and the membership of a member event.
struct Entry {
    event_type: Arc<str>,
    state_key: Arc<str>,
    membership: Option<Membership>,
}

impl Spool {
    /// Returns an empty spool. `is_first` says whether an event of the state is needed before the others.
    pub(crate) fn new(is_first: Box<dyn Fn(&Pdu) -> bool + Send>) -> Self {
        Self {
            file: SpooledTempFile::new(MAX_BYTES_IN_MEMORY),
            end: 0,
            numbers: HashMap::new(),
            events: Vec::new(),
            state: Vec::new(),
            types: HashMap::new(),
            is_first,
        }
    }

    /// Returns how many events were added or are named as auth events.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Adds events. Of events that are stored already, only the place is kept.
    pub(crate) fn add(&mut self, events: &[(Pdu, Option<Stored>)], of_state: bool) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        for (pdu, stored) in events {
            let number = self.number(pdu.event_id());
            if self.get(number).is_none() {
                let spooled = self.spooled(pdu, *stored)?;
                if let Some(place) = self.events.get_mut(number as usize) {
                    *place = Some(spooled);
                }
            }
            if of_state && self.get(number).is_some_and(|spooled| spooled.entry.is_none()) {
                let entry = self.entry(pdu);
                if let (Some(entry), Some(Some(spooled))) = (entry, self.events.get_mut(number as usize)) {
                    spooled.entry = Some(entry);
                    self.state.push(number);
                }
            }
        }
        Ok(())
    }

    fn spooled(&mut self, pdu: &Pdu, stored: Option<Stored>) -> io::Result<Spooled> {
        let (id, offset, first) = (pdu.event_id().clone(), self.end, (self.is_first)(pdu));
        if stored.is_some() {
            return Ok(Spooled { id, offset, length: 0, auth_events: Box::default(), entry: None, first, stored });
        }
        let json = pdu.json().as_bytes();
        self.file.write_all(json)?;
        self.end += json.len() as u64;
        let named: Vec<EventId> = pdu.auth_events().iter().cloned().chain(create_event_of(pdu)).collect();
        let auth_events = named.iter().map(|id| self.number(id)).collect();
        Ok(Spooled { id, offset, length: json.len(), auth_events, entry: None, first, stored })
    }

    /// Returns the entry of the state that an event is, if it is a state event.
    fn entry(&mut self, pdu: &Pdu) -> Option<Entry> {
        let state_key = pdu.state_key()?.into();
        let event_type = match self.types.get(pdu.event_type()) {
            Some(event_type) => Arc::clone(event_type),
            None => {
                let event_type: Arc<str> = pdu.event_type().into();
                self.types.insert(pdu.event_type().into(), Arc::clone(&event_type));
                event_type
            }
        };
        let membership = (&*event_type == "m.room.member").then(|| Membership::of(pdu)).flatten();
        Some(Entry { event_type, state_key, membership })
    }

    /// Sets the places of events that have been stored.
    pub(crate) fn set_stored<'a>(&mut self, stored: impl Iterator<Item = (&'a EventId, Stored)>) {
        for (id, stored) in stored {
            let number = self.numbers.get(id).map_or(usize::MAX, |number| *number as usize);
            if let Some(Some(spooled)) = self.events.get_mut(number) {
                spooled.stored = Some(stored);
            }
        }
    }

    fn number(&mut self, id: &EventId) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.numbers.insert(id.clone(), number);
        self.events.push(None);
        number
    }

    /// Returns the stored entries of the state in the order received, without rejected events, and whether each is
    /// needed first. Their events are not in memory.
    pub(crate) fn state(&self) -> impl Iterator<Item = (StateEntry, bool)> {
        self.state.iter().filter_map(|number| self.get(*number)).filter_map(|spooled| {
            let (nid, verdict) = spooled.stored?;
            let Entry { event_type, state_key, membership } = spooled.entry.as_ref()?;
            let entry = StateEntry::stored(Arc::clone(event_type), Arc::clone(state_key), nid, *membership);
            (verdict != Verdict::Rejected).then_some((entry, spooled.first))
        })
    }

    fn get(&self, number: u32) -> Option<&Spooled> {
        self.events.get(number as usize)?.as_ref()
    }

    /// Returns the events that are not stored, each after those of its auth events that are here. Events whose auth
    /// events form a cycle are left out.
    pub(crate) fn auth_events_first(&self) -> Vec<u32> {
        let waits = |number: u32| self.get(number).is_some_and(|spooled| spooled.stored.is_none());
        let mut waiting: Vec<u32> = vec![0; self.events.len()];
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.events.len()];
        let mut ordered = Vec::with_capacity(self.events.len());
        for (number, spooled) in (0_u32..).zip(&self.events) {
            let Some(spooled) = spooled.as_ref().filter(|spooled| spooled.stored.is_none()) else { continue };
            let here = spooled.auth_events.iter().filter(|named| waits(**named));
            let mut count = 0;
            for named in here {
                if let Some(after) = after.get_mut(*named as usize) {
                    after.push(number);
                    count += 1;
                }
            }
            match count {
                0 => ordered.push(number),
                count => waiting.iter_mut().skip(number as usize).take(1).for_each(|waiting| *waiting = count),
            }
        }
        let mut next = 0;
        while let Some(number) = ordered.get(next).copied() {
            next += 1;
            for follower in after.get_mut(number as usize).map(std::mem::take).unwrap_or_default() {
                let Some(count) = waiting.get_mut(follower as usize) else { continue };
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ordered.push(follower);
                }
            }
        }
        ordered
    }

    /// Reads events that were added.
    pub(crate) fn read(&mut self, numbers: &[u32], version: RoomVersion) -> io::Result<Vec<Pdu>> {
        let mut pdus = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(Some(spooled)) = self.events.get(*number as usize) else { continue };
            self.file.seek(SeekFrom::Start(spooled.offset))?;
            let mut json = vec![0; spooled.length];
            self.file.read_exact(&mut json)?;
            let json = String::from_utf8(json).map_err(io::Error::other)?;
            pdus.push(Pdu::from_stored(&json, spooled.id.clone(), version).map_err(io::Error::other)?);
        }
        Ok(pdus)
    }
}

#[cfg(test)]
mod tests;
