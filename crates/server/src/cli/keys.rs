//! `plexus generate-signing-key` and `plexus export-signing-key`.

use std::path::PathBuf;

use clap::Args;
use plexus_base::{Clock, Random};

use crate::command::CommandError;
use crate::key_file;
use crate::output;

/// How far in the future an exported key expires by default: six hours, as in Synapse.
const EXPORT_EXPIRY_MS: u64 = 6 * 3_600_000;

/// Arguments of `plexus generate-signing-key`.
#[derive(Debug, Args)]
pub(super) struct GenerateSigningKeyArgs {
    /// The file to write, which must not exist; the key is printed when not given
    #[arg(short = 'o', long = "output_file", alias = "output-file", value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// Makes a key.
///
/// # Errors
/// When the file exists or cannot be written.
pub(super) fn generate(args: &GenerateSigningKeyArgs) -> Result<(), CommandError> {
    let key = key_file::make(&Random::system());
    match &args.output_file {
        Some(path) => key_file::write(path, &key)?,
        None => output::line(key.to_file_line())?,
    }
    Ok(())
}

/// Arguments of `plexus export-signing-key`.
#[derive(Debug, Args)]
pub(super) struct ExportSigningKeyArgs {
    /// Files with signing keys
    #[arg(required = true, value_name = "KEY_FILE")]
    key_file: Vec<PathBuf>,
    /// Print as it goes into old_signing_keys of homeserver.yaml
    #[arg(short = 'x')]
    for_config: bool,
    /// When the key ends, in ms since 1970, for -x [default: in six hours]
    #[arg(long, value_name = "MS")]
    expiry_ts: Option<u64>,
}

/// Prints public keys.
///
/// # Errors
/// When a file cannot be read or holds no key.
pub(super) fn export(args: &ExportSigningKeyArgs) -> Result<(), CommandError> {
    let expiry = args.expiry_ts.unwrap_or_else(|| Clock::system().now_ms() + EXPORT_EXPIRY_MS);
    for path in &args.key_file {
        let key = key_file::read(path)?;
        let (id, public) = (key.key_id(), key.public_key_base64());
        if args.for_config {
            output::line(format_args!("  \"{id}\": {{ key: \"{public}\", expired_ts: {expiry} }}"))?;
        } else {
            output::line(format_args!("{id} {public}"))?;
        }
    }
    Ok(())
}
