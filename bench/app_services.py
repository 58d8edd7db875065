#!/usr/bin/env python3
"""Measures what a message costs on a server with one application service, and with fifty, which have 100,000 users
together.

    bench/app_services.py                    in some minutes
    bench/app_services.py --users 1000       in less: to try it

PLEXUS_BIN and PLEXUS_BENCH_BIN name the built binaries. Further options are those of plexus-bench.
"""

import argparse
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading

from compare import Server


class Sink(http.server.BaseHTTPRequestHandler):
    """Application services that accept everything."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def registration(number, port):
    return {
        "id": f"service{number}",
        "url": f"http://127.0.0.1:{port}",
        "as_token": f"from-service{number}",
        "hs_token": f"to-service{number}",
        "sender_localpart": f"service{number}",
        "rate_limited": False,
        "namespaces": {"users": [{"exclusive": True, "regex": f"@service{number}_.*:bench\\.example"}]},
    }


def register(server, number, users):
    """Registers the users of a service."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Authorization": f"Bearer from-service{number}", "Content-Type": "application/json"}
    for user in range(users):
        body = {"type": "m.login.application_service", "username": f"service{number}_{user}", "inhibit_login": True}
        connection.request("POST", "/_matrix/client/v3/register", json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"a user was not registered: {said}")
    connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000, help="users of all services together")
    own, more = parser.parse_known_args()
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    servers = []
    with tempfile.TemporaryDirectory() as work:
        try:
            command = [os.environ["PLEXUS_BENCH_BIN"], "app-services", "--app-service-token", "from-service0"]
            for count in (1, 50):
                folder = pathlib.Path(work) / str(count)
                folder.mkdir()
                server = Server("Plexus", None, folder)
                files = []
                for number in range(count):
                    # JSON is YAML.
                    file = server.folder / f"service{number}.yaml"
                    file.write_text(json.dumps(registration(number, sink.server_port)))
                    files.append(str(file))
                with open(server.folder / "homeserver.yaml", "a") as options:
                    options.write(f"app_service_config_files: {json.dumps(files)}\n")
                servers.append(server)
                server.start()
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    for done in [pool.submit(register, server, n, own.users // count) for n in range(count)]:
                        done.result()
                name = "1 service" if count == 1 else f"{count} services"
                command += ["--target", f"{name}=http://127.0.0.1:{server.port}", "--pid", str(server.process.pid)]
            raise SystemExit(subprocess.run(command + ["--shared-secret", "shared"] + more).returncode)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
