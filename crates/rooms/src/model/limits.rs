//! The limits on changes of membership (`rc_joins`, `rc_joins_per_room`, `rc_invites`, `block_non_admin_invites`). They
//! are checked where a membership changes, so that no endpoint leads around them.

use plexus_base::config::{RateLimit, RatelimitsSection};
use plexus_base::{Clock, LimitExceeded, RateLimiter, Reservation};
use plexus_protocol::id::{RoomId, UserId};

/// The authority by which a membership changes: it decides which limits apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A user.
    User,
    /// A server administrator: `block_non_admin_invites` does not apply.
    Administrator,
    /// A user of an application service that is not rate limited; otherwise like a user.
    UnlimitedUser,
    /// As [`Self::UnlimitedUser`], of a server administrator.
    UnlimitedAdministrator,
    /// This server: no limit applies. Also used for requests whose invites have been counted as a whole.
    Server,
}

impl Authority {
    /// Whether the `rc_*` options apply.
    fn is_rate_limited(self) -> bool {
        matches!(self, Self::User | Self::Administrator)
    }

    /// Whether it is a server administrator's.
    pub(crate) fn is_administrator(self) -> bool {
        matches!(self, Self::Administrator | Self::UnlimitedAdministrator)
    }

    /// Whether policy hooks are asked about invites.
    pub(crate) fn is_subject_to_invite_policy(self) -> bool {
        matches!(self, Self::User | Self::UnlimitedUser)
    }
}

/// The reason why this server does not allow a change of membership that the room may allow.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum LimitError {
    /// A limit of one of the `rc_*` options was exceeded.
    #[error(transparent)]
    RateLimited(#[from] LimitExceeded),
    /// `block_non_admin_invites` is set.
    #[error("invites have been disabled on this server")]
    InvitesBlocked,
    /// An administrator has blocked the room.
    #[error("This room has been blocked on this server")]
    RoomBlocked,
    /// The room is being deleted, as nobody here was in it.
    #[error("This room is being deleted from this server; it can be entered again soon")]
    RoomPurged,
    /// The invited user is the one who sends server notices.
    #[error("Cannot invite this user")]
    NoticesUserInvited,
    /// The invited user does not accept invites, or none by the sender.
    #[error("the user does not accept this invite")]
    InviteBlocked,
}

/// The limits on changes of membership. Owned by this process; each counter is bounded by its limiter.
pub struct MembershipLimits {
    joins_local: RateLimiter<UserId>,
    /// Joins through other servers.
    joins_remote: RateLimiter<UserId>,
    joins_per_room: RateLimiter<RoomId>,
    /// Of users of this server.
    invites_local: InviteLimits,
    /// Of users of other servers.
    invites_remote: InviteLimits,
    /// `block_non_admin_invites`
    invites_blocked: bool,
}

/// A join or invite that has been counted. When it is dropped, it does not count any more: a request that fails, or
/// whose client disconnects, must not use up the limit.
#[derive(Default)]
#[must_use = "a change that is dropped does not count"]
pub struct Counted<'a>(Vec<Reservation<'a>>);

impl Counted<'_> {
    /// Keeps the change counted.
    pub fn succeeded(mut self) {
        self.0.clear();
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Reservation::give_back);
    }
}

/// The limits on invites (`rc_invites`). The invites of each server are counted separately: no other server can use up
/// the limits of this server's users.
struct InviteLimits {
    per_room: RateLimiter<(String, RoomId)>,
    per_user: RateLimiter<(String, UserId)>,
    per_issuer: RateLimiter<UserId>,
}

impl InviteLimits {
    fn new([per_room, per_user, per_issuer]: [RateLimit; 3], clock: &Clock) -> Self {
        Self {
            per_room: limiter(per_room, clock),
            per_user: limiter(per_user, clock),
            per_issuer: limiter(per_issuer, clock),
        }
    }

    /// Counts the invites of `targets`, or none of them. `room` is `None` for a new room.
    fn count<'a>(
        &'a self,
        sender: &UserId,
        targets: &[&UserId],
        room: Option<&RoomId>,
    ) -> Result<Counted<'a>, LimitExceeded> {
        let server = || sender.server_name().to_owned();
        // Dropped, and not counted, if one of them is refused.
        let mut counted = Counted::default();
        for target in targets {
            counted.0.push(self.per_issuer.reserve(sender)?);
            if let Some(room) = room {
                counted.0.push(self.per_room.reserve(&(server(), room.clone()))?);
            }
            counted.0.push(self.per_user.reserve(&(server(), (*target).clone()))?);
        }
        Ok(counted)
    }
}

impl MembershipLimits {
    /// Creates the limits of the configuration; `invites_blocked` is `block_non_admin_invites`.
    #[must_use]
    pub fn new(config: &RatelimitsSection, invites_blocked: bool, clock: &Clock) -> Self {
        let invites = [config.rc_invites.per_room, config.rc_invites.per_user, config.rc_invites.per_issuer];
        Self {
            joins_local: limiter(config.rc_joins.local, clock),
            joins_remote: limiter(config.rc_joins.remote, clock),
            joins_per_room: limiter(config.rc_joins_per_room, clock),
            invites_local: InviteLimits::new(invites, clock),
            invites_remote: InviteLimits::new(invites, clock),
            invites_blocked,
        }
    }

    /// Creates limits that are never reached.
    #[must_use]
    pub fn none(clock: &Clock) -> Self {
        let none = RateLimit::new(f64::MAX, u32::MAX);
        Self {
            joins_local: limiter(none, clock),
            joins_remote: limiter(none, clock),
            joins_per_room: limiter(none, clock),
            invites_local: InviteLimits::new([none; 3], clock),
            invites_remote: InviteLimits::new([none; 3], clock),
            invites_blocked: false,
        }
    }

    /// Counts a local user's join. `remotely`: whether it goes through another server.
    ///
    /// # Errors
    /// See [`LimitError`]; the same for the other methods.
    pub fn join(
        &self,
        authority: Authority,
        user: &UserId,
        room: &RoomId,
        remotely: bool,
    ) -> Result<Counted<'_>, LimitError> {
        if !authority.is_rate_limited() {
            return Ok(Counted::default());
        }
        let of_user = if remotely { &self.joins_remote } else { &self.joins_local };
        of_user.check(user)?;
        self.join_of_room(room)
    }

    /// Counts a join by a user of another server.
    pub fn join_of_room(&self, room: &RoomId) -> Result<Counted<'_>, LimitError> {
        Ok(Counted(vec![self.joins_per_room.reserve(room)?]))
    }

    /// Checks whether a user of another server could join, without counting it: for `GET /make_join`.
    pub fn check_join_of_room(&self, room: &RoomId) -> Result<(), LimitError> {
        Ok(self.joins_per_room.peek(room)?)
    }

    /// Counts a local user's knock together with the user's joins.
    pub fn knock(&self, authority: Authority, user: &UserId) -> Result<(), LimitError> {
        if authority.is_rate_limited() {
            self.joins_local.check(user)?;
        }
        Ok(())
    }

    /// Counts an invite by a local user.
    pub fn invite(
        &self,
        authority: Authority,
        sender: &UserId,
        target: &UserId,
        room: &RoomId,
    ) -> Result<Counted<'_>, LimitError> {
        self.invites_of_local(authority, sender, &[target], Some(room))
    }

    /// Counts the invites that are part of the creation of a room.
    pub(crate) fn invites_to_new_room(
        &self,
        authority: Authority,
        sender: &UserId,
        targets: &[UserId],
    ) -> Result<Counted<'_>, LimitError> {
        self.invites_of_local(authority, sender, &targets.iter().collect::<Vec<_>>(), None)
    }

    fn invites_of_local(
        &self,
        authority: Authority,
        sender: &UserId,
        targets: &[&UserId],
        room: Option<&RoomId>,
    ) -> Result<Counted<'_>, LimitError> {
        match authority {
            _ if targets.is_empty() => Ok(Counted::default()),
            Authority::User | Authority::UnlimitedUser if self.invites_blocked => Err(LimitError::InvitesBlocked),
            Authority::Server | Authority::UnlimitedUser | Authority::UnlimitedAdministrator => Ok(Counted::default()),
            Authority::User | Authority::Administrator => Ok(self.invites_local.count(sender, targets, room)?),
        }
    }

    /// Counts an invite of a local user by a user of another server.
    pub fn remote_invite(&self, sender: &UserId, target: &UserId, room: &RoomId) -> Result<Counted<'_>, LimitError> {
        if self.invites_blocked {
            Err(LimitError::InvitesBlocked)
        } else {
            Ok(self.invites_remote.count(sender, &[target], Some(room))?)
        }
    }
}

fn limiter<K: std::hash::Hash + ?Sized>(limit: RateLimit, clock: &Clock) -> RateLimiter<K> {
    RateLimiter::new(clock.clone(), limit.per_second, f64::from(limit.burst_count))
}
