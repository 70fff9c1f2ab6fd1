#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes nginx.tsv: which server a real nginx picks for a key, by `hash $arg_k` and `hash $arg_k consistent`.

Usage: nginx.py [path of nginx] > nginx.tsv
Starts its own nginx on loopback, in a folder of its own, and ends it. Ports stand for servers, so they are fixed and must be free.
A line: method, servers (port*weight, `!` behind those that are down), key, the picked port.
"""
import http.client
import subprocess
import sys
import tempfile
import time

FRONT = 27700
POOLS = [
    [(27711, 1, False), (27712, 1, False), (27713, 1, False)],
    [(27711, 5, False), (27712, 1, False), (27713, 1, False)],
    [(27711 + i, 1 + i % 3, False) for i in range(10)],
    [(27711, 5, False), (27712, 1, True), (27713, 2, False)],
    [(27711 + i, 1 + i % 3, i % 4 == 1) for i in range(10)],
]
KEYS = [f"user-{i}" for i in range(120)] + ["a", "0", "192.0.2.1", "x" * 200]


def configuration(folder):
    out = [
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;",
        "events { worker_connections 256; }",
        f"http {{ access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;",
        f"fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;",
    ]
    for port in sorted({server[0] for pool in POOLS for server in pool}):
        out.append(f"server {{ listen 127.0.0.1:{port}; return 200 $server_port; }}")
    for number, pool in enumerate(POOLS):
        for name, words in (("hash", "hash $arg_k"), ("consistent_hash", "hash $arg_k consistent")):
            out.append(f"upstream {name}{number} {{ {words};")
            for port, weight, down in pool:
                out.append(f"server 127.0.0.1:{port} weight={weight}{' down' if down else ''};")
            out.append("}")
    out.append(f"server {{ listen 127.0.0.1:{FRONT};")
    for number in range(len(POOLS)):
        for name in ("hash", "consistent_hash"):
            out.append(f"location = /{name}{number} {{ proxy_pass http://{name}{number}; }}")
    out.append("} }")
    return "\n".join(out)


def main():
    nginx = sys.argv[1] if len(sys.argv) > 1 else "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/nginx.conf", "w", encoding="ascii") as file:
            file.write(configuration(folder))
        server = subprocess.Popen([nginx, "-p", folder, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
        try:
            connection = connect()
            for number, pool in enumerate(POOLS):
                servers = ",".join(f"{port}*{weight}{'!' if down else ''}" for port, weight, down in pool)
                for name in ("hash", "consistent_hash"):
                    for key in KEYS:
                        connection.request("GET", f"/{name}{number}?k={key}")
                        answer = connection.getresponse()
                        port = answer.read().decode()
                        assert answer.status == 200, answer.status
                        print(name, servers, key, port, sep="\t")
        finally:
            server.terminate()
            server.wait()


def connect():
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", FRONT)
            connection.connect()
            return connection
        except OSError:
            time.sleep(0.05)
    raise SystemExit("nginx did not start")


main()
