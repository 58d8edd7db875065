//! Tasks are spawned in one place, which names them, logs their panics and ends them at shutdown.

use crate::source::{Source, Token};

use super::{Rule, Violation};

/// Where else tasks may be spawned.
const ALLOWED: &[&str] = &[
    // Spawns the tasks of all others.
    "crates/base/src/background.rs",
    // A task per connection, which ends with it.
    "crates/net/src/http/pool.rs",
    "crates/net/src/http/proxy.rs",
    "crates/server/src/listen.rs",
    // The persister, which writes everything that is queued before it ends.
    "crates/rooms/src/write/persist.rs",
    // The control socket, which outlives the background tasks: it says when the server has ended.
    "crates/server/src/serve.rs",
    "crates/testkit/",
    "crates/bench/",
    "crates/xtask/",
];

/// The functions of tokio that spawn a task nobody need wait for.
const SPAWNERS: &[&str] = &["spawn", "spawn_local"];
/// The modules and types that have them.
const OWNERS: &[&str] = &["tokio", "task", "Handle"];

/// Adds the places of a source file that spawn tasks and must not.
pub(super) fn check(source: &Source<'_>, found: &mut Vec<Violation>) {
    if source.is_test() || ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
        return;
    }
    for window in source.tokens_without_tests().windows(4) {
        if spawns(window) {
            found.push(Violation {
                rule: Rule::Tasks,
                path: source.path.to_owned(),
                line: window[3].line,
                count: 1,
                message: format!("{}::{} is used outside base::Background", window[0].text, window[3].text),
            });
        }
    }
}

/// Whether four tokens are `tokio::spawn` or the like, called or imported.
fn spawns(tokens: &[Token<'_>]) -> bool {
    let [owner, first, second, function] = tokens else { return false };
    OWNERS.iter().any(|it| owner.is(it)) && first.is(":") && second.is(":") && SPAWNERS.iter().any(|it| function.is(it))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::broken_lines;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        broken_lines(check, path, text)
    }

    #[test]
    fn tasks_are_spawned_where_they_may_be() {
        let text = "use tokio::task::spawn;\nfn a() {\n tokio::spawn(b);\n background.spawn(c);\n set.spawn(d);\n \
                    tokio::task::spawn_blocking(e);\n task::spawn_local(f);\n std::thread::spawn(g);\n}";
        assert_eq!(lines("crates/rooms/src/a.rs", text), [1, 3, 7]);
        assert!(lines("crates/base/src/background.rs", text).is_empty());
        assert!(lines("crates/server/tests/it/a.rs", text).is_empty());
        assert!(lines("crates/media/src/a.rs", "#[cfg(test)] mod tests { fn a() { tokio::spawn(b); } }").is_empty());
    }
}
