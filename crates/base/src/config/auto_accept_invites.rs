use crate::schema::options;

options! {
    /// Joining rooms automatically on an invite.
    pub struct AutoAcceptInvitesSection {
        /// Joining rooms automatically on an invite.
        acts auto_accept_invites: AutoAcceptInvites,
    }
}

options! {
    /// Joining rooms automatically on an invite.
    pub struct AutoAcceptInvites {
        /// Whether users join automatically.
        acts enabled: bool = false,
        /// Whether this is limited to direct chats.
        acts only_for_direct_messages: bool = false,
        /// Whether this is limited to invites by local users.
        acts only_from_local_users: bool = false,
        /// The process that does it.
        moot worker_to_run_on: Option<String>,
    }
}
