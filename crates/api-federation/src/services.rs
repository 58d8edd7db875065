//! The services that endpoints may use by `State<Type>`: a handler's parameters are its only powers.

use std::sync::Arc;

use plexus_accounts::Sessions;
use plexus_base::config::Config;
use plexus_base::{Clock, Random};
use plexus_delivery::EduReceiver;
use plexus_e2ee::DeviceKeys;
use plexus_federation::PduReceiver;
use plexus_federation::inbox::Inbox;
use plexus_http::SignedRequests;
use plexus_media::MediaStore;
use plexus_net::KeyRing;
use plexus_protocol::id::ServerName;
use plexus_rooms::{MembershipChanger, Profiles, Rooms};
use plexus_service::RoomResolver;

use crate::{BroughtInvites, OwnKeys};

plexus_http::services! {
    /// All services of the server-server API's endpoints; the server's `wire` builds them.
    #[expect(missing_docs, reason = "a field has the name of its type")]
    pub struct Services {
        pub config: Arc<Config>,
        pub clock: Clock,
        pub random: Random,
        pub server_name: ServerName,
        pub signed_requests: Arc<SignedRequests>,
        pub own_keys: Arc<OwnKeys>,
        pub key_ring: Arc<KeyRing>,
        pub sessions: Sessions,
        pub device_keys: DeviceKeys,
        pub rooms: Arc<Rooms>,
        pub room_resolver: Arc<RoomResolver>,
        pub receiver: Arc<PduReceiver>,
        pub inbox: Arc<Inbox>,
        pub edus: Arc<EduReceiver>,
        pub profiles: Arc<Profiles>,
        pub membership_changer: Arc<MembershipChanger>,
        pub media: Arc<MediaStore>,
        pub brought_invites: Arc<BroughtInvites>,
    }
}
