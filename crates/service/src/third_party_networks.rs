//! Networks behind bridges (client-server API, "Third-party networks"), as application services describe them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use plexus_base::{AppService, AppServices, Clock};
use plexus_net::{AppServiceClient, AppServiceError, percent_encode};
use serde_json::{Map, Value};

/// How long the description of a network is kept, as in Synapse.
const KEPT_FOR: Duration = Duration::from_secs(3_600);

/// What is looked for in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Users.
    Users,
    /// Rooms.
    Locations,
}

/// A description of a network.
#[derive(Clone)]
struct Described {
    /// When it was read, on the monotonic clock.
    read: Duration,
    description: Map<String, Value>,
}

/// Parameters of a query, in order.
pub type Fields = Vec<(String, String)>;

/// Finds users and rooms of other networks.
pub struct ThirdPartyNetworks {
    app_services: Arc<AppServices>,
    client: AppServiceClient,
    clock: Clock,
    /// Descriptions by service and protocol. Owned by this process; another one asks itself.
    described: Mutex<HashMap<(String, String), Described>>,
}

impl ThirdPartyNetworks {
    /// Creates the service.
    #[must_use]
    pub fn new(app_services: Arc<AppServices>, client: AppServiceClient, clock: Clock) -> Self {
        Self { app_services, client, clock, described: Mutex::default() }
    }

    /// Returns the descriptions of the networks, or of one of them. Networks of several services have the instances of
    /// all, and of the first one the rest.
    pub async fn protocols(&self, only: Option<&str>) -> BTreeMap<String, Map<String, Value>> {
        let mut protocols: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let Some(services) = self.app_services.current() else { return protocols };
        let wanted = services.all().iter().flat_map(|service| {
            let names = service.protocols.iter().filter(|name| only.is_none_or(|only| only == *name));
            names.map(move |name| async move { (name, self.description(service, name).await) })
        });
        for (name, description) in join_all(wanted).await {
            let Some(description) = description else { continue };
            match protocols.get_mut(name).and_then(|known| known.get_mut("instances")).and_then(Value::as_array_mut) {
                Some(instances) => {
                    instances
                        .extend(description.get("instances").and_then(Value::as_array).cloned().unwrap_or_default());
                }
                None => _ = protocols.insert(name.clone(), description),
            }
        }
        protocols
    }

    async fn description(&self, service: &AppService, protocol: &str) -> Option<Map<String, Value>> {
        let key = (service.id.clone(), protocol.to_owned());
        let now = self.clock.monotonic();
        let known = self.described.lock().get(&key).cloned();
        if let Some(Described { read, description }) = known
            && now.saturating_sub(read) < KEPT_FOR
        {
            return Some(description);
        }
        let path = format!("/_matrix/app/v1/thirdparty/protocol/{}", percent_encode(protocol));
        let Value::Object(mut description) = self.ask(service, path, &[]).await? else { return None };
        let instances = description.get_mut("instances").and_then(Value::as_array_mut)?;
        for instance in instances.iter_mut().filter_map(Value::as_object_mut) {
            let network = instance.get("network_id").and_then(Value::as_str).map(str::to_owned);
            if let Some(network) = network {
                instance.insert("instance_id".to_owned(), format!("{}|{network}", service.id).into());
            }
        }
        self.described.lock().insert(key, Described { read: now, description: description.clone() });
        Some(description)
    }

    /// Returns what a network has that matches `fields`.
    pub async fn search(&self, wanted: Wanted, protocol: &str, fields: &Fields) -> Vec<Value> {
        let Some(services) = self.app_services.current() else { return Vec::new() };
        let of_protocol = |service: &&Arc<AppService>| service.protocols.iter().any(|name| name == protocol);
        let path = format!("/_matrix/app/v1/thirdparty/{}/{}", wanted.segment(), percent_encode(protocol));
        self.collect(wanted, services.all().iter().filter(of_protocol), &path, fields).await
    }

    /// Returns what a user id or an alias of this server stands for in a network.
    pub async fn reverse(&self, wanted: Wanted, matrix_id: &str) -> Vec<Value> {
        let Some(services) = self.app_services.current() else { return Vec::new() };
        let numbers = match wanted {
            Wanted::Users => services.of_user(matrix_id),
            Wanted::Locations => services.of_alias(matrix_id),
        };
        let claiming = numbers.iter().filter_map(|number| services.all().get(*number));
        let path = format!("/_matrix/app/v1/thirdparty/{}", wanted.segment());
        self.collect(wanted, claiming, &path, &vec![(wanted.id_field().to_owned(), matrix_id.to_owned())]).await
    }

    async fn collect<'s>(
        &self,
        wanted: Wanted,
        services: impl Iterator<Item = &'s Arc<AppService>>,
        path: &str,
        fields: &Fields,
    ) -> Vec<Value> {
        let asked = services.map(|service| self.ask(service, path.to_owned(), fields));
        let answers = join_all(asked).await.into_iter().flatten();
        let lists = answers.filter_map(|answer| match answer {
            Value::Array(found) => Some(found),
            _ => None,
        });
        lists.flatten().filter(|found| wanted.is_valid(found)).collect()
    }

    /// Returns the response of a service, if it responds with success.
    async fn ask(&self, service: &AppService, path: String, fields: &[(String, String)]) -> Option<Value> {
        match self.client.query(service, path, fields).await {
            Ok(body) => serde_json::from_slice(&body).ok(),
            Err(AppServiceError::NoUrl) => None,
            Err(error) => {
                tracing::warn!("the application service {} does not answer about its network: {error}", service.id);
                None
            }
        }
    }
}

impl Wanted {
    fn segment(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Locations => "location",
        }
    }

    fn id_field(self) -> &'static str {
        match self {
            Self::Users => "userid",
            Self::Locations => "alias",
        }
    }

    fn is_valid(self, found: &Value) -> bool {
        found[self.id_field()].is_string() && found["protocol"].is_string() && found["fields"].is_object()
    }
}
