//! Events that wait to be judged until all have come: their JSON leaves memory when they are many, in memory is how they rest on
//! each other.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use tempfile::SpooledTempFile;

use crate::outliers::create_of;

/// So many bytes stay in memory; with more they go into a temporary file, which is gone with the program.
const IN_MEMORY: usize = 8 * 1024 * 1024;

/// Events of one room, each once.
pub(super) struct Spool {
    file: SpooledTempFile,
    end: u64,
    /// Of events that are here or are named by some.
    numbers: HashMap<EventId, u32>,
    events: Vec<Option<Spooled>>,
    /// Those of the state, in the order told.
    state: Vec<u32>,
    /// Which events of the state are needed first.
    is_first: Box<dyn Fn(&Pdu) -> bool + Send>,
}

struct Spooled {
    id: EventId,
    at: u64,
    length: usize,
    /// Those that it names as auth events.
    rests_on: Box<[u32]>,
    in_state: bool,
    first: bool,
}

impl Spool {
    /// `is_first`: which events of the state are needed first.
    pub fn new(is_first: Box<dyn Fn(&Pdu) -> bool + Send>) -> Self {
        Self {
            file: SpooledTempFile::new(IN_MEMORY),
            end: 0,
            numbers: HashMap::new(),
            events: Vec::new(),
            state: Vec::new(),
            is_first,
        }
    }

    /// How many events are here or are named by some.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Takes in events.
    pub fn add(&mut self, pdus: &[Pdu], of_state: bool) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        for pdu in pdus {
            let number = self.number(pdu.event_id());
            let known = self.events.get(number as usize).is_some_and(Option::is_some);
            if !known {
                let json = pdu.json().as_bytes();
                self.file.write_all(json)?;
                let named: Vec<EventId> = pdu.auth_events().iter().cloned().chain(create_of(pdu)).collect();
                let rests_on = named.iter().map(|id| self.number(id)).collect();
                let (id, at, first) = (pdu.event_id().clone(), self.end, (self.is_first)(pdu));
                let spooled = Spooled { id, at, length: json.len(), rests_on, in_state: false, first };
                self.end += json.len() as u64;
                if let Some(place) = self.events.get_mut(number as usize) {
                    *place = Some(spooled);
                }
            }
            if of_state
                && let Some(Some(spooled)) = self.events.get_mut(number as usize)
                && !std::mem::replace(&mut spooled.in_state, true)
            {
                self.state.push(number);
            }
        }
        Ok(())
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

    /// The ids of the state, in the order told, and which are needed first.
    pub fn state_ids(&self) -> impl Iterator<Item = (&EventId, bool)> {
        self.state.iter().filter_map(|number| self.get(*number)).map(|spooled| (&spooled.id, spooled.first))
    }

    fn get(&self, number: u32) -> Option<&Spooled> {
        self.events.get(number as usize)?.as_ref()
    }

    /// The events in an order in which each comes after those of its auth events that are here. What goes in a circle is left
    /// out.
    pub fn auth_events_first(&self) -> Vec<u32> {
        let mut waiting: Vec<u32> = vec![0; self.events.len()];
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.events.len()];
        let mut ordered = Vec::with_capacity(self.events.len());
        for (number, spooled) in (0_u32..).zip(&self.events) {
            let Some(spooled) = spooled else { continue };
            let here = spooled.rests_on.iter().filter(|named| self.get(**named).is_some());
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

    /// Reads events back.
    pub fn read(&mut self, numbers: &[u32], version: RoomVersion) -> io::Result<Vec<Pdu>> {
        let mut pdus = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(Some(spooled)) = self.events.get(*number as usize) else { continue };
            self.file.seek(SeekFrom::Start(spooled.at))?;
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
