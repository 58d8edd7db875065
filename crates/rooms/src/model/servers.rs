//! The servers in a room: those of its joined members.

use std::sync::Arc;

use crate::model::sorted::SortedSet;

/// A server and how many of its users are joined.
#[derive(Clone, Debug)]
struct Server {
    name: Arc<str>,
    joined: u64,
}

/// Server names, each with the number of its joined users. Clones share structure.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    servers: SortedSet<Server>,
}

impl Servers {
    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.servers.iter().map(|server| &*server.name)
    }

    /// Whether a user of this server is joined.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.joined(name) > 0
    }

    /// Returns the number of joined users of a server.
    #[must_use]
    pub fn joined(&self, name: &str) -> u64 {
        self.servers.find(|server| (*server.name).cmp(name)).map_or(0, |server| server.joined)
    }

    /// Returns the number of servers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether nobody is joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Adds a joined user of a server.
    pub fn add(&mut self, name: &str) {
        let joined = self.joined(name) + 1;
        self.servers.insert(Server { name: name.into(), joined }, |server| (*server.name).cmp(name));
    }

    /// Adds a server that another server says is in the room, while its members are not known.
    pub(crate) fn add_claimed(&mut self, name: &str) {
        if !self.contains(name) {
            self.add(name);
        }
    }

    /// Removes a joined user of a server.
    pub fn remove(&mut self, name: &str) {
        match self.joined(name) {
            0 => {}
            1 => _ = self.servers.remove(|server| (*server.name).cmp(name)),
            joined => {
                let less = Server { name: name.into(), joined: joined - 1 };
                self.servers.insert(less, |server| (*server.name).cmp(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_in_the_room_as_long_as_one_of_its_users() {
        let mut servers = Servers::default();
        for name in ["b", "a", "b"] {
            servers.add(name);
        }
        assert!(servers.names().eq(["a", "b"]));
        servers.remove("b");
        assert!(servers.contains("b"));
        servers.remove("b");
        servers.remove("b");
        assert!(servers.names().eq(["a"]));
        assert_eq!(servers.len(), 1);
    }
}
