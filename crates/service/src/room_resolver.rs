//! From a room's id or alias to the room, on this server or another one.

use std::sync::Arc;

use plexus_base::AppServices;
use plexus_net::federation::api::query::get_room_information;
use plexus_net::{AppServiceClient, FederationClient, FederationError};
use plexus_protocol::id::{IdError, RoomAlias, RoomId, ServerName};
use plexus_rooms::directory::servers_in;
use plexus_rooms::{Room, Rooms};
use plexus_store::{Database, DbError, repo};
use serde::Serialize;

/// The room that an alias points to, and servers through which it can be joined.
#[derive(Debug, Serialize)]
pub struct ResolvedRoom {
    /// The room, which this server need not know.
    pub room_id: RoomId,
    /// Servers through which it can be joined, in the order in which to try them.
    pub servers: Vec<ServerName>,
}

/// Why a room was not found by its id or alias.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither an id nor an alias.
    #[error("{text}: {problem}")]
    Invalid {
        /// The text.
        text: String,
        /// Why it is not an id.
        problem: IdError,
    },
    /// This server has no such alias.
    #[error("Room alias {0} not found.")]
    UnknownAlias(RoomAlias),
    /// The alias is of a server that cannot exist.
    #[error("No such room alias")]
    NoServer,
    /// The alias's server did not resolve it.
    #[error(transparent)]
    Remote(FederationError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Finds rooms by id or alias, here and on other servers.
pub struct RoomResolver {
    db: Database,
    rooms: Arc<Rooms>,
    client: Arc<FederationClient>,
    app_services: Arc<AppServices>,
    app_service_client: AppServiceClient,
}

impl RoomResolver {
    /// Creates the service.
    #[must_use]
    pub fn new(
        db: Database,
        rooms: Arc<Rooms>,
        client: Arc<FederationClient>,
        app_services: Arc<AppServices>,
        app_service_client: AppServiceClient,
    ) -> Self {
        Self { db, rooms, client, app_services, app_service_client }
    }

    /// Resolves a room id or an alias. The servers are `via`; where that is empty, those that came with the alias.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, id_or_alias: &str, via: Vec<ServerName>) -> Result<ResolvedRoom, ResolveError> {
        if let Ok(room_id) = RoomId::try_from(id_or_alias) {
            return Ok(ResolvedRoom { room_id, servers: via });
        }
        let alias = RoomAlias::try_from(id_or_alias)
            .map_err(|problem| ResolveError::Invalid { text: id_or_alias.to_owned(), problem })?;
        let resolved = self.resolve_alias(&alias).await?;
        Ok(if via.is_empty() { resolved } else { ResolvedRoom { servers: via, ..resolved } })
    }

    /// Resolves an alias of this server, or asks the server of the alias.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve_alias(&self, alias: &RoomAlias) -> Result<ResolvedRoom, ResolveError> {
        let own = self.rooms.server_name();
        if alias.server_name() != own.as_str() {
            return self.resolve_remote(alias).await;
        }
        let room = match self.local_room(alias).await? {
            None if self.is_made_by_service(alias).await => self.local_room(alias).await?,
            found => found,
        };
        let room = room.ok_or_else(|| ResolveError::UnknownAlias(alias.clone()))?;
        Ok(ResolvedRoom { room_id: room.id.clone(), servers: servers_in(&room, own) })
    }

    /// Asks the application services that claim an alias, whether they have it now.
    async fn is_made_by_service(&self, alias: &RoomAlias) -> bool {
        let Some(services) = self.app_services.current() else { return false };
        for number in services.of_alias(alias.as_str()) {
            if let Some(service) = services.all().get(number)
                && self.app_service_client.has_alias(service, alias.as_str()).await
            {
                return true;
            }
        }
        false
    }

    /// Returns the room that an alias of this server points to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn local_room(&self, alias: &RoomAlias) -> Result<Option<Arc<Room>>, DbError> {
        let text = alias.as_str().to_owned();
        match self.db.read(move |tx| repo::aliases::get(tx, &text)).await? {
            Some(found) => self.rooms.get_nid(found.room_nid).await,
            None => Ok(None),
        }
    }

    async fn resolve_remote(&self, alias: &RoomAlias) -> Result<ResolvedRoom, ResolveError> {
        let server = ServerName::try_from(alias.server_name()).map_err(|_| ResolveError::NoServer)?;
        let response = get_room_information::call(&self.client, &server, alias).await.map_err(ResolveError::Remote)?;
        Ok(ResolvedRoom { room_id: response.room_id, servers: response.servers })
    }
}
