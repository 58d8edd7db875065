"""Drives a Plexus that counts what it does, for release.sh: on SQLite, and on PostgreSQL where that is installed."""

import pathlib
import tempfile

from compare import Cluster, Runs, Server, log

CLIENTS = ["send", "send-one-room", "sync-idle", "create-room", "fanout", "sync-initial", "sliding-initial", "history", "join-leave", "e2ee", "media"]


def cluster_if_any(work):
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return None
    cluster = Cluster(work / "pg")
    return cluster if cluster.bin else None


def drive(server, runs):
    try:
        server.start()
        for scenarios in [CLIENTS, ["footprint"], ["mixed"], ["fed-send"], ["fed-join-large"]]:
            seconds = 6 if scenarios == ["mixed"] else 2
            options = ["--rounds", 1, "--seconds", seconds, "--messages", 200, "--pdus", 1000]
            runs.bench(f"{server.database}-{scenarios[0]}", [server], 120, *scenarios, *options)
    finally:
        # Which is when it writes what it counted.
        server.stop()


def main():
    with tempfile.TemporaryDirectory(prefix="plexus-train-") as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)
        cluster = cluster_if_any(work)
        try:
            if cluster:
                cluster.start()
            else:
                log("no PostgreSQL, or no psycopg2: it is driven on SQLite only")
            for database in [None, cluster] if cluster else [None]:
                drive(Server("Plexus", database, work), Runs(work))
        finally:
            if cluster:
                cluster.stop()


main()
