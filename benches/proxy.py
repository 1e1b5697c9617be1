#!/usr/bin/env python3
"""Requests per second over TLS 1.3 beside Debian's nginx, in one run on one machine, as a ratio.

    python3 benches/proxy.py [--binary target/release/gatehouse] [--seconds 5] [--rounds 3]

Starts a backend (nginx, 1 KiB answers), nginx as a TLS proxy in front of it, and the gate twice: with
config/conformance/proxy.toml (no rules) and with the core rules. Each proxy has one worker on core 0; backend and load
generator have core 1. The proxies are measured in turn, round after round; the table gives medians and the ratio to
nginx. Needs nginx, wrk and taskset; everything runs on loopback and is stopped at the end.
"""
import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKEND, NGINX, PLAIN, RULES = 18190, 18443, 18444, 18445

NGINX_HEAD = "daemon off; worker_processes 1; error_log /dev/null; pid {dir}/{name}.pid;\nevents {{ worker_connections 4096; }}\n"


def nginx(directory, name, http):
    path = os.path.join(directory, name + ".conf")
    with open(path, "w") as file:
        file.write(NGINX_HEAD.format(dir=directory, name=name) + "http { access_log off; keepalive_requests 10000000; " + http + " }\n")
    return ["nginx", "-c", path, "-p", directory]


def start(core, command, **env):
    return subprocess.Popen(["taskset", "-c", str(core), *command], env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(url):
    for _ in range(100):
        try:
            return urllib.request.urlopen(url, timeout=1).status
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url} does not answer")


def wrk(port, seconds):
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "User-Agent: wrk", f"https://127.0.0.1:{port}/"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        sys.exit(f"port {port} answers with errors:\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--binary", default=os.path.join(ROOT, "target/release/gatehouse"))
    args.add_argument("--seconds", type=int, default=5)
    args.add_argument("--rounds", type=int, default=3)
    args = args.parse_args()
    for tool in ("nginx", "wrk", "taskset", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx wrk util-linux openssl")
    directory = tempfile.mkdtemp(prefix="gatehouse-bench-")
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    with open(os.path.join(ROOT, "config/conformance/proxy.toml")) as file:
        proxy_toml = file.read()
    rules_toml = os.path.join(directory, "rules.toml")
    with open(rules_toml, "w") as file:
        # The same file with the core rules on.
        file.write(proxy_toml.replace("[waf]\nenabled = false", "[waf]\nenabled = true"))
    common = {"GATEHOUSE_CERT": cert, "GATEHOUSE_KEY": key, "GATEHOUSE_THREADS": "1", "GATEHOUSE_UPSTREAM": f"127.0.0.1:{BACKEND}"}

    def gate(config, port):
        return start(0, [args.binary, "run", "--config", config], **common,
                     GATEHOUSE_TLS_PORT=str(port), GATEHOUSE_HTTP_PORT=str(port + 100), GATEHOUSE_ADMIN_PORT=str(port + 200),
                     GATEHOUSE_STATE_DIR=os.path.join(directory, str(port)),
                     GATEHOUSE_AUDIT_FILE=os.path.join(directory, f"{port}.jsonl"))

    backend = f"server {{ listen 127.0.0.1:{BACKEND}; location / {{ default_type text/plain; return 200 '{'x' * 1024}'; }} }}"
    front = (f"upstream b {{ server 127.0.0.1:{BACKEND}; keepalive 128; keepalive_requests 10000000; }} "
             f"server {{ listen 127.0.0.1:{NGINX} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; "
             "location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ''; "
             "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; } }")
    running = [
        start(1, nginx(directory, "backend", backend)),
        start(0, nginx(directory, "front", front)),
        gate(os.path.join(ROOT, "config/conformance/proxy.toml"), PLAIN),
        gate(rules_toml, RULES),
    ]
    try:
        for port in (PLAIN, RULES):
            wait_for(f"http://127.0.0.1:{port + 200}/livez")
        figures = {"nginx": [], "gatehouse": [], "gatehouse, core rules": []}
        for _ in range(args.rounds):
            for name, port in zip(figures, (NGINX, PLAIN, RULES)):
                figures[name].append(wrk(port, args.seconds))
        base = statistics.median(figures["nginx"])
        print(f"{'':24}{'requests/s':>12}{'x nginx':>10}   range")
        for name, values in figures.items():
            median = statistics.median(values)
            print(f"{name:24}{median:12,.0f}{median / base:10.2f}   {min(values):,.0f}-{max(values):,.0f}")
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
