use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::listeners::MANHOLE;
use super::{Email, IpRange, Listener, Secret};
use crate::forward_proxy::{EnvironmentError, ForwardProxies, ProxyException, ProxyOption, ProxyVariables};
use crate::schema::{MapReader, choice, options};

options! {
    /// What the server is called, where it is reached and how it treats strangers.
    pub struct ServerSection checked by check_server {
        /// The name that user ids end in. It can never be changed: a database belongs to one name.
        acts server_name: String,
        /// The file that a daemon writes its process id to.
        acts pid_file: Option<PathBuf>,
        /// Whether to run in the background. `plexus start` does so without it.
        acts daemonize: bool = false,
        /// Whether a daemon prints its process id.
        acts print_pidfile: bool = false,
        /// Text appended to the User-Agent header of outgoing requests.
        acts user_agent_suffix: Option<String>,
        /// Whether Synapse freezes event dictionaries.
        moot use_frozen_dicts: bool = false,
        /// Where a visit to `/` is redirected to.
        acts web_client_location: Option<String>,
        /// The address at which clients reach this server, with a slash at the end. Without it `https://` and the
        /// server's name are assumed.
        acts public_baseurl: Option<String>,
        /// Whether `/.well-known/matrix/server` is answered here: it sends other servers to port 443.
        acts serve_server_wellknown: bool = false,
        /// More members for the answer at `/.well-known/matrix/client`.
        acts extra_well_known_client_content: Map<String, Value>,
        /// The limit of open files to ask the system for; 0 leaves the system's.
        acts soft_file_limit: u32 = 0,
        /// Who is online.
        acts presence: Presence,
        /// Whether presence is tracked: the old form of `presence.enabled`.
        acts use_presence: Option<bool>,
        /// Whether reading a profile needs an access token.
        acts require_auth_for_profile_requests: bool = false,
        /// Whether profiles are shown only to users in a common room.
        acts limit_profile_requests_to_users_who_share_rooms: bool = false,
        /// Whether an invite carries the invited user's name and avatar.
        acts include_profile_data_on_invite: bool = true,
        /// Whether /sync tells of changed profiles.
        later include_profile_updates_in_sync: bool = false,
        /// Whether the list of public rooms is shown without an access token.
        acts allow_public_rooms_without_auth: bool = false,
        /// Whether other servers may read the list of public rooms.
        acts allow_public_rooms_over_federation: bool = false,
        /// The version of new rooms.
        acts default_room_version: String = "12".to_owned(),
        /// Thresholds of Python's garbage collector.
        moot gc_thresholds: Option<Vec<u32>>,
        /// Least time between runs of Python's garbage collector, for each generation.
        moot gc_min_interval: Option<Value>,
        /// The most events of one room in one answer of /sync or search; -1 for no limit.
        acts filter_timeline_limit: i64 = 100,
        /// Whether only server administrators may invite.
        acts block_non_admin_invites: bool = false,
        /// Whether messages can be searched.
        later enable_search: bool = true,
        /// Addresses that outgoing requests must not reach: push gateways, identity servers, other servers.
        acts ip_range_blacklist: Vec<IpRange> = private_ranges(),
        /// Exceptions from `ip_range_blacklist`.
        acts ip_range_whitelist: Vec<IpRange>,
        /// The ports and unix sockets the server listens on.
        acts listeners: Vec<Listener>,
        /// How mail is sent. Without it no mail is sent.
        later email: Option<Email>,
        /// Addresses that requests to other servers must not reach, when they are others than `ip_range_blacklist`.
        acts federation_ip_range_blacklist: Option<Vec<IpRange>>,
        /// The port of Synapse's interactive Python console.
        moot manhole: Option<u16>,
        /// How to log in to Synapse's interactive Python console.
        moot manhole_settings: Option<ManholeSettings>,
        /// The proxy for requests to http addresses; without it, the one that the environment variable `http_proxy`
        /// names in any case. An empty text stands for no proxy.
        acts http_proxy: Option<ProxyOption>,
        /// The proxy for requests to https addresses, which are all those to other servers; without it, the one that
        /// the environment variable `https_proxy` names in any case. An empty text stands for no proxy.
        acts https_proxy: Option<ProxyOption>,
        /// What is reached without a proxy: hosts with their subdomains, addresses and ranges, each with a port or
        /// without, or `*`; without it, what the environment variable `no_proxy` lists.
        acts no_proxy_hosts: Option<Vec<ProxyException>>,
        /// Accounts are managed by Matrix Authentication Service.
        later matrix_authentication_service: MatrixAuthenticationService,
        /// How many forward extremities a room may have before an empty event ties them together.
        later dummy_events_threshold: u32 = 10,
        /// Whether empty events are sent to tie forward extremities together.
        later cleanup_extremities_with_dummy_events: bool = true,
        /// Devices not seen for this long are removed. Devices stay logged in however long they are unused; set
        /// `session_lifetime` to end sessions.
        later delete_stale_devices_after: Option<Duration>,
        /// The longest delay a client may ask for a delayed event; without it there are no delayed events.
        later max_event_delay_duration: Option<Duration>,
        /// How many delayed events one user may have scheduled.
        later msc4140_max_delayed_events_per_user: u32 = 100,
        /// Kinds of accounts.
        later user_types: UserTypes,
        /// Whether messages can carry their own expiry (`org.matrix.self_destruct_after`).
        refused(
            "messages that are to expire would stay; remove it to accept that"
        ) enable_ephemeral_messages: bool = false,
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

    /// The address at which clients reach this server, with a slash at the end.
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

/// The grammar of server names: a host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
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
    /// Who is online.
    pub struct Presence {
        /// Whether presence is tracked and shown. `untracked` shows what clients set, and tracks nothing itself.
        acts enabled: PresenceMode = PresenceMode::Enabled,
        /// Whether an initial sync includes users who are offline.
        acts include_offline_users_on_sync: bool = false,
        /// How exact `last_active_ago` is: within this time a user counts as currently active.
        acts last_active_granularity: Duration = Duration::from_secs(60),
        /// A user without an open sync is offline after this time.
        acts sync_online_timeout: Duration = Duration::from_secs(30),
        /// A user who does nothing is idle after this time.
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
        /// Shown as clients set it, not tracked.
        Untracked = "untracked",
    }
}

options! {
    /// How to log in to Synapse's interactive Python console.
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
    /// Accounts are managed by Matrix Authentication Service.
    pub struct MatrixAuthenticationService checked by check_mas {
        /// Whether accounts are managed there and not here.
        refused(
            "accounts that were locked or removed there could still log in here by an old password; set it \
             to false to manage accounts here"
        ) enabled: bool = false,
        /// Where the service is reached.
        later endpoint: String = "http://localhost:8080".to_owned(),
        /// Whether to speak HTTP/2 without negotiation.
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
        /// The kind of a new account that names none.
        later default_user_type: Option<String>,
        /// Kinds beside `support` and `bot`.
        later extra_user_types: Vec<String>,
    }
}
