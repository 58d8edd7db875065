//! `plexus user`: accounts, while the server runs (through its control socket) or is stopped (in its database).

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use plexus_base::telemetry::escaped;
use plexus_service::{DeviceInfo, UserInfo};
use plexus_store::{Database, OpenError};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::control::control_client;
use super::prompt;
use crate::command::{CommandError, ConfigArgs};
use crate::control_socket::ControlClient;
use crate::output;
use crate::start_error::StartError;
use crate::users::{LeavingRooms, UserAdmin, UserReply, UserRequest};
use crate::{data_dir, wire};

/// The commands on accounts.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List the users of this server
    List {
        /// Deactivated users, too
        #[arg(short, long)]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Show a user and their devices
    Show(Named),
    /// Set a user's password, and end all their sessions
    Password {
        #[command(flatten)]
        named: Named,
        /// The new password; asked for when not given
        #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_file")]
        password: Option<String>,
        /// File with the new password; - reads standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Leave the user logged in
        #[arg(long)]
        keep_sessions: bool,
    },
    /// Make a user an administrator, or take that back
    Admin {
        /// The user: alice, or @alice:example.com
        user: String,
        /// Whether the user is an administrator
        #[arg(value_name = "on|off")]
        switch: Switch,
        #[command(flatten)]
        common: Common,
    },
    /// Lock a user out until `plexus user unlock`: nothing is lost, nothing but logging out is possible
    Lock(Named),
    /// Let a locked user in again
    Unlock(Named),
    /// Close an account for good: sessions, keys and devices are deleted, and the user leaves all rooms
    Deactivate {
        #[command(flatten)]
        named: Named,
        /// Also delete the profile, and hide the user's messages from those who have not seen them
        #[arg(long)]
        erase: bool,
        /// Do not ask whether this is meant
        #[arg(short, long)]
        yes: bool,
    },
}

/// A user, and which server.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The user: alice, or @alice:example.com
    user: String,
    #[command(flatten)]
    common: Common,
}

/// Which server, and how to print.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON, with the names of Synapse's admin API
    #[arg(long)]
    json: bool,
}

/// on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// on
    On,
    /// off
    Off,
}

/// Why a command changed nothing.
#[derive(Debug, thiserror::Error)]
enum UserError {
    #[error("{0}")]
    Failed(String),
    #[error("a deactivated account cannot be opened again: add --yes if that is meant")]
    Unconfirmed,
    #[error("nothing was changed")]
    Declined,
    #[error("the server's reply is not one to this command; restart it if it is of another version")]
    Reply,
    #[error(
        "a server is using the database, but does not listen on its control socket in {}: its log says why; or stop \
         the server first", .0.display()
    )]
    Unreachable(PathBuf),
}

/// Runs `plexus user ...`.
///
/// # Errors
/// When there is no such user, or neither the server nor its database can be reached.
pub(super) fn run(command: UserCommand) -> Result<(), CommandError> {
    match command {
        UserCommand::List { all, common } => list(&common, all),
        UserCommand::Show(Named { user, common }) => show(&common, user),
        UserCommand::Password { named: Named { user, common }, password, password_file, keep_sessions } => {
            let mut server = Server::reach(&common.config)?;
            let password = prompt::given_password(password.as_deref(), password_file.as_deref())?;
            let request = UserRequest::SetPassword { user, password, end_sessions: !keep_sessions };
            let sessions = if keep_sessions { "" } else { ", and has to log in again everywhere" };
            change(&common, &mut server, request, |user| format!("{user} has a new password{sessions}."))
        }
        UserCommand::Admin { user, switch, common } => {
            let admin = switch == Switch::On;
            let is = if admin { "is an administrator" } else { "is not an administrator" };
            let mut server = Server::reach(&common.config)?;
            change(&common, &mut server, UserRequest::SetAdmin { user, admin }, |user| format!("{user} {is}."))
        }
        UserCommand::Lock(named) => set_locked(named, true),
        UserCommand::Unlock(named) => set_locked(named, false),
        UserCommand::Deactivate { named: Named { user, common }, erase, yes } => deactivate(&common, user, erase, yes),
    }
}

fn list(common: &Common, all: bool) -> Result<(), CommandError> {
    let mut server = Server::reach(&common.config)?;
    let mut listed: Vec<UserInfo> = Vec::new();
    let mut after = String::new();
    loop {
        let UserReply::Page { users, more } = server.ask(UserRequest::List { after })? else {
            return Err(UserError::Reply.into());
        };
        after = users.last().map(|user| user.name.clone()).unwrap_or_default();
        listed.extend(users.into_iter().filter(|user| all || !user.deactivated));
        if !more || after.is_empty() {
            break;
        }
    }
    if common.json {
        return print_json(&json!({ "users": listed }));
    }
    if listed.is_empty() {
        output::line("no users yet; `plexus register` makes one while the server runs")?;
    }
    for user in listed {
        output::line([user.name.clone()].into_iter().chain(marks(&user)).collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}

/// Returns the special properties of an account, in words.
fn marks(user: &UserInfo) -> Option<String> {
    let flags = [
        (user.admin, "administrator"),
        (user.is_guest, "guest"),
        (user.locked, "locked"),
        (user.suspended, "suspended"),
        (user.shadow_banned, "shadow-banned"),
        (user.deactivated, "deactivated"),
        (user.erased, "erased"),
    ];
    let mut words: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
    words.extend(user.user_type.as_deref());
    words.extend(user.appservice_id.as_ref().map(|_| "application service"));
    (!words.is_empty()).then(|| words.join(", "))
}

fn show(common: &Common, user: String) -> Result<(), CommandError> {
    let UserReply::One { user, devices } = Server::reach(&common.config)?.ask(UserRequest::Show { user })? else {
        return Err(UserError::Reply.into());
    };
    if common.json {
        let mut shown = serde_json::to_value(&user)?;
        shown["devices"] = json!(devices);
        return print_json(&shown);
    }
    let marks = marks(&user).map(|marks| format!(" ({marks})")).unwrap_or_default();
    output::line(user.name + &marks)?;
    output::line(format_args!("made {}", output::date(user.creation_ts)))?;
    output::line(if user.has_password { "has a password" } else { "has no password" })?;
    for device in &devices {
        output::line(describe(device))?;
    }
    if devices.is_empty() {
        output::line("is not logged in")?;
    }
    Ok(())
}

fn describe(device: &DeviceInfo) -> String {
    // Clients choose both, and could choose characters that act on a terminal.
    let name = device.display_name.as_ref().map(|name| format!(" ({})", escaped(name))).unwrap_or_default();
    let seen = match (device.last_seen_ts, &device.last_seen_ip) {
        (Some(ts), Some(ip)) => format!("last seen {} at {ip}", output::date(ts)),
        (Some(ts), None) => format!("last seen {}", output::date(ts)),
        (None, _) => "not seen yet".to_owned(),
    };
    format!("device {}{name}, {seen}", escaped(&device.device_id))
}

fn set_locked(Named { user, common }: Named, locked: bool) -> Result<(), CommandError> {
    let is = if locked { "is locked" } else { "is not locked" };
    let mut server = Server::reach(&common.config)?;
    change(&common, &mut server, UserRequest::SetLocked { user, locked }, |user| format!("{user} {is}."))
}

/// Makes a change and prints the result.
fn change(
    common: &Common,
    server: &mut Server,
    request: UserRequest,
    sentence: impl FnOnce(&str) -> String,
) -> Result<(), CommandError> {
    let UserReply::Done { user_id, changed } = server.ask(request)? else {
        return Err(UserError::Reply.into());
    };
    if common.json {
        return print_json(&json!({ "name": user_id, "changed": changed }));
    }
    let unchanged = if changed { "" } else { " Nothing had to be changed." };
    Ok(output::line(sentence(user_id.as_str()) + unchanged)?)
}

fn deactivate(common: &Common, user: String, erase: bool, yes: bool) -> Result<(), CommandError> {
    let mut server = Server::reach(&common.config)?;
    if !yes {
        let UserReply::One { user, .. } = server.ask(UserRequest::Show { user: user.clone() })? else {
            return Err(UserError::Reply.into());
        };
        if !std::io::stdin().is_terminal() {
            return Err(UserError::Unconfirmed.into());
        }
        if !prompt::is_yes(&format!("Close the account {} for good? [no]: ", user.name))? {
            return Err(UserError::Declined.into());
        }
    }
    let UserReply::Deactivated { user_id, leaving_rooms } = server.ask(UserRequest::Deactivate { user, erase })? else {
        return Err(UserError::Reply.into());
    };
    if common.json {
        return print_json(&json!({ "name": user_id, "deactivated": true, "leaving_rooms": leaving_rooms }));
    }
    let leaving = match leaving_rooms {
        LeavingRooms::Now => " and is leaving all rooms.",
        LeavingRooms::AtNextStart => ". The server is stopped: when it starts, the user leaves all rooms.",
    };
    Ok(output::line(format_args!("{user_id} is deactivated{leaving}"))?)
}

fn print_json(value: &Value) -> Result<(), CommandError> {
    Ok(output::line(serde_json::to_string_pretty(value)?)?)
}

/// The server whose users are changed.
enum Server {
    /// It runs, and gets a request.
    Running(ControlClient),
    /// It does not run; its database is locked until the command ends, so that it cannot start meanwhile.
    Stopped { runtime: Runtime, database: Database, users: Box<UserAdmin> },
}

impl Server {
    fn reach(args: &ConfigArgs) -> Result<Self, CommandError> {
        let (folder, client) = control_client(args)?;
        if let Some(client) = client {
            return Ok(Self::Running(client));
        }
        let config = data_dir::load(args)?.config;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (database, users) = runtime.block_on(wire::stopped_users(&config)).map_err(|error| match error {
            StartError::Database(OpenError::InUse(_)) => UserError::Unreachable(folder).into(),
            other => CommandError::from(other),
        })?;
        Ok(Self::Stopped { runtime, database, users: Box::new(users) })
    }

    fn ask(&mut self, request: UserRequest) -> Result<UserReply, CommandError> {
        let reply = match self {
            Self::Running(client) => client.ask(request)?,
            Self::Stopped { runtime, users, .. } => runtime.block_on(users.carry_out(request)),
        };
        match reply {
            UserReply::Failed { error } => Err(UserError::Failed(error).into()),
            reply => Ok(reply),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Stopped { runtime, database, .. } = self {
            runtime.block_on(database.close());
        }
    }
}
