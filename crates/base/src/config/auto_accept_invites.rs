use crate::schema::options;

options! {
    /// Joining rooms as soon as one is invited.
    pub struct AutoAcceptInvitesSection {
        /// Joining rooms as soon as one is invited.
        later auto_accept_invites: AutoAcceptInvites,
    }
}

options! {
    /// Joining rooms as soon as one is invited.
    pub struct AutoAcceptInvites {
        /// Whether users join by themselves.
        later enabled: bool = false,
        /// Only rooms for two.
        later only_for_direct_messages: bool = false,
        /// Only when the inviting user is local.
        later only_from_local_users: bool = false,
        /// The process that does it.
        moot worker_to_run_on: Option<String>,
    }
}
