//! Questions on the terminal.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Prints `question` and reads a line, without its end.
///
/// # Errors
/// When the terminal cannot be read, or is at its end.
pub(super) fn line(question: &str) -> io::Result<String> {
    eprint!("{question}");
    io::stderr().flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no answer given"));
    }
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}

/// As [`line`], without showing what is typed.
///
/// # Errors
/// As [`line`].
pub(super) fn secret(question: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return line(question);
    }
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let answer = line(question);
    tcsetattr(io::stdin(), OptionalActions::Flush, &before)?;
    eprintln!();
    answer
}

/// Asks for a new password twice, until both are the same and not empty.
///
/// # Errors
/// As [`line`].
pub(super) fn new_password() -> io::Result<String> {
    loop {
        let password = secret("Password: ")?;
        if password.is_empty() {
            eprintln!("The password must not be empty.");
            continue;
        }
        if secret("Confirm password: ")? == password {
            return Ok(password);
        }
        eprintln!("The passwords differ.");
    }
}

/// Returns the new password that an option gives, or the file that another one names (`-`: standard input), or that is
/// typed.
///
/// # Errors
/// When the file or the terminal cannot be read, or the password is empty.
pub(super) fn given_password(given: Option<&str>, file: Option<&Path>) -> io::Result<String> {
    if let Some(password) = given {
        return not_empty(password, "the password is empty; leave -p out to be asked for it".to_owned());
    }
    let Some(path) = file else {
        return new_password();
    };
    let text = if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read the password file {}: {error}", path.display()))
    })?;
    not_empty(
        text.trim_end_matches(['\n', '\r']),
        format!("the password file {} is empty; write the password into it", path.display()),
    )
}

fn not_empty(password: &str, otherwise: String) -> io::Result<String> {
    if password.is_empty() {
        Err(io::Error::new(io::ErrorKind::InvalidInput, otherwise))
    } else {
        Ok(password.to_owned())
    }
}

/// Asks a question. Returns whether the answer is yes; anything else is no.
///
/// # Errors
/// As [`line`].
pub(super) fn is_yes(question: &str) -> io::Result<bool> {
    Ok(matches!(line(question)?.to_lowercase().as_str(), "y" | "yes" | "true"))
}
