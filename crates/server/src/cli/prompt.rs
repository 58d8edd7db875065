//! Questions on the terminal.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::iter::Peekable;
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// How long a signal to this process may take. It never comes if it is ignored.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(1);

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
    let silent = Silent::begin()?;
    eprint!("{question}");
    io::stderr().flush()?;
    let answer = typed(io::stdin().lock());
    drop(silent);
    eprintln!();
    if matches!(&answer, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
        // As if the terminal had done it, now that it shows again what is typed.
        kill_process(getpid(), Signal::INT)?;
        // It ends the program at once, or a moment later if another thread receives it.
        std::thread::park_timeout(SIGNAL_TIMEOUT);
    }
    answer
}

/// How the terminal was before a [`Silent`] changed it, while there is one. Owned by this process.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether [`watch_signals`] has begun.
static IS_WATCHED: Mutex<bool> = Mutex::new(false);
/// The signals that end the program while a question is asked: the terminal is closed, or somebody ends the program.
const ENDING_SIGNALS: [SignalKind; 2] = [SignalKind::terminate(), SignalKind::hangup()];
/// What a shell adds to the number of the signal that has ended a program, for its exit code.
const SIGNAL_EXIT_CODE: i32 = 128;

/// A terminal that does not show what is typed, and passes on every key instead of ending the program, until dropped or
/// until a signal ends the program.
struct Silent;

impl Silent {
    fn begin() -> io::Result<Self> {
        watch_signals()?;
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        *BEFORE.lock() = Some(before);
        let begun = Self;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(begun)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        restore_terminal(&mut BEFORE.lock());
    }
}

fn restore_terminal(before: &mut Option<Termios>) {
    if let Some(before) = before.take() {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

/// Has [`ENDING_SIGNALS`] restore the terminal before they end the program, from now on.
fn watch_signals() -> io::Result<()> {
    let mut is_watched = IS_WATCHED.lock();
    if *is_watched {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let registered = {
        let _entered = runtime.enter();
        ENDING_SIGNALS.map(|kind| signal(kind).map(|signal| (kind, signal)))
    };
    let [terminate, hang_up] = registered;
    let ((terminate, mut terminated), (hang_up, mut hung_up)) = (terminate?, hang_up?);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let received = runtime.block_on(async {
            tokio::select! {
                _ = terminated.recv() => terminate,
                _ = hung_up.recv() => hang_up,
            }
        });
        // Held until the end: nobody changes the terminal again.
        let mut before = BEFORE.lock();
        restore_terminal(&mut before);
        std::process::exit(SIGNAL_EXIT_CODE + received.as_raw_value());
    })?;
    *is_watched = true;
    Ok(())
}

/// Reads a line from a terminal that passes on every key. Keys that write nothing have no effect.
fn typed(keys: impl io::BufRead) -> io::Result<String> {
    const INTERRUPT: u8 = 0x03;
    const QUIT: u8 = 0x1c;
    const END: u8 = 0x04;
    const KILL_LINE: u8 = 0x15;
    /// All that is typed is one word: nobody sees where one ends.
    const KILL_WORD: u8 = 0x17;
    const BACKSPACE: u8 = 0x08;
    const DELETE: u8 = 0x7f;
    const ESCAPE: u8 = 0x1b;
    let mut line = Vec::new();
    let mut keys = keys.bytes().peekable();
    while let Some(key) = keys.next() {
        match key? {
            b'\n' | b'\r' => return String::from_utf8(line).map_err(io::Error::other),
            INTERRUPT | QUIT => return Err(io::ErrorKind::Interrupted.into()),
            END => break,
            KILL_LINE | KILL_WORD => line.clear(),
            BACKSPACE | DELETE => {
                // The bytes of the last character.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            ESCAPE => skip_sequence(&mut keys)?,
            0..b' ' => {}
            key => line.push(key),
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no answer given"))
}

/// Skips what follows ESC when an arrow key or the like was pressed (ECMA-48, CSI and SS3).
fn skip_sequence(keys: &mut Peekable<io::Bytes<impl io::BufRead>>) -> io::Result<()> {
    let Some(Ok(b'[' | b'O')) = keys.peek() else { return Ok(()) };
    keys.next();
    // A control character is not part of it: the sequence was cut off.
    while let Some(key) = keys.next_if(|key| !matches!(key, Ok(0..b' '))) {
        if (b'@'..=b'~').contains(&key?) {
            break;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let line = |keys: &[u8]| typed(keys);
        assert_eq!(line("geheim\n".as_bytes()).unwrap(), "geheim");
        assert_eq!(line("ab\u{7f}\u{7f}\u{7f}é\u{8}x\r".as_bytes()).unwrap(), "x");
        assert_eq!(line("wrong\u{15}right\nmore".as_bytes()).unwrap(), "right");
        assert_eq!(line(b"wrong words\x17right\n").unwrap(), "right");
        // Ctrl-Z, Tab, ESC, arrows, F1, F5, Ctrl-Delete.
        assert_eq!(line(b"a\x1ab\tc\x1bd\x1b[A\x1b[De\x1bOPf\x1b[15~g\x1b[3;5~h\n").unwrap(), "abcdefgh");
        assert_eq!(line(b"a\x1b[\n").unwrap(), "a");
        assert_eq!(line(b"a\x1b[1\x03").unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(line(b"half\x04").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(line(b"half\x03").unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
