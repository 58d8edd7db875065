//! A private PostgreSQL cluster: created on first use in a test process, removed when the process ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The name of the cluster's superuser.
pub const USER: &str = "plexus";

/// Creates the cluster, reports it, and removes it when standard input ends, also because the test process is killed.
/// `$1` is the folder, `$2` more settings.
const SCRIPT: &str = r#"
trap 'pg_ctl -D "$1/data" -m immediate stop >/dev/null 2>&1; rm -rf "$1"' EXIT
initdb -D "$1/data" -U plexus -A trust -E UTF8 --locale=C --no-sync >"$1/initdb.log" 2>&1 || {
    echo "initdb failed: $(tr '\n' ' ' <"$1/initdb.log")"; exit 1; }
pg_ctl -D "$1/data" -w -t 120 -l "$1/log" start -o "-c listen_addresses='' \
    -c unix_socket_directories='$1' -c max_connections=300 -c shared_buffers=64MB $2" >/dev/null 2>&1 || {
    echo "PostgreSQL did not start: $(tail -n 3 "$1/log" | tr '\n' ' ')"; exit 1; }
echo ready
read -r _
"#;

/// A running PostgreSQL cluster. It listens only on a Unix socket in its folder.
pub struct Cluster {
    folder: PathBuf,
    /// Its standard input keeps the cluster alive.
    _keeper: Child,
}

impl Cluster {
    /// Starts a cluster. With `durable`, commits reach the disk; tests do without.
    pub fn start(durable: bool) -> Result<Self, String> {
        Self::start_with(if durable { "" } else { "-c fsync=off -c full_page_writes=off" }, &[])
    }

    /// Starts a cluster with settings (`-c name=value ...`) and with files, as names and contents, in the parent folder
    /// of its working directory.
    pub fn start_with(settings: &str, files: &[(&str, &str)]) -> Result<Self, String> {
        let bin = binaries().ok_or("no PostgreSQL binaries (initdb) were found")?;
        let root = std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0);
        let folder = make_folder(root)?;
        for (name, content) in files {
            write_file(&folder.join(name), content).map_err(|error| format!("{name}: {error}"))?;
        }
        // PostgreSQL refuses to run as root.
        let mut command = if root {
            let user = unprivileged_user()?;
            let paths = files.iter().map(|(name, _)| folder.join(name)).chain([folder.clone()]);
            for path in paths {
                chown(path, Some(user.uid), Some(user.gid)).map_err(|error| error.to_string())?;
            }
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
            command.args(["--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let mut keeper = command
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(settings)
            .env("PATH", format!("{}:{path}", bin.display()))
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start a shell for PostgreSQL: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        if line.trim() != "ready" {
            return Err(format!("{} (binaries: {})", line.trim(), bin.display()));
        }
        Ok(Self { folder, _keeper: keeper })
    }

    /// Returns the folder of its socket, the value of `host`.
    pub fn host(&self) -> &Path {
        &self.folder
    }

    /// Runs statements in the cluster's own database, each in its own transaction.
    pub fn admin(&self, statements: &[&str]) -> Result<(), tokio_postgres::Error> {
        self.run_in("postgres", statements)
    }

    /// Like [`Cluster::admin`], in the database `name`.
    pub fn run_in(&self, name: &str, statements: &[&str]) -> Result<(), tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).user(USER).dbname(name);
        // The caller's thread may have a runtime already.
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(async {
                    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                    let run = async {
                        for statement in statements {
                            client.batch_execute(statement).await?;
                        }
                        Ok(())
                    };
                    tokio::select! {
                        result = run => result,
                        lost = connection => lost,
                    }
                })
            });
            run.join().expect("the administrator's thread does not panic")
        })
    }
}

/// Returns the test process's cluster. `None` when PostgreSQL is not installed, which is reported once on standard
/// error, past the test harness, and fails when `PLEXUS_REQUIRE_SERVICES=1`.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| match Cluster::start(false) {
            Ok(cluster) => Some(cluster),
            Err(reason) => {
                crate::skip("the PostgreSQL half of these tests", &reason);
                None
            }
        })
        .as_ref()
}

/// Returns the folder with `initdb` and `pg_ctl`: on PATH, by pg_config, or in Debian's place (newest first).
fn binaries() -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    candidates.extend(versions.into_iter().map(|(_, path)| path));
    candidates.into_iter().find(|path| path.join("initdb").is_file() && path.join("pg_ctl").is_file())
}

/// Writes a file that only its owner may read, as PostgreSQL requires of keys.
fn write_file(path: &Path, content: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(content.as_bytes())
}

fn make_folder(root: bool) -> Result<PathBuf, String> {
    // Another user must be able to access it.
    let parent = if root { PathBuf::from("/tmp") } else { std::env::temp_dir() };
    let folder = parent.join(format!("plexus-pg-{}", crate::unique_name()));
    std::fs::create_dir(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

struct User {
    uid: u32,
    gid: u32,
}

fn unprivileged_user() -> Result<User, String> {
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let find = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == wanted).then_some(User { uid, gid })
        })
    };
    find("postgres").or_else(|| find("nobody")).ok_or_else(|| "there is no user to run PostgreSQL as".to_owned())
}
