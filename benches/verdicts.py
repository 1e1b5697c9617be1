#!/usr/bin/env python3
"""The same rules, the same verdicts: which rules fire here and in libmodsecurity, request by request.

    benches/verdicts.py --crs CRS [--requests FILE.jsonl] [--pl 1,4] [--count 1200]

CRS is a Core Rule Set as released. Both engines get one rules file (detection only, request phases) and the same
requests: those of FILE.jsonl (id, method, path, headers, body or body_b64), those of this project's own rule tests, and
COUNT that are put together here. Prints what differs and is not explained by KNOWN below, and sums; exit code 1 if
there is any such difference.

Needs Debian's libmodsecurity3, PyYAML, and a release build.
"""
import argparse
import base64
import collections
import ctypes
import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

def lines(request):
    return b"\n" in request["raw"] or b"\\n" in request["raw"]


# Where the engines differ by decision: rules, who alone fires them, whether a request is of that kind, and why.
KNOWN = [
    ({980170}, "here", lambda r: True, "libmodsecurity does not log what says noauditlog"),
    ({942131}, "there", lambda r: True, "libmodsecurity logs a chain at its first link"),
    ({920272, 920273}, "there", lambda r: bool(r["raw"]), "libmodsecurity keeps JSON and multipart in REQUEST_BODY too"),
    ({932238}, "here", lambda r: b"../" in r["raw"],
     "libmodsecurity's t:normalizePath takes any text before ../ for a folder and drops it with all before"),
    ({932350}, "there", lines, "^ and $ match at lines in libmodsecurity"),
    ({942200, 942440}, "here", lines, "^ and $ match at lines in libmodsecurity, which meets a negated ^...$ by one line"),
    (set(range(941000, 942000)), "here", lambda r: re.search(rb"%(25)?00", r["raw"] + r["path"].encode()),
     "libmodsecurity 3.0.9 loses what follows a NUL in t:cssDecode"),
    ({941100}, "there", lambda r: True, "our libinjection knows event handlers by name, the older one takes any on...="),
    ({930110}, "here", lambda r: "%c0%ae" in r["path"].lower(), "an overlong dot is a dot after t:utf8toUnicode"),
    ({920420}, "here", lambda r: sum(h[0].lower() == "content-type" for h in r["headers"]) > 1,
     "each of two Content-Type fields is looked at"),
    ({200002}, "here", lambda r: r["raw"].count(b"&") + r["path"].count("&") >= 1000, "more than SecArgumentsLimit"),
]


def why(rule, side, request):
    """The reason for a difference, if it is one of the known."""
    for rules, whose, fits, reason in KNOWN:
        if rule in rules and side == whose and fits(request):
            return reason
    return None


BASE = """SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\\+|/)|text/)xml" \
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'body'"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,log,deny,status:400,msg:'multipart'"
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 1310720
SecRequestBodyJsonDepthLimit 512
SecPcreMatchLimit 1000000
SecPcreMatchLimitRecursion 1000000
SecAuditEngine Off
SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%d"
Include %s
Include %s/rules/*.conf
"""


class Peer:
    """libmodsecurity through its C interface."""

    def __init__(self, rules, library):
        lib = self.lib = ctypes.CDLL(library)
        for name in ("msc_init", "msc_create_rules_set", "msc_new_transaction"):
            getattr(lib, name).restype = ctypes.c_void_p
        self.lines = []
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
        self.callback = kind(lambda _, line: self.lines.append(line or b""))
        self.engine = ctypes.c_void_p(lib.msc_init())
        lib.msc_set_log_cb(self.engine, self.callback)
        self.rules = ctypes.c_void_p(lib.msc_create_rules_set())
        error = ctypes.c_char_p()
        if lib.msc_rules_add_file(self.rules, rules.encode(), ctypes.byref(error)) < 0:
            sys.exit(f"libmodsecurity: {error.value.decode()}")

    def fired(self, request):
        lib = self.lib
        self.lines.clear()
        t = ctypes.c_void_p(lib.msc_new_transaction(self.engine, self.rules, None))
        lib.msc_process_connection(t, b"127.0.0.1", 40000, b"127.0.0.1", 443)
        lib.msc_process_uri(t, request["path"].encode(), request["method"].encode(), b"1.1")
        for name, value in request["headers"]:
            name, value = name.encode(), value.encode()
            lib.msc_add_n_request_header(t, name, ctypes.c_size_t(len(name)), value, ctypes.c_size_t(len(value)))
        lib.msc_process_request_headers(t)
        if request["raw"]:
            lib.msc_append_request_body(t, request["raw"], ctypes.c_size_t(len(request["raw"])))
        lib.msc_process_request_body(t)
        lib.msc_process_logging(t)
        lib.msc_transaction_cleanup(t)
        return {int(n) for line in self.lines for n in re.findall(rb'\[id "(\d+)"\]', line)}


LIBRARY = "libmodsecurity.so.3"


def rules_file(work, crs, level, extra=""):
    """A rules file of the Core Rule Set at a paranoia level."""
    crs = os.path.abspath(crs)
    path = os.path.join(work, f"pl{level}.conf")
    with open(path, "w") as out:
        out.write(extra + BASE % (level, os.path.join(crs, "crs-setup.conf.example"), crs))
    return path


def pack(requests, path):
    """Writes requests in the form that `gatehouse rules bench` reads."""

    def text(value):
        value = value if isinstance(value, bytes) else value.encode()
        return struct.pack("<I", len(value)) + value

    with open(path, "wb") as out:
        for r in requests:
            out.write(text(r["id"]) + text(r["method"]) + text(r["path"]) + struct.pack("<I", len(r["headers"])))
            for name, value in r["headers"]:
                out.write(text(name) + text(value))
            out.write(text(r["raw"]))


def ours(rules, requests, work):
    packed = os.path.join(work, "work.pack")
    pack(requests, packed)
    program = os.path.join(ROOT, "target/release/gatehouse")
    done = subprocess.run([program, "rules", "bench", rules, packed, "0"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    return [{int(n) for n in line["rules"].split()} for line in lines]


def given(path):
    for line in open(path):
        r = json.loads(line)
        r["raw"] = base64.b64decode(r["body_b64"]) if "body_b64" in r else r.get("body", "").encode()
        yield r


def own_tests():
    for path in sorted(glob.glob(os.path.join(ROOT, "rules/tests/*.yaml"))):
        name = os.path.basename(path)[:-5]
        for test in yaml.safe_load(open(path))["tests"]:
            for stage in test["stages"]:
                i = stage["input"]
                headers = [[k, str(v)] for k, v in (i.get("headers") or {}).items()]
                data = str(i.get("data") or "")
                if any(k.lower() == "content-type" and v.startswith("multipart/") for k, v in headers):
                    data = re.sub("\r?\n", "\r\n", data)
                yield {
                    "id": f"{name}-{test['test_id']}", "method": i.get("method", "GET"), "path": i.get("uri", "/"),
                    "headers": headers, "raw": data.encode(),
                }


WORDS = """the a select from users where id union all order by script alert onerror img src href http https file etc
passwd cat ls bin sh bash curl wget eval system exec import os path join print def class return if else for while true
false null none undefined function var let const async await try catch throw new this prototype constructor 1 0 -1 ' "
` ; -- /* */ # ( ) [ ] { } < > = == === != && || ! ? : , . .. ../ / \\ \\\\ $ % %27 %3C %00 & | + * @ ~ ^ \n \t 你好
admin password token key secret docker kubectl git commit merge branch sleep benchmark waitfor delay like between and or
not exists into outfile load_file char concat group having limit offset union/**/select <script> </script> javascript:
data: base64 ldap jndi ${ #{ {{ }} <?php ?> <% %> xml version encoding DOCTYPE ENTITY""".split()


def put_together(count):
    pick = random.Random(20240607)

    def phrase(most):
        return " ".join(pick.choice(WORDS) for _ in range(pick.randint(1, most)))

    quote = lambda s: "".join(c if c.isalnum() and c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in s)
    for n in range(count):
        headers = [["Host", "localhost"], ["User-Agent", "Mozilla/5.0 (X11; Linux x86_64) verdicts"], ["Accept", "*/*"]]
        if pick.random() < 0.3:
            headers.append(["Cookie", f"sid={pick.randrange(1 << 60):x}; theme={quote(phrase(2))}"])
        if pick.random() < 0.2:
            headers.append(["Referer", f"https://localhost/{quote(phrase(3))}"])
        path, method, raw = f"/api/{pick.choice(['tasks', 'docs', 'x.php', 'a/b/c'])}", "GET", b""
        if pick.random() < 0.6:
            path += "?" + "&".join(f"{pick.choice('abcxyz')}={quote(phrase(6))}" for _ in range(pick.randint(1, 4)))
        kind = pick.random()
        if kind < 0.25:
            method, raw = "POST", "&".join(f"f{i}={quote(phrase(12))}" for i in range(pick.randint(1, 5))).encode()
            headers.append(["Content-Type", "application/x-www-form-urlencoded"])
        elif kind < 0.6:
            body = {"text": phrase(60), "list": [phrase(5), pick.random(), None], "deep": {"code": phrase(20)}}
            method, raw = "POST", json.dumps(body, ensure_ascii=pick.random() < 0.5).encode()
            headers.append(["Content-Type", "application/json"])
        elif kind < 0.7:
            parts = "".join(
                f'--b\r\nContent-Disposition: form-data; name="p{i}"\r\n\r\n{phrase(10)}\r\n' for i in range(3))
            method, raw = "POST", (parts + "--b--\r\n").encode()
            headers.append(["Content-Type", "multipart/form-data; boundary=b"])
        if raw:
            headers.append(["Content-Length", str(len(raw))])
        yield {"id": f"made-{n}", "method": method, "path": path, "headers": headers, "raw": raw}


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--crs", required=True)
    a.add_argument("--requests", default="")
    a.add_argument("--pl", default="1,4")
    a.add_argument("--count", type=int, default=1200)
    a.add_argument("--library", default=LIBRARY)
    o = a.parse_args()
    requests = (list(given(o.requests)) if o.requests else []) + list(own_tests()) + list(put_together(o.count))
    requests = [r for r in requests if "\0" not in r["path"]]
    work = tempfile.mkdtemp(prefix="verdicts-")
    failed = 0
    for level in [int(n) for n in o.pl.split(",")]:
        rules = rules_file(work, o.crs, level)
        mine = ours(rules, requests, work)
        peer = Peer(rules, o.library)
        equal, reasons, unexplained = 0, collections.Counter(), 0
        for request, here in zip(requests, mine, strict=True):
            there = peer.fired(request)
            # The verdict follows from the sum: it differs only where another rule does.
            odd = {(rule, "here" if rule in here else "there") for rule in (here ^ there) - {949110}}
            equal += here - {980170} == there - {980170}
            for rule, side in sorted(odd):
                reason = why(rule, side, request)
                if reason:
                    reasons[reason] += 1
                else:
                    unexplained += 1
                    print(f"pl{level} {request['id']}: {rule} fires only {side}")
            if not odd and here ^ there:
                unexplained += 1
                print(f"pl{level} {request['id']}: the verdict differs and nothing else does")
        fired = sum(map(len, mine))
        print(f"pl{level}: {len(requests)} requests, {fired} matches here; {equal} equal but for 980170; "
              f"{unexplained} differences unexplained")
        for reason, times in reasons.most_common():
            print(f"    {times:5} {reason}")
        failed += unexplained
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
