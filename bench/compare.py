"""The work of compare.sh. Everything listens on 127.0.0.1 only; only processes that were started here are ended."""

import argparse
import json
import os
import pathlib
import platform
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRET = "shared"

# The same for both: no rate limits, guests, and peers on this machine with certificates of their own making.
COMMON = """
enable_registration: true
enable_registration_without_verification: true
registration_shared_secret: shared
allow_guest_access: true
report_stats: false
trusted_key_servers: []
federation_verify_certificates: false
federation: {client_timeout: 600s}
log_config: log.yaml
ip_range_blacklist: []
federation_ip_range_blacklist: []
rc_message: &many {per_second: 1000000, burst_count: 1000000}
rc_registration: *many
rc_login: {address: *many, account: *many, failed_attempts: *many}
rc_joins: {local: *many, remote: *many}
rc_joins_per_room: *many
rc_invites: {per_room: *many, per_user: *many, per_issuer: *many}
rc_media_create: *many
rc_room_creation: *many
rc_profile: *many
rc_presence: {per_user: *many}
rc_federation: {window_size: 1000, sleep_limit: 1000000, sleep_delay: 1, reject_limit: 1000000, concurrent: 1000}
"""
# Cheap password hashes: registering users is not what is measured.
SYNAPSE = """
macaroon_secret_key: macaroon
form_secret: form
bcrypt_rounds: 4
"""
LOGGING = """
version: 1
disable_existing_loggers: false
formatters: {plain: {format: '%(asctime)s %(name)s %(levelname)s %(message)s'}}
handlers: {file: {class: logging.FileHandler, filename: homeserver.log, formatter: plain}}
root: {level: WARNING, handlers: [file]}
"""


def log(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A PostgreSQL of its own, with PostgreSQL's own defaults of durability."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        candidates = [pathlib.Path(shutil.which("initdb") or "/-").resolve().parent]
        candidates += sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        self.bin = next((path for path in reversed(candidates) if (path / "initdb").exists()), None)

    def start(self):
        self.folder.mkdir()
        # PostgreSQL refuses to run as root.
        user = None
        if os.getuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        rights = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        make = [self.bin / "initdb", "-D", self.folder / "data", "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **rights)
        run = [self.bin / "postgres", "-D", self.folder / "data", "-c", "listen_addresses=",
               "-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=100"]
        with open(self.folder / "log", "w") as said:
            self.process = subprocess.Popen(run, stdout=said, stderr=said, cwd=self.folder, start_new_session=True, **rights)
        for _ in range(300):
            try:
                return self.sql("postgres", "SHOW server_version")
            except Exception:
                time.sleep(0.1)
        raise SystemExit("PostgreSQL does not start: " + (self.folder / "log").read_text())

    def sql(self, database, statement):
        import psycopg2
        connection = psycopg2.connect(host=str(self.folder), user="bench", dbname=database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


class Server:
    """A homeserver with a database of its own."""

    def __init__(self, kind, cluster, work):
        self.kind, self.cluster, self.process = kind, cluster, None
        self.name = f"{kind} on {'PostgreSQL' if cluster else 'SQLite'}"
        self.database = self.name.lower().replace(" ", "_")
        self.folder = work / self.database
        self.folder.mkdir()
        self.port = free_port()
        if cluster:
            cluster.sql("postgres", f"CREATE DATABASE {self.database}")
            args = {"user": "bench", "dbname": self.database, "host": str(cluster.folder), "cp_min": 5, "cp_max": 10}
            database = {"name": "psycopg2", "args": args}
        else:
            database = {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}}
        listener = {"port": self.port, "bind_addresses": ["127.0.0.1"], "type": "http",
                    "resources": [{"names": ["client", "federation"]}]}
        if kind == "Plexus":
            listener["resources"][0]["names"].append("metrics")
        own = {"server_name": "bench.example", "listeners": [listener], "database": database,
               "media_store_path": str(self.folder / "media"), "signing_key_path": str(self.folder / "signing.key"),
               "pid_file": str(self.folder / "homeserver.pid"), "enable_metrics": kind == "Plexus"}
        lines = [f"{option}: {json.dumps(value)}" for option, value in own.items()]
        options = "\n".join(lines) + COMMON + (SYNAPSE if kind == "Synapse" else "")
        (self.folder / "homeserver.yaml").write_text(options)
        (self.folder / "log.yaml").write_text(LOGGING)
        (self.folder / "signing.key").write_text("ed25519 a_bench " + "bG9hZCBnZW5lcmF0b3Igc2lnbmluZyBrZXkgc2VlZC4" + "\n")

    def start(self):
        synapse = [sys.executable, "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"]
        plexus = [os.environ["PLEXUS_BIN"], "serve", "-c", "homeserver.yaml"]
        with open(self.folder / "out.log", "a") as said:
            command = synapse if self.kind == "Synapse" else plexus
            self.process = subprocess.Popen(command, stdout=said, stderr=said, cwd=self.folder, start_new_session=True)
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_matrix/client/versions", timeout=5).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not start: " + (self.folder / "out.log").read_text()[-2000:])

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def size(self):
        """Bytes and events of the stopped server's database, vacuumed."""
        if self.cluster:
            self.cluster.sql(self.database, "VACUUM FULL")
            size = self.cluster.sql(self.database, f"SELECT pg_database_size('{self.database}')")
            return size, self.cluster.sql(self.database, "SELECT count(*) FROM events")
        path = self.folder / "homeserver.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        events = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        connection.close()
        return path.stat().st_size, events


class Runs:
    """Runs plexus-bench and keeps its reports."""

    def __init__(self, work):
        self.work, self.reports = work, []

    def bench(self, name, servers, limit, *options):
        """Gives each scenario `limit` seconds."""
        log(name, *options)
        report = self.work / f"{name}.json"
        command = [os.environ["PLEXUS_BENCH_BIN"], "--json-file", report, "--shared-secret", SECRET, "--limit", limit]
        for server in servers:
            command += ["--target", f"{server.name}=http://127.0.0.1:{server.port}", "--pid", server.process.pid]
        started = time.monotonic()
        done = subprocess.run([str(word) for word in [*command, *options]], stdout=subprocess.DEVNULL)
        outcome = "done" if done.returncode == 0 else "failed in part"
        log(f"  {outcome}, {time.monotonic() - started:.0f} s")
        if report.exists():
            self.reports.append(report)

    def keep(self, report):
        path = self.work / f"own-{len(self.reports)}.json"
        path.write_text(json.dumps(report))
        self.reports.append(path)


def disk(runs, servers, events, limit):
    """Bytes on disk an event: the same work for all, and what an empty database takes is not counted."""
    each(servers, "stop")
    empty = [server.size()[0] for server in servers]
    each(servers, "start")
    runs.bench("disk", servers, limit, "growth", "--events", events, "--rounds", 1, "--seconds", 1)
    # Only its database is of interest here.
    runs.reports = [report for report in runs.reports if report.name != "disk.json"]
    each(servers, "stop")
    sizes = [server.size() for server in servers]
    each(servers, "start")
    values = [[(size - before) / max(count, 1)] for before, (size, count) in zip(empty, sizes)]
    figure = {"scenario": "disk", "what": "bytes per event", "unit": "bytes", "better": "less", "rounds": values}
    counts = {"scenario": "disk", "what": "events", "unit": "", "better": "more", "rounds": [[float(c)] for _, c in sizes]}
    runs.keep({"targets": [server.name for server in servers], "figures": [figure, counts]})


def forget_written(path):
    """Takes a program that was just built out of the page cache, where it lies in larger pieces than one that is read as it
    runs: it is to take as much memory as after a restart of the machine."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def each(servers, act):
    for server in servers:
        getattr(server, act)()


def measure(runs, servers, full, parts):
    rounds, seconds = (5, 5) if full else (3, 2)
    pace = ["--rounds", rounds, "--seconds", seconds]
    plexus = [server for server in servers if server.kind == "Plexus"]
    if "disk" in parts:
        disk(runs, servers, *((50_000, 7200) if full else (3000, 240)))
    if "client" in parts:
        # While the servers are new.
        runs.bench("footprint", servers, 3600 if full else 240, "footprint", "--messages", 5000 if full else 1000)
        main = ["send", "send-one-room", "sync-idle", "create-room", "fanout", "sync-initial", "sliding-initial"]
        runs.bench("client", servers, 3600 if full else 150, *main, *pace)
        more = ["history", "search", "join-leave", "e2ee", "media", "pushers"]
        runs.bench("more", servers, 3600 if full else 120, *more, *pace, "--messages", 5000 if full else 300)
    if "mixed" in parts:
        runs.bench("mixed", servers, 3600 if full else 400, "mixed", "--rounds", rounds, "--seconds", 60 if full else 8)
    if "federation" in parts:
        runs.bench("fed-send", servers, 3600 if full else 240, "fed-send", "--rounds", rounds if full else 2,
                   "--pdus", 5000 if full else 500)
    each(servers, "stop")
    for server in servers if "join" in parts else []:
        # Alone: after a join Synapse is busy for minutes with its members.
        server.start()
        runs.bench("join-" + server.database, [server], 3600 if full else 600, "fed-join-large", "--rounds", 5 if full else 3)
        server.stop()
    if parts & {"wide", "connections", "growth"}:
        each(plexus, "start")
    for server in plexus if "wide" in parts else []:
        runs.bench("wide-" + server.database, [server], 3600 if full else 120, "wide-send", *pace)
    for server in plexus if "connections" in parts else []:
        runs.bench("connections-" + server.database, [server], 900 if full else 120, "connections", "--rounds", 1, "--seconds", 60 if full else 10)
    for server in plexus if "growth" in parts else []:
        events = "10000,100000,1000000" if full else "10000,1000000"
        runs.bench("growth-" + server.database, [server], 7200 if full else 1200, "growth", *pace, "--events", events)
        rooms = "10,200,2000" if full else "10,2000"
        runs.bench("rooms-" + server.database, [server], 3600 if full else 180, "growth-rooms", *pace, "--account-rooms", rooms)


def facts(cluster_version, full, started, load):
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    load_now = os.getloadavg()[0]
    synapse = output(sys.executable, "-c", "import synapse; print(synapse.__version__)")
    yield "date", time.strftime("%-d %B %Y", time.gmtime())
    binary = os.environ["PLEXUS_BIN"]
    built = time.strftime("%-d %B %Y %H:%M UTC", time.gmtime(os.stat(binary).st_mtime))
    yield "Plexus", f"{output(binary, '--version')}, release build of {built}"
    yield "Synapse", f"{synapse}, one process, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    yield "PostgreSQL", cluster_version or "not installed"
    yield "machine", f"{processor}, {os.cpu_count()} cores, {memory / 1e6:.0f} GB, Linux {platform.release()}"
    yield "load before", f"{load:.1f}; whatever else ran on the machine took part of it from all servers"
    yield "load at the end", f"{load_now:.1f}"
    yield "generator", "plexus-bench, on the same cores"
    yield "durability", "SQLite: Synapse's defaults, Plexus WAL with synchronous=FULL; PostgreSQL: its defaults (fsync, synchronous_commit)"
    yield "settings", "no rate limits, presence on, warnings logged; Synapse with bcrypt_rounds 4; else defaults"
    yield "memory and processor time", "of the server's process, without PostgreSQL's"
    yield "mode", f"{'full' if full else 'quick'}, {(time.monotonic() - started) / 60:.0f} minutes"


def main():
    parser = argparse.ArgumentParser(prog="bench/compare.sh", description="Measures Plexus beside Synapse")
    parser.add_argument("--full", action="store_true", help="more and longer rounds: some hours")
    every = ["disk", "client", "mixed", "federation", "join", "wide", "connections", "growth"]
    parser.add_argument("--only", nargs="+", choices=every, default=every, help="parts to measure")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs", help="where benchmarks.md and benchmarks.html go")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder where the reports and the servers' logs are kept")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started, load = time.monotonic(), os.getloadavg()[0]
    forget_written(os.environ["PLEXUS_BIN"])
    work = pathlib.Path(tempfile.mkdtemp(prefix="plexus-compare-"))
    work.chmod(0o755)
    cluster, servers, runs = Cluster(work / "pg"), [], Runs(work)
    try:
        version = cluster.start() if cluster.bin else None
        if not version:
            log("no PostgreSQL is installed: measuring SQLite only")
        databases = [None, cluster] if version else [None]
        servers = [Server(kind, database, work) for kind in ["Synapse", "Plexus"] for database in databases]
        log("starting", ", ".join(server.name for server in servers))
        each(servers, "start")
        measure(runs, servers, arguments.full, set(arguments.only))
        generator = [os.environ["PLEXUS_BENCH_BIN"], "generator", "--target", f"{servers[-1].name}=http://127.0.0.1:1"]
        path = work / "generator.json"
        subprocess.run([*generator, "--json-file", path, "--seconds", "2"], check=True, stdout=subprocess.DEVNULL)
        runs.reports.append(path)
        render = [os.environ["PLEXUS_BENCH_BIN"], "render", *runs.reports]
        for name, value in facts(version, arguments.full, started, load):
            render += ["--fact", f"{name}={value}"]
        arguments.out.mkdir(parents=True, exist_ok=True)
        render += ["--markdown-file", arguments.out / "benchmarks.md", "--html-file", arguments.out / "benchmarks.html"]
        subprocess.run(render, check=True)
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            for report in runs.reports:
                shutil.copy(report, arguments.keep)
            for server in servers:
                for name in ["out.log", "homeserver.log"]:
                    if (server.folder / name).exists():
                        shutil.copy(server.folder / name, arguments.keep / f"{server.database}-{name}")
        log("written to", arguments.out)
    finally:
        each(servers, "stop")
        cluster.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
