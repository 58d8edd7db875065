use crate::schema::{choice, options};

options! {
    /// Proposals that are not part of the specification yet, enabled one by one.
    pub struct ExperimentalSection {
        /// Proposals by number.
        acts experimental_features: ExperimentalFeatures,
    }
}

options! {
    /// Proposals by number.
    pub struct ExperimentalFeatures {
        /// The most delayed events that one user may have scheduled.
        acts msc4140_max_delayed_events_per_user: u32 = 100,
        /// Message retention.
        later msc1763_enabled: bool = false,
        /// The presence state "busy".
        later msc3026_enabled: bool = false,
        /// Dehydrated devices.
        acts msc3814_enabled: bool = false,
        /// Messages between devices for application services.
        acts msc2409_to_device_messages_enabled: bool = false,
        /// Device lists and key counts for application services.
        acts msc3202_transaction_extensions: bool = false,
        /// Claiming one-time keys from application services.
        later msc3983_appservice_otk_claims: bool = false,
        /// Querying keys of application services.
        later msc3984_appservice_key_query: bool = false,
        /// The status of accounts.
        later msc3720_enabled: bool = false,
        /// Unread counts in /sync.
        later msc2654_enabled: bool = false,
        /// Redacted content for moderators.
        later msc2815_enabled: bool = false,
        /// Deleting account data.
        acts msc3391_enabled: bool = false,
        /// Simplified sliding sync.
        later msc3575_enabled: bool = true,
        /// Notifications by thread, under the unstable name.
        later msc3773_enabled: bool = false,
        /// Push rules about related events.
        later msc3664_enabled: bool = false,
        /// New error codes for joining.
        later msc3848_enabled: bool = false,
        /// Approval of new accounts.
        later msc3866: AccountApproval,
        /// Turning notifications of other devices on and off.
        acts msc3881_enabled: bool = false,
        /// Filtering messages by relation.
        later msc3874_enabled: bool = false,
        /// Notification settings of single devices.
        later msc3890_enabled: bool = false,
        /// Push rules about polls.
        later msc3381_polls_enabled: bool = false,
        /// Redacting related events, too.
        acts msc3912_enabled: bool = false,
        /// Extensible events.
        later msc1767_enabled: bool = false,
        /// State DAGs.
        later msc4242_enabled: bool = false,
        /// Notifying about every encrypted event.
        acts msc4028_push_encrypted_events: bool = false,
        /// Whether clients can change a profile without its copies in rooms.
        acts msc4069_profile_inhibit_propagation: bool = false,
        /// Push rules about calls.
        later msc4075_enabled: bool = false,
        /// Logging in by QR code.
        acts msc4108_enabled: bool = false,
        /// Where requests for logging in by QR code are redirected to.
        acts msc4108_delegation_endpoint: Option<String>,
        /// The extremities of a room, for other servers.
        later msc4370_enabled: bool = false,
        /// MSC4502.
        later msc4502_enabled: bool = false,
        /// Secure channels for logging in by QR code: `off`, `open` or `authenticated`.
        acts msc4388_mode: SecureChannelMode = SecureChannelMode::Off,
        /// Whether fields of profiles have the unstable path, too.
        acts msc4133_enabled: bool = false,
        /// Whether clients find the transports of conferences under the unstable name, too.
        acts msc4143_enabled: bool = false,
        /// Redactions through the endpoint for sending, which always works.
        moot msc4169_enabled: bool = false,
        /// No legacy mentions.
        later msc4210_enabled: bool = false,
        /// State after the timeline in /sync, which clients can always request.
        moot msc4222_enabled: bool = false,
        /// Badges counted by clients.
        acts msc4076_enabled: bool = false,
        /// Whether reports of rooms and events that the user cannot see seem to succeed, too.
        acts msc4277_enabled: bool = false,
        /// Whether clients can name the servers that are asked for a hierarchy of rooms.
        acts msc4235_enabled: bool = false,
        /// Key queries only about users in a common room.
        refused(
            "users could query the keys of everybody; remove it to accept that"
        ) msc4263_limit_key_queries_to_users_who_share_rooms: bool = false,
        /// Whether clients learn of `forget_rooms_on_leave` under the unstable name, too.
        acts msc4267_enabled: bool = false,
        /// Filtering invites by their sender.
        acts msc4155_enabled: bool = false,
        /// Redacting all events of a banned user.
        later msc4293_enabled: bool = false,
        /// Subscriptions to threads.
        acts msc4306_enabled: bool = false,
        /// Moving the read marker back.
        later msc4446_enabled: bool = false,
        /// Sticky events: clients get them for up to an hour, whatever else they have of the room. Calls use them.
        acts msc4354_enabled: bool = false,
        /// Choosing an identity provider when confirming.
        later msc4450_enabled: bool = false,
        /// MSC4452.
        later msc4452_enabled: bool = false,
        /// MSC4491.
        later msc4491_enabled: bool = false,
        /// Requests to application services through this server.
        later msc4512_enabled: bool = false,
    }
}

options! {
    /// Approval of new accounts.
    pub struct AccountApproval {
        /// Whether administrators can approve accounts.
        later enabled: bool = false,
        /// Whether a new account must be approved before it can be used.
        refused(
            "new accounts could be used without approval; remove it to accept that"
        ) require_approval_for_new_accounts: bool = false,
    }
}

choice! {
    /// Who may open a secure channel.
    pub enum SecureChannelMode {
        /// Nobody.
        Off = "off",
        /// Anybody.
        Open = "open",
        /// Users.
        Authenticated = "authenticated",
    }
}
