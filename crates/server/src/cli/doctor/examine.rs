//! Looks at everything.

use std::path::PathBuf;
use std::sync::Arc;

use plexus_base::config::{Loaded, Options};
use plexus_base::{Background, Clock, Random};
use plexus_net::dns::SystemNames;
use plexus_net::{AddressGuards, HttpClient, HttpSettings};

use super::check::{Check, Doctor};
use super::{discovery, machine};
use crate::control_socket::ControlClient;
use crate::preflight;
use crate::wire::settings;

/// Looks at everything. Of a configuration that the server would refuse, only that is said.
pub(super) async fn examine(paths: &[PathBuf]) -> Vec<Check> {
    let (report, loaded) = preflight::examine(paths, Options::default());
    let mut checks = vec![machine::configuration(&report)];
    if let Some(loaded) = loaded.filter(|_| !report.has_errors()) {
        checks.extend(examine_loaded(&loaded).await);
    }
    checks
}

async fn examine_loaded(loaded: &Loaded) -> Vec<Check> {
    let config = &loaded.config;
    let mut checks = machine::checks(config).await;
    let clock = Clock::system();
    let http = HttpSettings { guards: AddressGuards::default(), ..settings::http(config) };
    let http = match HttpClient::new(&http, Arc::new(SystemNames::default()), clock.clone()) {
        Ok(http) => Arc::new(http),
        Err(error) => {
            let advice = "correct federation_custom_ca_list";
            checks.push(Check::failed("certificate authorities", error.to_string(), advice));
            return checks;
        }
    };
    let server = ControlClient::connect(&config.media.media_store_path, &machine::owners(config));
    checks.push(machine::process(&server));
    let server = server.ok().flatten();
    let (random, background) = (Random::system(), Background::default());
    let mut doctor = Doctor { config, server, http, clock, random, background };
    checks.extend(doctor.listeners().await);
    checks.extend(doctor.arrival().await);
    checks.extend(doctor.outside().await);
    checks.push(discovery::clients_find_it(&doctor).await);
    checks.extend(doctor.forward_proxies().await);
    checks.extend(doctor.turn().await);
    checks
}
