//! The limits on changes of membership (`rc_joins`, `rc_joins_per_room`, `rc_invites`, `block_non_admin_invites`). They
//! are checked where a membership changes, so that no endpoint leads around them.

use plexus_base::config::{RateLimit, RatelimitsSection};
use plexus_base::{Clock, LimitExceeded, RateLimiter, Reservation};
use plexus_protocol::id::{RoomId, UserId};

/// On whose authority a membership changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A user's.
    User,
    /// A user's who is a server administrator: `block_non_admin_invites` does not apply.
    Administrator,
    /// The server's own: no limit applies. Also for requests whose invites have been counted as a whole.
    Server,
}

impl Authority {
    /// That of a user.
    #[must_use]
    pub fn of_user(is_admin: bool) -> Self {
        if is_admin { Self::Administrator } else { Self::User }
    }
}

/// Why this server does not let a membership change that the room may allow.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum LimitError {
    /// One of the `rc_*` options.
    #[error(transparent)]
    RateLimited(#[from] LimitExceeded),
    /// `block_non_admin_invites`.
    #[error("invites have been disabled on this server")]
    InvitesBlocked,
}

/// The limits as configured. Owned by [`crate::Rooms`]; in memory, each bounded by its limiter.
pub struct MembershipLimits {
    joins_local: RateLimiter<UserId>,
    /// Joins by way of other servers.
    joins_remote: RateLimiter<UserId>,
    joins_per_room: RateLimiter<RoomId>,
    invites_per_room: RateLimiter<RoomId>,
    invites_per_user: RateLimiter<UserId>,
    invites_per_issuer: RateLimiter<UserId>,
    /// `block_non_admin_invites`
    invites_blocked: bool,
}

/// A join that has been counted.
pub(crate) struct CountedJoin<'a>(Option<Reservation<'a>>);

impl CountedJoin<'_> {
    /// Gives it back to the room: one that fails must not keep others out.
    pub fn failed(self) {
        if let Some(reservation) = self.0 {
            reservation.give_back();
        }
    }
}

impl MembershipLimits {
    /// As configured; `invites_blocked` is `block_non_admin_invites`.
    #[must_use]
    pub fn new(config: &RatelimitsSection, invites_blocked: bool, clock: &Clock) -> Self {
        Self {
            joins_local: limiter(config.rc_joins.local, clock),
            joins_remote: limiter(config.rc_joins.remote, clock),
            joins_per_room: limiter(config.rc_joins_per_room, clock),
            invites_per_room: limiter(config.rc_invites.per_room, clock),
            invites_per_user: limiter(config.rc_invites.per_user, clock),
            invites_per_issuer: limiter(config.rc_invites.per_issuer, clock),
            invites_blocked,
        }
    }

    /// No limit at all.
    #[must_use]
    pub fn none(clock: &Clock) -> Self {
        let none = RateLimit::new(f64::MAX, u32::MAX);
        Self {
            joins_local: limiter(none, clock),
            joins_remote: limiter(none, clock),
            joins_per_room: limiter(none, clock),
            invites_per_room: limiter(none, clock),
            invites_per_user: limiter(none, clock),
            invites_per_issuer: limiter(none, clock),
            invites_blocked: false,
        }
    }

    /// Counts a local user's join of a room; `remotely`: by way of another server.
    pub(crate) fn join(
        &self,
        authority: Authority,
        user: &UserId,
        room: &RoomId,
        remotely: bool,
    ) -> Result<CountedJoin<'_>, LimitError> {
        if authority == Authority::Server {
            return Ok(CountedJoin(None));
        }
        let of_user = if remotely { &self.joins_remote } else { &self.joins_local };
        of_user.check(user)?;
        self.join_of_room(room)
    }

    /// Counts a join of a room by a user of another server.
    pub(crate) fn join_of_room(&self, room: &RoomId) -> Result<CountedJoin<'_>, LimitError> {
        Ok(CountedJoin(Some(self.joins_per_room.reserve(room)?)))
    }

    /// Whether the room could be joined now, without counting it: another server asks for a template.
    pub(crate) fn could_be_joined(&self, room: &RoomId) -> Result<(), LimitError> {
        Ok(self.joins_per_room.peek(room)?)
    }

    /// Counts a local user's knock, with the user's joins.
    pub(crate) fn knock(&self, authority: Authority, user: &UserId) -> Result<(), LimitError> {
        if authority != Authority::Server {
            self.joins_local.check(user)?;
        }
        Ok(())
    }

    /// Counts an invite by a local user.
    pub(crate) fn invite(
        &self,
        authority: Authority,
        sender: &UserId,
        target: &UserId,
        room: &RoomId,
    ) -> Result<(), LimitError> {
        match authority {
            Authority::Server => return Ok(()),
            Authority::User if self.invites_blocked => return Err(LimitError::InvitesBlocked),
            Authority::User | Authority::Administrator => {}
        }
        self.invites_per_room.check(room)?;
        self.invites_per_user.check(target)?;
        Ok(self.invites_per_issuer.check(sender)?)
    }

    /// Counts the invites that a new room begins with.
    pub(crate) fn invites_to_new_room(
        &self,
        authority: Authority,
        sender: &UserId,
        targets: &[UserId],
    ) -> Result<(), LimitError> {
        if targets.is_empty() {
            return Ok(());
        }
        match authority {
            Authority::Server => return Ok(()),
            Authority::User if self.invites_blocked => return Err(LimitError::InvitesBlocked),
            Authority::User | Authority::Administrator => {}
        }
        self.invites_per_issuer.take(sender, u32::try_from(targets.len()).unwrap_or(u32::MAX))?;
        Ok(targets.iter().try_for_each(|target| self.invites_per_user.check(target))?)
    }

    /// Counts an invite of a local user by a user of another server.
    pub(crate) fn invite_from_elsewhere(
        &self,
        sender: &UserId,
        target: &UserId,
        room: &RoomId,
    ) -> Result<(), LimitError> {
        self.invite(Authority::User, sender, target, room)
    }
}

fn limiter<K: std::hash::Hash + ?Sized>(limit: RateLimit, clock: &Clock) -> RateLimiter<K> {
    RateLimiter::new(clock.clone(), limit.per_second, f64::from(limit.burst_count))
}
