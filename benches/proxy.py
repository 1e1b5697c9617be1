#!/usr/bin/env python3
"""CPU time per request, and requests per second, over TLS 1.3 beside Debian's nginx and HAProxy, in one run.

    python3 benches/proxy.py [--binary target/release/gatehouse] [--seconds 5] [--rounds 3] [--crs DIR]

Starts a backend (nginx, 1 KiB answers), nginx and HAProxy (if there is one) as TLS proxies in front of it, and the gate
twice: with config/conformance/proxy.toml (no rules) and with the core rules. Each proxy has one worker on core 0; backend
and load generator have core 1. The proxies are measured in turn, round after round, in three ways: HTTP/1.1 kept alive
(wrk, 64 connections), HTTP/2 (h2load, 10 connections of 32 streams), and new connections (openssl s_time, a full
handshake and one request each). CPU is what the proxy's processes spent (utime + stime) over the requests of a round:
unlike the rate it does not depend on what else the machine does. The table gives medians and the ratio to nginx. With --crs (a Core Rule Set laid out as released) nginx with ModSecurity and the gate, both with these rules,
detection only and without an audit log, are measured too: with a few hundred requests that come again and again, as from
clients that stay, and with requests of which no two are alike.

Needs nginx, wrk, h2load (nghttp2-client), openssl and taskset, for --crs libnginx-mod-http-modsecurity; everything runs on loopback and is stopped at the
end.
"""
import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import engine
import verdicts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKEND, NGINX, PLAIN, RULES, MODSECURITY, CRS, HAPROXY = 18190, 18443, 18444, 18445, 18446, 18447, 18448
TICK = os.sysconf("SC_CLK_TCK")
# Of 19 requests; the light traffic of an application in front of which the gate stands.
LIGHT = ["get"] * 12 + ["query"] * 3 + ["form"] * 3 + ["long_cookie"]

CYCLE = """
local requests, at = {}, 0
function init()
  for line in io.lines("%s") do
    requests[#requests + 1] = line:gsub("\\\\n", "\\n"):gsub("\\\\r", "\\r")
  end
end
function request()
  at = at %% #requests + 1
  return requests[at]
end
"""

NGINX_HEAD = "daemon off; worker_processes 1; error_log /dev/null; pid {dir}/{name}.pid;\nevents {{ worker_connections 4096; }}\n"


def nginx(directory, name, http, load=""):
    path = os.path.join(directory, name + ".conf")
    with open(path, "w") as file:
        file.write(load + NGINX_HEAD.format(dir=directory, name=name) + "http { access_log off; keepalive_requests 10000000; " + http + " }\n")
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


def family(pid):
    """A process and its children."""
    out = [pid]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) == pid:
                        out.append(int(name))
            except OSError:
                pass
    return out


def spent(pid):
    """CPU seconds of a process and its children."""
    ticks = 0
    for one in family(pid):
        with open(f"/proc/{one}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def keep_alive(port, seconds):
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "User-Agent: wrk", f"https://127.0.0.1:{port}/"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        sys.exit(f"port {port} answers with errors:\n{out}")
    return int(re.search(r"(\d+) requests in", out).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def http2(port, seconds):
    command = ["taskset", "-c", "1", "h2load", "-t1", "-c10", "-m32", "-D", str(seconds), f"https://127.0.0.1:{port}/"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", out)
    if int(done.group(3)):
        sys.exit(f"port {port} answers with errors:\n{out}")
    return int(done.group(2)), float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", out).group(1))


def new_connections(port, seconds):
    command = ["taskset", "-c", "1", "openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-www", "/", "-time", str(seconds)]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(4)]
    outs = [client.communicate()[0] for client in clients]
    count = sum(int(re.search(r"(\d+) connections in \d+ real seconds", out).group(1)) for out in outs)
    return count, count / seconds


def wrk(port, seconds, script=None):
    options = ["-s", script] if script else ["-H", "User-Agent: wrk"]
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{seconds}s", "--timeout", "30s", *options, f"https://127.0.0.1:{port}/"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        sys.exit(f"port {port} answers with errors:\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def light(directory, name, count):
    """A script for wrk that sends so many different requests in turn."""
    dice = random.Random(name)
    path = os.path.join(directory, name)
    with open(path + ".txt", "w") as out:
        for _ in range(count):
            r = engine.request(dice, dice.choice(LIGHT))
            head = f"{r['method']} {r['path']} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in r["headers"]) + "\r\n"
            # One line a request: none of them holds a backslash.
            out.write((head + r["raw"].decode()).replace("\r", "\\r").replace("\n", "\\n") + "\n")
    with open(path + ".lua", "w") as out:
        out.write(CYCLE % (path + ".txt"))
    return path + ".lua"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--binary", default=os.path.join(ROOT, "target/release/gatehouse"))
    args.add_argument("--seconds", type=int, default=5)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--crs", help="a Core Rule Set laid out as released")
    args = args.parse_args()
    for tool in ("nginx", "wrk", "h2load", "taskset", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx wrk nghttp2-client util-linux openssl")
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

    def front(port, more=""):
        return (f"upstream b {{ server 127.0.0.1:{BACKEND}; keepalive 128; keepalive_requests 10000000; }} "
                f"server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; "
                f"ssl_protocols TLSv1.3; client_max_body_size 16m; client_body_buffer_size 256k; {more} "
                "location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ''; "
                "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; } }")

    backend = f"server {{ listen 127.0.0.1:{BACKEND}; location / {{ default_type text/plain; return 200 '{'x' * 1024}'; }} }}"
    running = [
        start(1, nginx(directory, "backend", backend)),
        start(0, nginx(directory, "front", front(NGINX))),
        gate(os.path.join(ROOT, "config/conformance/proxy.toml"), PLAIN),
        gate(rules_toml, RULES),
    ]
    gates = [PLAIN, RULES]
    proxies = {"nginx": (NGINX, running[1]), "gatehouse": (PLAIN, running[2]), "gatehouse, core rules": (RULES, running[3])}
    if shutil.which("haproxy"):
        both, path = os.path.join(directory, "both.pem"), os.path.join(directory, "haproxy.cfg")
        with open(both, "w") as out:
            out.writelines(open(part).read() for part in (cert, key))
        with open(path, "w") as out:
            out.write("global\n nbthread 1\n maxconn 4096\n ssl-default-bind-options ssl-min-ver TLSv1.3\n"
                      "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n option forwardfor\n"
                      f"frontend f\n bind 127.0.0.1:{HAPROXY} ssl crt {both} alpn h2,http/1.1\n default_backend b\n"
                      f"backend b\n http-reuse always\n server s 127.0.0.1:{BACKEND}\n")
        running.append(start(0, ["haproxy", "-db", "-f", path]))
        proxies["haproxy"] = (HAPROXY, running[-1])
    if args.crs:
        rules = verdicts.rules_file(directory, args.crs, 1)
        crs_toml = os.path.join(directory, "crs.toml")
        with open(crs_toml, "w") as file:
            waf = f'[waf]\nenabled = true\nengine = "DetectionOnly"\ncore_rules = false\nrules = ["{rules}"]'
            file.write(proxy_toml.replace("[waf]\nenabled = false", waf).replace("[audit]", "[audit]\nenabled = false"))
        more = f"modsecurity on; modsecurity_rules 'SecRuleEngine DetectionOnly'; modsecurity_rules_file {rules};"
        module = "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;\n"
        running.append(start(0, nginx(directory, "modsecurity", front(MODSECURITY, more), module)))
        running.append(gate(crs_toml, CRS))
        gates.append(CRS)
    try:
        for port in gates:
            wait_for(f"http://127.0.0.1:{port + 200}/livez")
        for way in (keep_alive, http2, new_connections):
            figures = {name: [] for name in proxies}
            for _ in range(args.rounds):
                for name, (port, process) in proxies.items():
                    before = spent(process.pid)
                    count, rate = way(port, args.seconds)
                    figures[name].append(((spent(process.pid) - before) * 1e6 / max(1, count), rate))
            medians = {name: [statistics.median(side) for side in zip(*values)] for name, values in figures.items()}
            cpu, rate = medians["nginx"]
            print(f"\n{way.__name__.replace('_', ' '):24}{'CPU us each':>12}{'x nginx':>10}{'each/s':>12}{'x nginx':>10}   CPU range")
            for name, (own, per_second) in medians.items():
                values = [value for value, _ in figures[name]]
                print(f"{name:24}{own:12.1f}{own / cpu:10.2f}{per_second:12,.0f}{per_second / rate:10.2f}   {min(values):.1f}-{max(values):.1f}")
        if args.crs:
            print(f"\n{'Core Rule Set, level 1':24}{'ModSecurity':>12}{'gatehouse':>12}{'ratio':>8}   requests/s, light traffic")
            for name, count in (("that recurs", 300), ("no two alike", 30_000)):
                script = light(directory, name.replace(" ", "_"), count)
                pairs = [(wrk(MODSECURITY, args.seconds, script), wrk(CRS, args.seconds, script)) for _ in range(args.rounds)]
                theirs, ours = (statistics.median(side) for side in zip(*pairs))
                print(f"{name:24}{theirs:12,.0f}{ours:12,.0f}{ours / theirs:8.1f}")
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
