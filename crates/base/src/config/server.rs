use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::listeners::MANHOLE;
use super::{Email, IpRange, Listener, Secret};
use crate::forward_proxy::{EnvironmentError, ForwardProxies, ProxyException, ProxyOption, ProxyVariables};
use crate::schema::{MapReader, choice, options};

options! {
    /// The server's name, addresses and defaults.
    pub struct ServerSection checked by check_server {
        /// The server's name, the domain of its user ids. It can never be changed: a database belongs to one name.
        acts server_name: String,
        /// The file to which a daemon writes its process id.
        acts pid_file: Option<PathBuf>,
        /// Whether to run in the background. `plexus start` does so without it.
        acts daemonize: bool = false,
        /// Whether a daemon prints its process id.
        acts print_pidfile: bool = false,
        /// Text appended to the User-Agent header of outgoing requests.
        acts user_agent_suffix: Option<String>,
        /// Whether Synapse freezes event dictionaries.
        moot use_frozen_dicts: bool = false,
        /// The URL to which `/` redirects.
        acts web_client_location: Option<String>,
        /// The URL at which clients reach this server, with a slash at the end. Without it `https://` and the server's
        /// name are assumed.
        acts public_baseurl: Option<String>,
        /// Whether `/.well-known/matrix/server` is served here. It directs other servers to port 443 of the server's
        /// name itself, whatever `public_baseurl` says: only if `/_matrix` is passed on there too.
        acts serve_server_wellknown: bool = false,
        /// Additional members of `/.well-known/matrix/client`.
        acts extra_well_known_client_content: Map<String, Value>,
        /// The limit of open files to request from the system; 0 keeps the system's.
        acts soft_file_limit: u32 = 0,
        /// Presence.
        acts presence: Presence,
        /// Whether presence is tracked: the old form of `presence.enabled`.
        acts use_presence: Option<bool>,
        /// Whether reading a profile requires an access token.
        acts require_auth_for_profile_requests: bool = false,
        /// Whether profiles are shown only to users who share a room.
        acts limit_profile_requests_to_users_who_share_rooms: bool = false,
        /// Whether an invite contains the invited user's name and avatar.
        acts include_profile_data_on_invite: bool = true,
        /// Whether clients can follow profiles of this server's users, by /sync (MSC4429) and sliding sync (MSC4262).
        acts include_profile_updates_in_sync: bool = false,
        /// Whether the list of public rooms can be read without an access token.
        acts allow_public_rooms_without_auth: bool = false,
        /// Whether other servers may read the list of public rooms.
        acts allow_public_rooms_over_federation: bool = false,
        /// The version of new rooms.
        acts default_room_version: String = "12".to_owned(),
        /// Thresholds of Python's garbage collector.
        moot gc_thresholds: Option<Vec<u32>>,
        /// Minimum time between runs of Python's garbage collector, for each generation.
        moot gc_min_interval: Option<Value>,
        /// The most events of one room in a response of /sync or search; -1 for no limit.
        acts filter_timeline_limit: i64 = 100,
        /// Whether only server administrators may invite.
        acts block_non_admin_invites: bool = false,
        /// Whether messages can be searched.
        acts enable_search: bool = true,
        /// Addresses that outgoing requests must not contact: push gateways, identity servers, other servers.
        acts ip_range_blacklist: Vec<IpRange> = private_ranges(),
        /// Exceptions from `ip_range_blacklist`.
        acts ip_range_whitelist: Vec<IpRange>,
        /// The ports and unix sockets on which the server listens.
        acts listeners: Vec<Listener>,
        /// How to send mail. Without it no mail is sent.
        acts email: Option<Email>,
        /// Addresses that requests to other servers must not contact, if different from `ip_range_blacklist`.
        acts federation_ip_range_blacklist: Option<Vec<IpRange>>,
        /// The port of Synapse's interactive Python console.
        moot manhole: Option<u16>,
        /// Access to Synapse's interactive Python console.
        moot manhole_settings: Option<ManholeSettings>,
        /// The proxy for requests to http URLs; without it, the one in the environment variable `http_proxy` (in any
        /// case). An empty text means no proxy.
        acts http_proxy: Option<ProxyOption>,
        /// The proxy for requests to https URLs, which include all requests to other servers; without it, the one in
        /// the environment variable `https_proxy` (in any case). An empty text means no proxy.
        acts https_proxy: Option<ProxyOption>,
        /// Destinations that are contacted without a proxy: hosts with their subdomains, addresses and ranges, each
        /// with or without a port, or `*`; without it, those in the environment variable `no_proxy`.
        acts no_proxy_hosts: Option<Vec<ProxyException>>,
        /// Account management by Matrix Authentication Service.
        later matrix_authentication_service: MatrixAuthenticationService,
        /// How many forward extremities a room may have before an empty event merges them.
        acts dummy_events_threshold: u32 = 10,
        /// Whether empty events are sent to merge forward extremities.
        acts cleanup_extremities_with_dummy_events: bool = true,
        /// Devices that were not used for this long are logged out and deleted, once a day; never when not set.
        acts delete_stale_devices_after: Option<Duration>,
        /// The longest delay of a delayed event; without it there are no delayed events.
        acts max_event_delay_duration: Option<Duration>,
        /// Kinds of accounts.
        later user_types: UserTypes,
        /// Whether messages can carry their own expiry (`org.matrix.self_destruct_after`, Unix ms). Their content is
        /// deleted then.
        acts enable_ephemeral_messages: bool = false,
        /// Whether outgoing requests accept every TLS certificate, so that anybody on the way can read and change them.
        /// To find out why connections fail, and for nothing else.
        acts use_insecure_ssl_client_just_for_testing_do_not_use: bool = false,
    }
}

impl ServerSection {
    /// Takes from the environment what the options about forward proxies leave open.
    ///
    /// # Errors
    /// A variable that is wrong and that no option overrides.
    pub fn complete_proxies(&mut self, environment: &ProxyVariables) -> Result<(), EnvironmentError> {
        if self.http_proxy.is_none() {
            self.http_proxy = environment.proxy("http_proxy")?;
        }
        if self.https_proxy.is_none() {
            self.https_proxy = environment.proxy("https_proxy")?;
        }
        if self.no_proxy_hosts.is_none() {
            self.no_proxy_hosts = environment.no_proxy()?;
        }
        Ok(())
    }

    /// Returns the proxies that requests go through.
    pub fn forward_proxies(&self) -> ForwardProxies {
        let proxy = |option: &Option<ProxyOption>| match option {
            Some(ProxyOption::Through(url)) => Some(url.clone()),
            Some(ProxyOption::Direct) | None => None,
        };
        ForwardProxies {
            http: proxy(&self.http_proxy),
            https: proxy(&self.https_proxy),
            no_proxy: self.no_proxy_hosts.clone().unwrap_or_default().into(),
        }
    }

    /// Returns the URL at which clients reach this server, with a slash at the end.
    pub fn base_url(&self) -> String {
        match &self.public_baseurl {
            Some(url) => url.clone(),
            None => format!("https://{}/", self.server_name),
        }
    }
}

/// What is said of `use_insecure_ssl_client_just_for_testing_do_not_use`.
const INSECURE: &str = "no certificate of other servers and services is checked: anybody between them and this server \
                        can read and change what is sent; remove it";

fn check_server(mut section: ServerSection, map: &mut MapReader<'_, '_>) -> ServerSection {
    if section.use_insecure_ssl_client_just_for_testing_do_not_use {
        map.warn("use_insecure_ssl_client_just_for_testing_do_not_use", INSECURE);
    }
    if !is_server_name(&section.server_name) {
        let message = format!(
            "found {:?}; allowed is a host name or address, with or without a port, such as example.com",
            section.server_name
        );
        map.error("server_name", message);
    }
    if let Some(url) = &mut section.public_baseurl {
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
        let valid = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']));
        if !valid {
            let message =
                format!("found {url:?}; allowed is an http or https address without query");
            map.error("public_baseurl", message);
        } else if !url.ends_with('/') {
            url.push('/');
        }
    }
    if section.use_presence == Some(false) && !map.sets("presence") {
        section.presence.enabled = PresenceMode::Disabled;
    }
    if section.listeners.is_empty() && map.sets("server_name") {
        map.warn("listeners", "no listener is configured: nobody can reach the server");
    }
    if section.max_event_delay_duration.is_some_and(|delay| delay.is_zero()) {
        map.error("max_event_delay_duration", "found 0; allowed are durations that are longer");
    }
    if section.manhole.is_some() {
        map.warn("manhole", format!("not opened: {MANHOLE}"));
    }
    let known = (1..=12).any(|version| section.default_room_version == version.to_string());
    if !known {
        let message = format!(
            "found {:?}; allowed is a room version from 1 to 12",
            section.default_room_version
        );
        map.error("default_room_version", message);
    }
    section
}

/// Whether a name follows the grammar of server names: a host name, an IPv4 address or an IPv6 address in brackets, and
/// an optional port.
fn is_server_name(name: &str) -> bool {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (name, None),
    };
    let port_valid = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let host_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=255).contains(&host.len())
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        }
    };
    host_valid && port_valid
}

/// Private, link-local, multicast and documentation addresses.
pub(super) fn private_ranges() -> Vec<IpRange> {
    const RANGES: [&str; 19] = [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "169.254.0.0/16",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
        "2001:db8::/32",
        "ff00::/8",
        "fec0::/10",
    ];
    RANGES.into_iter().filter_map(IpRange::parse).collect()
}

options! {
    /// Presence.
    pub struct Presence {
        /// Whether presence is tracked and shown. `untracked` shows what clients set without tracking activity.
        acts enabled: PresenceMode = PresenceMode::Enabled,
        /// Whether an initial sync includes users who are offline.
        acts include_offline_users_on_sync: bool = false,
        /// The resolution of `last_active_ago`: within this time a user counts as currently active.
        acts last_active_granularity: Duration = Duration::from_secs(60),
        /// How long after the last sync a user is offline.
        acts sync_online_timeout: Duration = Duration::from_secs(30),
        /// How long after the last activity a user is idle.
        acts idle_timeout: Duration = Duration::from_secs(300),
        /// A Python module that decides who sees whose presence: the old form of `modules`.
        later presence_router: Option<Map<String, Value>>,
    }
}

choice! {
    /// Whether presence is tracked.
    pub enum PresenceMode {
        /// Tracked and shown.
        Enabled = "true",
        /// Neither tracked nor shown.
        Disabled = "false",
        /// Shown as set by clients, not tracked.
        Untracked = "untracked",
    }
}

options! {
    /// Access to Synapse's interactive Python console.
    pub struct ManholeSettings {
        /// The user's name.
        moot username: Option<String> = Some("matrix".to_owned()),
        /// The user's password.
        moot password: Option<Secret> = Some(Secret::new("rabbithole")),
        /// The private SSH key of the console.
        moot ssh_priv_key_path: Option<PathBuf>,
        /// The public SSH key of the console.
        moot ssh_pub_key_path: Option<PathBuf>,
    }
}

options! {
    /// Account management by Matrix Authentication Service.
    pub struct MatrixAuthenticationService checked by check_mas {
        /// Whether that service manages accounts.
        refused(
            "accounts that were locked or removed there could still log in here by an old password; set it \
             to false to manage accounts here"
        ) enabled: bool = false,
        /// The URL of the service.
        later endpoint: String = "http://localhost:8080".to_owned(),
        /// Whether to use HTTP/2 without negotiation.
        later force_http2: bool = false,
        /// The secret shared with the service.
        later secret: Option<Secret>,
        /// A file that holds `secret`.
        later secret_path: Option<PathBuf>,
    }
}

fn check_mas(
    mut section: MatrixAuthenticationService,
    map: &mut MapReader<'_, '_>,
) -> MatrixAuthenticationService {
    let path = section.secret_path.as_deref();
    section.secret = map.secret("secret", section.secret, "secret_path", path);
    if section.enabled && section.secret.is_none() {
        map.error("secret", "required when enabled, but neither it nor secret_path is set");
    }
    section
}

options! {
    /// Kinds of accounts.
    pub struct UserTypes {
        /// The default type of new accounts.
        later default_user_type: Option<String>,
        /// Types besides `support` and `bot`.
        later extra_user_types: Vec<String>,
    }
}
