//! `plexus token create|list|show|update|delete`: changes registration tokens in the database itself, whether or not
//! the server runs: it keeps nothing about them in memory.

use std::io;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use plexus_accounts::registration_tokens::{self as tokens, Change, DEFAULT_LENGTH, NewToken, RegistrationTokenError};
use plexus_base::{Clock, Random, parse_duration};
use plexus_service::RegistrationTokenInfo;
use plexus_store::repo::registration_tokens::RegistrationToken;
use plexus_store::{Tx, maintenance};
use serde_json::{Value, json};

use crate::command::{CommandError, ConfigArgs, YesNo};
use crate::output;
use crate::{data_dir, wire};

/// The commands on registration tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token that lets people register
    Create(CreateArgs),
    /// List the tokens
    List(ListArgs),
    /// Show one token
    Show(NamedArgs),
    /// Change how often, or until when, a token can be used
    Update(UpdateArgs),
    /// Delete a token
    Delete(NamedArgs),
}

/// The arguments of every command.
#[derive(Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON, as the admin API has it
    #[arg(long)]
    json: bool,
}

/// Arguments of `plexus token create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The token: up to 64 of A-Z, a-z, 0-9 and ._~- [default: one is made up]
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// How many characters a token has that is made up [default: 16]
    #[arg(long, value_name = "NUMBER", conflicts_with = "token")]
    length: Option<usize>,
    /// How many accounts can be registered with it [default: any number]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    uses: Option<u64>,
    /// How long it can be used, as 7d or 12h [default: without end]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `plexus token list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// List only those that can be used, or only those that cannot
    #[arg(long, value_name = "yes|no")]
    valid: Option<YesNo>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of commands on one token.
#[derive(Debug, Args)]
pub(super) struct NamedArgs {
    /// The token
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `plexus token update`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct UpdateArgs {
    /// The token
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: String,
    /// How many accounts can be registered with it, those included that were already
    #[arg(long, value_name = "NUMBER", group = "change",
          value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    uses: Option<u64>,
    /// Let any number of accounts be registered with it
    #[arg(long, group = "change", conflicts_with = "uses")]
    unlimited: bool,
    /// How long it can be used from now on, as 7d or 12h
    #[arg(long, value_name = "DURATION", group = "change", value_parser = duration)]
    expires_in: Option<Duration>,
    /// Let it be used without end
    #[arg(long, group = "change", conflicts_with = "expires_in")]
    never_expires: bool,
    #[command(flatten)]
    common: CommonArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).ok_or_else(|| "expected a number with a unit, as 30m, 12h, 7d or 4w".to_owned())?;
    match i64::try_from(duration.as_millis()) {
        Ok(_) => Ok(duration),
        Err(_) => Err("that is longer than any token lasts; leave it out for one without end".to_owned()),
    }
}

/// Runs `plexus token ...`.
///
/// # Errors
/// When the database cannot be opened, or the token is not as it should be.
pub(super) fn run(command: &TokenCommand) -> Result<(), CommandError> {
    let now = Clock::system().now_ms();
    match command {
        TokenCommand::Create(args) => {
            let token = match &args.token {
                Some(token) => NewToken::Given(token.clone()),
                None => NewToken::Generated(args.length.unwrap_or(DEFAULT_LENGTH)),
            };
            let allows = Change { uses_allowed: Some(args.uses), expiry_ts: Some(until(now, args.expires_in)) };
            let random = Random::system();
            let created = edit(&args.common, move |tx| tokens::create(tx, &random, now, token, allows))?;
            if args.common.json {
                print_json(&json(created))?;
            } else {
                // Alone on its line, for scripts.
                output::line(created.token)?;
            }
        }
        TokenCommand::List(args) => {
            let valid = args.valid.map(|valid| valid == YesNo::Yes);
            let found = edit(&args.common, move |tx| Ok(tokens::list(tx, valid, now)?))?;
            if args.common.json {
                print_json(&json!({ "registration_tokens": found.into_iter().map(json).collect::<Vec<_>>() }))?;
            } else {
                print_table(&found)?;
            }
        }
        TokenCommand::Show(args) => {
            let found = edit(&args.common, |tx| tokens::get(tx, &args.token))?;
            print_one(&args.common, found)?;
        }
        TokenCommand::Update(args) => {
            let uses_allowed = (args.unlimited || args.uses.is_some()).then_some(args.uses);
            let expiry_ts = (args.never_expires || args.expires_in.is_some()).then(|| until(now, args.expires_in));
            let change = Change { uses_allowed, expiry_ts };
            let updated = edit(&args.common, move |tx| tokens::update(tx, now, &args.token, change))?;
            print_one(&args.common, updated)?;
        }
        TokenCommand::Delete(args) => {
            edit(&args.common, |tx| tokens::delete(tx, &args.token))?;
            if args.common.json {
                print_json(&json!({}))?;
            } else {
                output::line(format_args!("Deleted {}.", args.token))?;
            }
        }
    }
    Ok(())
}

fn until(now: u64, duration: Option<Duration>) -> Option<u64> {
    let duration = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok())?;
    Some(now.saturating_add(duration).min(i64::MAX as u64))
}

fn edit<T: Send>(
    args: &CommonArgs,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, RegistrationTokenError> + Send,
) -> Result<T, CommandError> {
    let options = wire::database_options(&data_dir::load(&args.config)?.config)?;
    Ok(maintenance::edit(&options, f)??)
}

fn json(token: RegistrationToken) -> Value {
    json!(RegistrationTokenInfo::from(token))
}

fn print_json(value: &Value) -> io::Result<()> {
    output::line(format_args!("{value:#}"))
}

fn print_one(args: &CommonArgs, token: RegistrationToken) -> io::Result<()> {
    if args.json { print_json(&json(token)) } else { print_table(&[token]) }
}

fn print_table(tokens: &[RegistrationToken]) -> io::Result<()> {
    let width = tokens.iter().map(|token| token.token.len()).max().unwrap_or(0).max("token".len());
    output::line(format_args!("{:<width$}  {:>9}  {:>7}  {:>9}  expires", "token", "uses", "pending", "completed"))?;
    for token in tokens {
        let uses = token.uses_allowed.map_or_else(|| "any".to_owned(), |uses| uses.to_string());
        let expires = token.expiry_ts.map_or_else(|| "never".to_owned(), output::date);
        let (token, pending, completed) = (&token.token, token.pending, token.completed);
        output::line(format_args!("{token:<width$}  {uses:>9}  {pending:>7}  {completed:>9}  {expires}"))?;
    }
    Ok(())
}
