//! Services that several front doors share (the client-server API, the admin API, application services, commands). They
//! combine the engines: rooms, accounts, sync, other servers. They know nothing of clients' HTTP.
//!
//! | module | what it holds |
//! |---|---|
//! | `admin_json` | [`UserInfo`], [`DeviceInfo`], [`RegistrationTokenInfo`]: JSON of the admin API and of commands |
//! | `client_addresses` | [`ClientAddresses`]: forgetting where clients connected from |
//! | `client_events` | [`ClientEventSender`]: sending events within rate limits |
//! | `complex_rooms` | [`ComplexRoomLeaver`]: leaving rooms that turn out to be too complex |
//! | [`dehydrated_devices`] | [`DehydratedDevices`]: devices that receive keys while nobody is logged in |
//! | [`delayed_events`] | [`DelayedEvents`]: events that are sent later |
//! | `directory_rules` | [`DirectoryRules`]: who may create aliases and publish rooms |
//! | `email_validation` | [`EmailValidation`]: whether an address is a user's |
//! | [`event_json`] | timeline and state events as clients read them outside of /sync |
//! | `expiring_messages` | [`ExpiringMessages`]: deleting the content of messages that carry their own expiry |
//! | `invite_accepter` | [`InviteAccepter`]: accepting invites for users |
//! | `local_echo_order` | [`LocalEchoOrder`]: a device's response before its sync |
//! | `login_sessions` | [`LoginSessions`]: sessions that begin with a login |
//! | `mail_tasks` | the scheduled tasks that send mail |
//! | [`media_tasks`] | the scheduled tasks of media |
//! | `member_events` | [`SendingAccount`], [`MemberEventError`]: member events that set memberships |
//! | `profile_rules` | [`ProfileRules`]: which avatars users may have, and whether they may differ by room |
//! | `rate_limits` | [`RateLimits`]: the limiters of `rc_*` |
//! | `registration` | [`Registration`]: a new account and its first rooms |
//! | `related_redactions` | [`RelatedRedactions`]: redacting the events that relate to a redacted one |
//! | `remote_keys` | [`claim_remote_keys`]: one-time keys of other servers' users |
//! | `remote_profiles` | [`remote_profile`] |
//! | `remote_public_rooms` | [`remote_public_rooms`]: other servers' room directories |
//! | `remote_room_summaries` | [`RemoteRoomSummaries`]: rooms that this server is not in |
//! | [`rendezvous`] | sessions by which two devices exchange messages |
//! | `reports` | [`Reports`]: what users report to administrators |
//! | `room_directory` | [`RoomDirectory`]: changes of room aliases and of the room directory |
//! | `room_purge` | [`ForgottenRooms`], [`RoomPurge`]: deleting rooms that everybody here has left and forgotten |
//! | `room_resolver` | [`RoomResolver`]: from an id or alias to the room |
//! | [`search`] | finding messages, and their index |
//! | `server_notices` | [`ServerNotices`]: messages of the server to its users |
//! | `shadow_ban` | what shadow-banned users seem to do |
//! | [`tasks`] | scheduled tasks: work that is done later, also after a restart |
//! | `timeline_page` | [`TimelineReader`]: pages of a timeline, across gaps |
//! | `unused_devices` | [`UnusedDevices`]: deleting devices that were not used for a long time |
//! | [`third_party_networks`] | users and rooms of networks behind bridges |
//! | `user_deactivation` | [`UserDeactivation`]: closing an account and leaving its rooms |

#![warn(missing_docs, unreachable_pub)]

mod admin_json;
mod client_addresses;
mod client_events;
mod complex_rooms;
pub mod dehydrated_devices;
pub mod delayed_events;
mod directory_rules;
mod email_validation;
pub mod event_json;
mod expiring_messages;
mod invite_accepter;
mod local_echo_order;
mod login_sessions;
mod mail_tasks;
pub mod media_tasks;
mod member_events;
mod profile_rules;
mod rate_limits;
mod registration;
mod related_redactions;
mod remote_keys;
mod remote_profiles;
mod remote_public_rooms;
mod remote_room_summaries;
pub mod rendezvous;
mod reports;
mod room_directory;
mod room_purge;
mod room_resolver;
pub mod search;
mod server_notices;
mod shadow_ban;
pub mod tasks;
pub mod third_party_networks;
mod timeline_page;
mod unused_devices;
mod user_deactivation;

pub use admin_json::{DeviceInfo, RegistrationTokenInfo, UserInfo};
pub use client_addresses::ClientAddresses;
pub use client_events::{ClientEventError, ClientEventParts, ClientEventSender};
pub use complex_rooms::{ComplexRoomLeaver, ComplexRoomTasks};
pub use dehydrated_devices::DehydratedDevices;
pub use delayed_events::DelayedEvents;
pub use directory_rules::DirectoryRules;
pub use email_validation::{
    AddAddressError, EMAIL, EmailValidation, EmailValidationParts, LinkError, ValidationRequest,
    ValidationRequestError, is_opaque_id,
};
pub use expiring_messages::ExpiringMessages;
pub use invite_accepter::InviteAccepter;
pub use local_echo_order::LocalEchoOrder;
pub use login_sessions::{LoginSessionError, LoginSessions};
pub use mail_tasks::{MailTaskHandler, MailTaskScheduler};
pub use member_events::{MemberEventError, SendingAccount};
pub use profile_rules::{ProfileRuleError, ProfileRules};
pub use rate_limits::{RateLimits, check_limit};
pub use registration::{Registration, RegistrationError};
pub use related_redactions::{RelatedRedaction, RelatedRedactions, RelatedRedactor};
pub use remote_keys::{KeyFailures, claim_remote_keys, key_failure, remote_key_timeout};
pub use remote_profiles::{RemoteProfileError, remote_profile};
pub use remote_public_rooms::remote_public_rooms;
pub use remote_room_summaries::{RemoteRoom, RemoteRoomSummaries, RemoteSummary, RequestBudget};
pub use reports::{NewReport, ReportError, Reported, Reports};
pub use room_directory::{RoomDirectory, RoomDirectoryError};
pub use room_purge::{ForgottenRooms, RoomPurge};
pub use room_resolver::{ResolveError, ResolvedRoom, RoomResolver};
pub use server_notices::{Notice, NoticeError, NoticeRoomServices, ServerNoticeSettings, ServerNotices};
pub use timeline_page::{TimelinePage, TimelineRange, TimelineReader};
pub use unused_devices::UnusedDevices;
pub use user_deactivation::{DeactivationError, UserDeactivation};
