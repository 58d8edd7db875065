//! Questions on the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Prints `question` and reads a line, without its end.
///
/// # Errors
/// When the terminal cannot be read, or is at its end.
pub fn line(question: &str) -> io::Result<String> {
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
pub fn secret(question: &str) -> io::Result<String> {
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
pub fn new_password() -> io::Result<String> {
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
