//! Application services, as their registration files declare them (application service API, "Registration").
//!
//! - `registration`: one service, read from its file
//! - `namespaces`: which services claim a user, an alias or a room, found without asking each service

mod namespaces;
mod registration;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

pub use registration::{AppService, Namespace};

use crate::config::Problem;
use namespaces::NamespaceIndex;
use registration::problem;

/// The largest registration file, in bytes: namespaces are regular expressions, not lists of users.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The services of one reading of the registration files.
#[derive(Debug, Default)]
pub struct Registrations {
    services: Vec<Arc<AppService>>,
    by_as_token: HashMap<String, usize>,
    /// Several services may have the same user.
    by_sender: HashMap<String, Vec<usize>>,
    users: NamespaceIndex,
    aliases: NamespaceIndex,
    rooms: NamespaceIndex,
}

impl Registrations {
    /// Reads registration files.
    ///
    /// # Errors
    /// All mistakes, with their files and lines.
    pub fn load(files: &[PathBuf], server_name: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut services: Vec<(AppService, &Path)> = Vec::new();
        for file in files {
            match read(file).and_then(|text| registration::parse(&text, file, server_name)) {
                Ok(service) => {
                    let other = |same: fn(&AppService, &AppService) -> bool| {
                        services.iter().find(|(other, _)| same(other, &service)).map(|(_, file)| file.display())
                    };
                    if let Some(other) = other(|a, b| a.id == b.id) {
                        let message = format!("{} is the id of the service in {other}, too", service.id);
                        problems.push(problem(file, service.id_line, "id", message));
                    }
                    if let Some(other) = other(|a, b| a.as_token == b.as_token) {
                        let message = format!("the service in {other} has the same token");
                        problems.push(problem(file, service.as_token_line, "as_token", message));
                    }
                    services.push((service, file));
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let services = services.into_iter().map(|(service, _)| Arc::new(service)).collect();
        Self::new(services).map_err(|message| {
            vec![Problem { file: None, line: 0, option: "app_service_config_files".to_owned(), message }]
        })
    }

    fn new(services: Vec<Arc<AppService>>) -> Result<Self, String> {
        let index = |of: fn(&AppService) -> &[Namespace]| {
            NamespaceIndex::new(services.iter().map(|service| of(service)))
                .map_err(|error| format!("the namespaces of all application services are too much together: {error}"))
        };
        let (users, aliases, rooms) = (index(|s| &s.users)?, index(|s| &s.aliases)?, index(|s| &s.rooms)?);
        let mut by_as_token = HashMap::new();
        let mut by_sender: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, service) in services.iter().enumerate() {
            by_as_token.insert(service.as_token.expose().to_owned(), number);
            by_sender.entry(service.sender.clone()).or_default().push(number);
        }
        Ok(Self { services, by_as_token, by_sender, users, aliases, rooms })
    }

    /// Returns all services. Their numbers are their places in this list.
    pub fn all(&self) -> &[Arc<AppService>] {
        &self.services
    }

    /// Returns the service with this `as_token`.
    pub fn by_as_token(&self, token: &str) -> Option<&Arc<AppService>> {
        self.by_as_token.get(token).and_then(|number| self.services.get(*number))
    }

    /// Returns the service with this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<AppService>> {
        self.services.iter().find(|service| service.id == id)
    }

    /// Returns the numbers of the services that have the user in their namespace, or whose own user it is.
    pub fn of_user(&self, user_id: &str) -> Vec<usize> {
        let mut services = self.users.of(user_id);
        services.extend(self.by_sender.get(user_id).into_iter().flatten());
        services.sort_unstable();
        services.dedup();
        services
    }

    /// Returns the numbers of the services that have the alias in their namespace.
    pub fn of_alias(&self, alias: &str) -> Vec<usize> {
        self.aliases.of(alias)
    }

    /// Returns the numbers of the services that have the room id in their namespace.
    pub fn of_room(&self, room_id: &str) -> Vec<usize> {
        self.rooms.of(room_id)
    }

    /// Whether any service has aliases in its namespace.
    pub fn claims_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Whether only another service than `except` may register or use the user.
    pub fn is_user_reserved(&self, user_id: &str, except: Option<&str>) -> bool {
        let claimed = self.of_user(user_id);
        self.reserved(&claimed, except, |service| service.is_exclusive_user(user_id))
    }

    /// Whether only another service than `except` may create or delete the alias.
    pub fn is_alias_reserved(&self, alias: &str, except: Option<&str>) -> bool {
        let claimed = self.aliases.of(alias);
        self.reserved(&claimed, except, |service| service.is_exclusive_alias(alias))
    }

    fn reserved(&self, claimed: &[usize], except: Option<&str>, exclusive: impl Fn(&AppService) -> bool) -> bool {
        let claiming = claimed.iter().filter_map(|number| self.services.get(*number));
        claiming.filter(|service| Some(service.id.as_str()) != except).any(|service| exclusive(service))
    }
}

/// The application services of the server. Owned by this process; another one reads the same files.
#[derive(Debug, Default)]
pub struct AppServices {
    /// Whether there are any, so that a server without application services takes no lock.
    any: AtomicBool,
    current: RwLock<Arc<Registrations>>,
}

impl AppServices {
    /// Creates the list.
    #[must_use]
    pub fn new(registrations: Registrations) -> Self {
        let services = Self::default();
        services.replace(registrations);
        services
    }

    /// Replaces the services, after their files were read again.
    pub fn replace(&self, registrations: Registrations) {
        let any = !registrations.services.is_empty();
        *self.current.write() = Arc::new(registrations);
        self.any.store(any, Ordering::Release);
    }

    /// Returns the services; `None` if there are none.
    pub fn current(&self) -> Option<Arc<Registrations>> {
        self.any.load(Ordering::Acquire).then(|| Arc::clone(&self.current.read()))
    }

    /// Whether only another service than `except` may register or use the user.
    pub fn is_user_reserved(&self, user_id: &str, except: Option<&str>) -> bool {
        self.current().is_some_and(|services| services.is_user_reserved(user_id, except))
    }

    /// Whether only another service than `except` may create or delete the alias.
    pub fn is_alias_reserved(&self, alias: &str, except: Option<&str>) -> bool {
        self.current().is_some_and(|services| services.is_alias_reserved(alias, except))
    }
}

fn read(file: &Path) -> Result<String, Vec<Problem>> {
    let cannot = |error: std::io::Error| vec![problem(file, 0, "", format!("cannot be read: {error}"))];
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MAX_FILE_BYTES {
        return Err(vec![problem(file, 0, "", format!("holds {size} bytes; allowed are {MAX_FILE_BYTES}"))]);
    }
    std::fs::read_to_string(file).map_err(cannot)
}

#[cfg(test)]
mod tests;
