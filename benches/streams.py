#!/usr/bin/env python3
"""What the gate adds to the first event of a stream, and to each one after it.

    python3 benches/streams.py [--binary target/release/gatehouse] [--config config/conformance/edge.toml] [--count 100]

Starts a backend that sends server-sent events, each with the time at which it was sent, and the gate in front of it. COUNT
streams are opened one after the other, directly and through the gate in turn; of each the time from the request to the
first event and the age of the later events on arrival are taken. The table gives medians and 99th percentiles in
milliseconds. Needs nothing but Python and openssl; all on loopback, stopped at the end.
"""
import argparse
import os
import shutil
import signal
import socket
import socketserver
import ssl
import statistics
import subprocess
import tempfile
import threading
import time

import proxy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKEND, GATE = 18390, 18644
EVENTS = 5


class Events(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen = b""
        while True:
            while b"\r\n\r\n" not in seen:
                piece = self.request.recv(4096)
                if not piece:
                    return
                seen += piece
            seen = seen.split(b"\r\n\r\n", 1)[1]
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(EVENTS):
                event = b"data: %.6f\n\n" % time.monotonic()
                self.request.sendall(b"%x\r\n%s\r\n" % (len(event), event))
                time.sleep(0.02)
            self.request.sendall(b"0\r\n\r\n")


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def stream(port, tls):
    """Milliseconds to the first event, and the age of each."""
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        plain = CONTEXT.wrap_socket(plain, server_hostname="localhost")
    begun = time.monotonic()
    plain.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: text/event-stream\r\n\r\n")
    seen, first, ages = b"", None, []
    while len(ages) < EVENTS:
        piece = plain.recv(4096)
        if not piece:
            raise SystemExit(f"port {port} ended the stream: {seen[:300]}")
        seen += piece
        now = time.monotonic()
        while b"data: " in seen and b"\n\n" in seen[seen.index(b"data: "):]:
            event, seen = seen[seen.index(b"data: ") + 6:].split(b"\n\n", 1)
            first = first or (now - begun) * 1000
            ages.append((now - float(event)) * 1000)
    plain.close()
    return first, ages


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--binary", default=os.path.join(ROOT, "target/release/gatehouse"))
    args.add_argument("--config", default=os.path.join(ROOT, "config/conformance/edge.toml"))
    args.add_argument("--count", type=int, default=100)
    args = args.parse_args()
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    backend = socketserver.ThreadingTCPServer(("127.0.0.1", BACKEND), Events)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    directory = tempfile.mkdtemp(prefix="gatehouse-bench-")
    environment = {
        **os.environ, "GATEHOUSE_CERT": os.path.join(directory, "c.pem"), "GATEHOUSE_KEY": os.path.join(directory, "k.pem"),
        "GATEHOUSE_UPSTREAM": f"127.0.0.1:{BACKEND}", "GATEHOUSE_TLS_PORT": str(GATE), "GATEHOUSE_HTTP_PORT": str(GATE + 100),
        "GATEHOUSE_ADMIN_PORT": str(GATE + 200), "GATEHOUSE_STATE_DIR": directory, "GATEHOUSE_LIMITS": "off",
        "GATEHOUSE_AUDIT_FILE": os.path.join(directory, "audit.jsonl"),
    }
    gate = subprocess.Popen([args.binary, "run", "--config", args.config], env=environment, stderr=subprocess.DEVNULL)
    try:
        proxy.wait_for(f"http://127.0.0.1:{GATE + 200}/livez")
        ways = {"directly": (BACKEND, False), "gate": (GATE + 100, False), "gate, TLS": (GATE, True)}
        figures = {name: ([], []) for name in ways}
        for _ in range(args.count):
            for name, (port, tls) in ways.items():
                first, ages = stream(port, tls)
                figures[name][0].append(first)
                figures[name][1].extend(ages[1:])
        worst = lambda values: sorted(values)[int(len(values) * 0.99)]
        print(f"{'':12}{'first, ms':>10}{'p99':>8}{'later, ms':>11}{'p99':>8}")
        for name, (first, later) in figures.items():
            print(f"{name:12}{statistics.median(first):10.2f}{worst(first):8.2f}{statistics.median(later):11.2f}{worst(later):8.2f}")
    finally:
        gate.send_signal(signal.SIGTERM)
        try:
            gate.wait(40)
        except subprocess.TimeoutExpired:
            gate.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
