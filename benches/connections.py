#!/usr/bin/env python3
"""Memory of the gate for each connection that it holds, and what it gives back.

    python3 benches/connections.py [--binary target/release/gatehouse] [--count 2000] [--nginx]

Starts a backend and the gate with config/conformance/proxy.toml, and opens COUNT connections one after the other, each of
which makes one request and then idles: HTTP/1.1 over TLS, HTTP/2 over TLS, WebSockets over TLS, and readers that take
nothing of a response of 8 MiB. After each kind all are closed. The table gives the growth of the process's memory (PSS,
with its children) per connection, and what was left of it ten seconds after the last one was closed. --nginx: the same for
Debian's nginx. Needs openssl, for --nginx nginx. All on loopback; stopped at the end. Files: two for each connection here,
three for each in the gate (raise `ulimit -n`).
"""
import argparse
import asyncio
import base64
import hashlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import proxy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKEND, GATE, NGINX = 18290, 18544, 18543
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n%s\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


async def backend():
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"pgrade: websocket" in head:
                    key = head.lower().index(b"sec-websocket-key:")
                    key = head[key + 18:head.index(b"\r\n", key)].strip()
                    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
                    await reader.read()
                    return
                size = 8 << 20 if head.startswith(b"GET /large") else 1024
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n" % size)
                for _ in range(max(1, size >> 16)):
                    writer.write(b"x" * min(size, 1 << 16))
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", BACKEND, backlog=4096)
    await server.serve_forever()


def memory(pid):
    """PSS of a process and its children, in KiB."""
    total = 0
    for one in proxy.family(pid):
        with open(f"/proc/{one}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def settings(pseudo):
    """One HTTP/2 request: literals without indexing (RFC 7541 section 6.2.2)."""
    block = b"".join(bytes([0, len(name)]) + name + bytes([len(value)]) + value for name, value in pseudo)
    return len(block).to_bytes(3, "big") + bytes([1, 5, 0, 0, 0, 1]) + block


def context(alpn):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols([alpn])
    return made


CONTEXTS = {"h1": context("http/1.1"), "h2": context("h2")}


def open_one(port, kind):
    plain = socket.socket()
    if kind == "deaf":
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", port))
    stream = CONTEXTS.get(kind, CONTEXTS["h1"]).wrap_socket(plain, server_hostname="localhost")
    stream.settimeout(20)
    if kind == "h2":
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/"), (b"user-agent", b"bench")]
        stream.sendall(PREFACE + settings(fields))
        seen = b""
        while b"x" * 1024 not in seen:
            seen += stream.recv(4096)
    elif kind == "deaf":
        stream.sendall(GET % (b"/large", b""))
    else:
        stream.sendall(GET % ((b"/ws", UPGRADE) if kind == "websocket" else (b"/", b"")))
        seen, wanted = b"", (b"HTTP/1.1 101", b"\r\n\r\n") if kind == "websocket" else (b"HTTP/1.1 200", b"x" * 1024)
        while wanted[1] not in seen:
            seen += stream.recv(4096)
        if not seen.startswith(wanted[0]):
            sys.exit(f"port {port} answers {seen[:200]}")
    return stream


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--binary", default=os.path.join(ROOT, "target/release/gatehouse"))
    args.add_argument("--count", type=int, default=2000)
    args.add_argument("--nginx", action="store_true")
    args = args.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.Thread(target=asyncio.run, args=(backend(),), daemon=True).start()
    directory = tempfile.mkdtemp(prefix="gatehouse-bench-")
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    environment = {
        **os.environ, "GATEHOUSE_CERT": cert, "GATEHOUSE_KEY": key, "GATEHOUSE_UPSTREAM": f"127.0.0.1:{BACKEND}",
        "GATEHOUSE_TLS_PORT": str(GATE), "GATEHOUSE_HTTP_PORT": str(GATE + 100), "GATEHOUSE_ADMIN_PORT": str(GATE + 200),
        "GATEHOUSE_STATE_DIR": directory, "GATEHOUSE_AUDIT_FILE": os.path.join(directory, "audit.jsonl"),
    }
    config = os.path.join(ROOT, "config/conformance/proxy.toml")
    started = {"gatehouse": (GATE, subprocess.Popen([args.binary, "run", "--config", config], env=environment, stderr=subprocess.DEVNULL))}
    if args.nginx:
        front = (f"server {{ listen 127.0.0.1:{NGINX} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; "
                 f"location / {{ proxy_pass http://127.0.0.1:{BACKEND}; proxy_http_version 1.1; proxy_set_header Connection $http_connection; "
                 "proxy_set_header Upgrade $http_upgrade; } }")
        command = proxy.nginx(directory, "front", front)
        with open(command[2]) as file:
            text = file.read().replace("worker_connections 4096", "worker_connections 65536")
        with open(command[2], "w") as file:
            file.write(text)
        started["nginx"] = (NGINX, subprocess.Popen(command, stderr=subprocess.DEVNULL))
    try:
        proxy.wait_for(f"http://127.0.0.1:{GATE + 200}/livez")
        print(f"{'':12}{'kind':12}{'connections':>12}{'KiB each':>10}{'MiB at most':>13}{'MiB before':>12}{'MiB after':>11}")
        for name, (port, process) in started.items():
            for kind in ("h1", "h2", "websocket", "deaf"):
                open_one(port, kind).close()
                time.sleep(1)
                before = memory(process.pid)
                held = [open_one(port, kind) for _ in range(args.count)]
                time.sleep(2)
                most = memory(process.pid)
                for one in held:
                    one.close()
                del held
                time.sleep(10)
                left = memory(process.pid)
                print(f"{name:12}{kind:12}{args.count:12}{(most - before) / args.count:10.1f}{most / 1024:13.1f}{before / 1024:12.1f}{left / 1024:11.1f}", flush=True)
    finally:
        for _, process in started.values():
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
