//! The checks at start beyond those of single options: files, keys, folders and ports. `plexus serve` and `plexus
//! config check` both use them, so that they refuse the same. Nothing is written or created.

mod places;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use plexus_base::Registrations;
use plexus_base::config::{self, Config, Listener, ListenerType, Loaded, Options, Problem, Report};
use plexus_base::forward_proxy::ProxyVariables;
use plexus_base::telemetry::{Destination, LogConfig};
use plexus_net::TlsSettings;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::{RoomAlias, ServerName, UserId};
use plexus_store::OpenError;
use plexus_store::db::MigrateError;
use plexus_store::db::OptionsError;
use serde_json::Map;

use crate::wire::{self, settings};
use crate::{key_file, listen, tls};
pub use places::file_problem;
use places::{folder_problem, socket_problem};

/// Reads a configuration and checks everything that it names. The report lists all findings; if there are errors, the
/// server does not start. The configuration then names the forward proxies of the environment, too.
pub fn examine(paths: &[PathBuf], options: Options) -> (Report, Option<Loaded>) {
    match config::load_with_errors(paths, options) {
        Ok(mut loaded) => {
            loaded.report.errors.extend(problems(&loaded));
            let environment = ProxyVariables::of(std::env::vars_os());
            if let Err(error) = loaded.config.server.complete_proxies(&environment) {
                let (file, line, option) = (None, 0, String::new());
                loaded.report.errors.push(Problem { file, line, option, message: error.to_string() });
            }
            (loaded.report.clone(), Some(loaded))
        }
        Err(report) => (report, None),
    }
}

/// Returns the problems because of which the server does not start, besides the errors in the report of `loaded`.
pub fn problems(loaded: &Loaded) -> Vec<Problem> {
    let mut preflight = Preflight { loaded, config: &loaded.config, found: Vec::new() };
    preflight.names();
    preflight.keys();
    preflight.listeners();
    preflight.certificates();
    preflight.database();
    preflight.folders();
    preflight.log_config();
    preflight.app_services();
    preflight.mail();
    // An invalid option has its default value, which nobody asked for.
    let outermost = |option: &str| option.split(['.', '[']).next().unwrap_or_default().to_owned();
    let wrong: Vec<String> = loaded.report.errors.iter().map(|error| outermost(&error.option)).collect();
    let mut found = preflight.found;
    found.retain(|problem| problem.option.is_empty() || !wrong.contains(&outermost(&problem.option)));
    found
}

/// Returns the problems of the listeners because of which the server would not start.
pub fn listener_problems(loaded: &Loaded) -> Vec<Problem> {
    let mut preflight = Preflight { loaded, config: &loaded.config, found: Vec::new() };
    preflight.listeners();
    preflight.found
}

/// Returns the problem of the database, which is opened and only read, with which the server would not start. A
/// database that does not exist yet, or is older than this program, is no problem.
pub fn database_problem(loaded: &Loaded) -> Option<Problem> {
    let options = wire::database_options(&loaded.config).ok()?;
    let error = plexus_store::maintenance::require_current(&options).err()?;
    if let OpenError::Migrate { error, .. } = &error
        && matches!(**error, MigrateError::Empty | MigrateError::TooOld { .. })
    {
        return None;
    }
    let member = matches!(options, plexus_store::Options::Sqlite(_)).then_some("database");
    Some(loaded.written.problem(&loaded.config.database.option(member), error.to_string()))
}

struct Preflight<'a> {
    loaded: &'a Loaded,
    config: &'a Config,
    found: Vec<Problem>,
}

impl Preflight<'_> {
    fn add(&mut self, option: &str, message: impl ToString) {
        self.found.push(self.loaded.written.problem(option, message.to_string()));
    }

    /// Adds a problem with `option`, if there is one.
    fn add_if(&mut self, option: &str, message: Option<String>) {
        message.into_iter().for_each(|message| self.add(option, message));
    }

    fn names(&mut self) {
        let Ok(server_name) = ServerName::try_from(self.config.server.server_name.as_str()) else {
            return self.add("server_name", "not the name of a server");
        };
        let registration = &self.config.registration;
        for (index, alias) in registration.auto_join_rooms.iter().enumerate() {
            if let Err(error) = alias.parse::<RoomAlias>() {
                self.add(&format!("auto_join_rooms[{index}]"), error);
            }
        }
        if let Some(Err(error)) =
            registration.auto_join_mxid_localpart.as_deref().map(|localpart| UserId::new(localpart, &server_name))
        {
            self.add("auto_join_mxid_localpart", error);
        }
    }

    fn keys(&mut self) {
        if let Err(error) = key_file::of(self.config) {
            self.add(key_file::option(self.config), error);
        }
        for (key_id, old) in &self.config.keys.old_signing_keys {
            if let Err(error) = PublicKey::parse(&old.key) {
                self.add(&format!("old_signing_keys.{key_id}"), format!("cannot be used: {error}"));
            }
        }
        for (index, server) in self.config.keys.trusted_key_servers.iter().enumerate() {
            if let Err(problem) = settings::trusted_key_server(self.config, server) {
                self.add(&format!("trusted_key_servers[{index}]"), problem);
            }
        }
        let secret = &self.config.registration;
        if let (Some(path), None) = (&secret.registration_shared_secret_path, &secret.registration_shared_secret) {
            self.add_if("registration_shared_secret_path", file_problem(path));
        }
    }

    fn listeners(&mut self) {
        let config = self.config;
        let listeners = &config.server.listeners;
        let opened = |listener: &&Listener| listen::is_opened(listener, config.metrics.enable_metrics);
        if !listeners.iter().filter(opened).any(|listener| listener.r#type == ListenerType::Http) {
            self.add("listeners", "there is no listener of type http: nobody could reach the server");
        }
        let mut taken: Vec<(usize, u16, IpAddr)> = Vec::new();
        let mut sockets: Vec<&Path> = Vec::new();
        for (index, listener) in listeners.iter().enumerate().filter(|(_, listener)| opened(listener)) {
            if let Some(path) = &listener.path {
                let option = format!("listeners[{index}].path");
                self.add_if(&option, socket_problem(path));
                if sockets.contains(&path.as_path()) {
                    self.add(&option, format!("{} is the path of another listener, too", path.display()));
                }
                sockets.push(path);
            }
            let Some(port) = listener.port.filter(|port| *port > 0) else { continue };
            for address in listener.bind_addresses.iter().filter_map(|text| listen::address_of(port, text).ok()) {
                let other = taken.iter().find(|(of, taken_port, taken_address)| {
                    *taken_port == port && overlap(*taken_address, address, *of == index)
                });
                if let Some((of, _, taken_address)) = other {
                    let whose = if *of == index { "named twice" } else { "taken by another listener" };
                    let message =
                        format!("port {port} of {address} is {whose}: listeners[{of}] has it at {taken_address}");
                    self.add(&format!("listeners[{index}].port"), message);
                    break;
                }
                taken.push((index, port, address));
            }
        }
    }

    fn certificates(&mut self) {
        for (index, file) in self.config.tls.federation_custom_ca_list.iter().enumerate() {
            let settings = TlsSettings { authorities: vec![file.clone()], ..settings::federation_tls(self.config) };
            if let Err(error) = settings.check() {
                self.add(&format!("federation_custom_ca_list[{index}]"), error);
            }
        }
        let is_opened = |listener: &&Listener| listen::is_opened(listener, self.config.metrics.enable_metrics);
        if !self.config.server.listeners.iter().filter(is_opened).any(|listener| listener.tls) {
            return;
        }
        let named = match tls::Files::of(self.config) {
            Ok(files) => files,
            Err(error) => return self.add(tls::option_of(&error, self.config), error),
        };
        let (tls::Files::Named(certificate, key) | tls::Files::SelfSigned(certificate, key)) = &named;
        let made_at_start = matches!(named, tls::Files::SelfSigned(..)) && !certificate.exists() && !key.exists();
        if made_at_start {
            self.add_if("listeners", file_problem(certificate));
        } else if let Err(error) = tls::load(certificate, key) {
            self.add(tls::option_of(&error, self.config), error);
            if !certificate.exists() && !key.exists() {
                self.add("tls_private_key_path", format!("cannot read the TLS file {}: there is none", key.display()));
            }
        }
    }

    fn database(&mut self) {
        let named = &self.config.database;
        let option = |member: &str| named.option(Some(member));
        // Each is checked, so that all problems are named.
        let found = self.found.len();
        for (member, value) in named.database.iter().flat_map(|database| &database.args) {
            let alone = Map::from_iter([(member.clone(), value.clone())]);
            let kind = named.database.as_ref().map_or("", |database| database.name.as_str());
            match plexus_store::Options::from_config(kind, &alone, false, Path::new("")) {
                Err(OptionsError::Argument { option: wrong, found, expected }) if wrong == *member => {
                    self.add(&option(member), format!("found {found}; allowed is {expected}"));
                }
                Err(OptionsError::Unknown(_)) => self.add(&option(member), "no such option"),
                _ => {}
            }
        }
        let options = match wire::database_options(self.config) {
            Ok(options) => options,
            Err(error) if self.found.len() == found => return self.add(&option("database"), error),
            Err(_) => return,
        };
        match &options {
            plexus_store::Options::Sqlite(sqlite) => self.add_if(&option("database"), file_problem(&sqlite.path)),
            plexus_store::Options::Postgres(postgres) => {
                if let Err(error) = postgres.check_certificates() {
                    self.add(&option("sslmode"), error);
                }
            }
        }
    }

    fn folders(&mut self) {
        self.add_if("media_store_path", folder_problem(&self.config.media.media_store_path));
        if self.config.server.daemonize {
            self.add_if("pid_file", file_problem(&crate::pid_file::path(self.config)));
        }
    }

    fn app_services(&mut self) {
        let files = &self.config.api.app_service_config_files;
        if let Err(problems) = Registrations::load(files, &self.config.server.server_name) {
            self.found.extend(problems);
        }
    }

    fn mail(&mut self) {
        if let Err(error) = wire::mail::check(self.config) {
            self.add("email", error);
        }
    }

    fn log_config(&mut self) {
        let Some(path) = &self.config.logging.log_config else { return };
        match LogConfig::read(path) {
            Ok(read) => {
                for output in read.outputs {
                    if let Destination::File { path: log_file, .. } = &output.destination
                        && let Some(problem) = file_problem(log_file)
                    {
                        self.add("log_config", format!("{}: handlers.{}: {problem}", path.display(), output.name));
                    }
                }
            }
            Err(errors) => {
                for error in errors.0 {
                    match error.line {
                        0 => self.add("log_config", format!("{} {}", error.path.display(), error.message)),
                        line => self.found.push(Problem {
                            file: Some(error.path),
                            line,
                            option: String::new(),
                            message: error.message,
                        }),
                    }
                }
            }
        }
    }
}

/// Whether two sockets, at `first` and `second`, cannot listen on the same port. Within one listener `::` goes together
/// with IPv4.
fn overlap(first: IpAddr, second: IpAddr, one_listener: bool) -> bool {
    if first == second {
        return true;
    }
    let all = |address: IpAddr| address.is_unspecified();
    match (first.is_ipv4(), second.is_ipv4()) {
        (true, true) | (false, false) => all(first) || all(second),
        // `::` includes IPv4.
        (false, true) => all(first) && !one_listener,
        (true, false) => all(second) && !one_listener,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true, true),
            ("127.0.0.1", "127.0.0.2", false, false),
            ("0.0.0.0", "127.0.0.1", true, true),
            ("::", "127.0.0.1", true, false),
            ("0.0.0.0", "::", true, false),
            ("::1", "127.0.0.1", false, false),
            ("0.0.0.0", "::1", false, false),
        ];
        for (first, second, in_two, in_one) in cases {
            let (first, second) = (first.parse().unwrap(), second.parse().unwrap());
            for (first, second) in [(first, second), (second, first)] {
                assert_eq!(overlap(first, second, false), in_two, "{first} {second}");
                assert_eq!(overlap(first, second, true), in_one, "{first} {second}");
            }
        }
    }
}
