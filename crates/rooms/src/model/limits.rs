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
    /// Of users of this server.
    invites_local: InviteLimits,
    /// Of users of other servers.
    invites_remote: InviteLimits,
    /// `block_non_admin_invites`
    invites_blocked: bool,
}

/// A join or invite that has been counted. Dropped, it is given back: one that fails, or whose client goes away, must not
/// keep others out.
#[derive(Default)]
#[must_use = "what is dropped does not count"]
pub struct Counted<'a>(Vec<Reservation<'a>>);

impl Counted<'_> {
    /// It stays counted.
    pub fn succeeded(mut self) {
        self.0.clear();
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Reservation::give_back);
    }
}

/// The limits on invites (`rc_invites`). Each server's invites are counted by themselves: no other server can use up what
/// the users of this one may do in a room or with a user.
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

    /// Counts the invites of `targets`, or none of them. `room`: `None` for a new one.
    fn count<'a>(
        &'a self,
        sender: &UserId,
        targets: &[&UserId],
        room: Option<&RoomId>,
    ) -> Result<Counted<'a>, LimitExceeded> {
        let server = || sender.server_name().to_owned();
        // What has been counted is given back when one is refused.
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
    /// As configured; `invites_blocked` is `block_non_admin_invites`.
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

    /// No limit at all.
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

    /// Counts a local user's join of a room; `remotely`: by way of another server.
    pub fn join(
        &self,
        authority: Authority,
        user: &UserId,
        room: &RoomId,
        remotely: bool,
    ) -> Result<Counted<'_>, LimitError> {
        if authority == Authority::Server {
            return Ok(Counted::default());
        }
        let of_user = if remotely { &self.joins_remote } else { &self.joins_local };
        of_user.check(user)?;
        self.join_of_room(room)
    }

    /// Counts a join of a room by a user of another server.
    pub fn join_of_room(&self, room: &RoomId) -> Result<Counted<'_>, LimitError> {
        Ok(Counted(vec![self.joins_per_room.reserve(room)?]))
    }

    /// Whether the room could be joined now, without counting it: another server asks for a template.
    pub fn could_be_joined(&self, room: &RoomId) -> Result<(), LimitError> {
        Ok(self.joins_per_room.peek(room)?)
    }

    /// Counts a local user's knock, with the user's joins.
    pub fn knock(&self, authority: Authority, user: &UserId) -> Result<(), LimitError> {
        if authority != Authority::Server {
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

    /// Counts the invites that a new room begins with.
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
            Authority::Server => Ok(Counted::default()),
            Authority::User if self.invites_blocked => Err(LimitError::InvitesBlocked),
            Authority::User | Authority::Administrator => Ok(self.invites_local.count(sender, targets, room)?),
        }
    }

    /// Counts an invite of a local user by a user of another server.
    pub fn invite_from_elsewhere(
        &self,
        sender: &UserId,
        target: &UserId,
        room: &RoomId,
    ) -> Result<Counted<'_>, LimitError> {
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
