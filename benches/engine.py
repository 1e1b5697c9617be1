#!/usr/bin/env python3
"""What a transaction costs in the rules, beside libmodsecurity, on texts that neither engine has seen before.

    benches/engine.py --crs CRS [--pl 1,2,4] [--count 60]
    benches/engine.py --crs CRS --growth

CRS is a Core Rule Set as released. For each kind of request COUNT different ones are made; each engine runs each of
them once, so that nothing can be remembered from a text seen before, and the table gives the medians in microseconds
(request phases and logging phase, one thread) and their ratio. The two take turns, kind by kind, in one run.

--growth: hostile texts (one byte again and again, brackets, quotes, every byte value, near misses of attacks, random
code, thousands of arguments, deep nesting) from 1 kB to 1 MB in this engine alone: nanoseconds a byte, which must not
grow with the length.

Needs Debian's libmodsecurity3 and a release build.
"""
import argparse
import ctypes
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import verdicts  # noqa: E402

WORDS = """a about access account action add after again agent all also always an and answer any api are as ask at
available back be because been before below best better between both branch build but by call can cannot case change
check choose clear client close code column commit compare complete config connect contain context copy correct cost
create current customer data day default delete deploy describe design detail do document does done down during each
early edit either email empty end enough error event every example expect explain failed fast feature few field file
find first fix follow for form found from full function get give good group guide had half handle has have help here
high history hold hour how however idea if import in include index info input insert inside into is issue it item its
job join just keep key kind know large last late later least leave left less let level like limit line list load local
log long look loop lost low made main make many map match may mean meeting member memory merge message metric might
missing mode model month more most move much must name near need never new next night no none not note notice now
number object of off often old on once one only open option or order other our out over own owner page parse part pass
path people phase place plan please point post prefer present print problem process product project prompt provide put
query question queue quick rather read ready real reason record release remove rename replace report request require
result return review right role route row rule run same save say schedule schema search second section see select send
series server service session set several share short should show side simple since single size skip slow small so some
soon sort source start state status step still stop store string such sum support sure system table take target task
team template test text than that the their them then there these they thing this those though through ticket time
title to today together token too tool top total trace track try turn two type under union unit until up update upload
use user using valid value very view wait want warning was way we week well were what when where which while who whole
why will with within without word work would write wrong year yes yet you your""".split()
CODE = [
    "def {a}({b}, {c}=None):\n    if not {b}:\n        return {c}\n    return {b}.{d}({c})\n",
    "for {a} in {b}.items():\n    print(f\"{{{a}}}: {{{c}}}\")\n",
    "SELECT {a}, {b} FROM {c} WHERE {d} = '{a}' ORDER BY {b};\n",
    "fn {a}<T: Into<String>>({b}: T) -> Result<(), {c}> {{\n    {d}({b}.into())?;\n    Ok(())\n}}\n",
    "const {{ {a}, {b} }} = await fetch(`/api/{c}/${{{d}}}`).then((r) => r.json());\n",
    "curl -s https://{a}.example/{b} | jq '.{c}[] | .{d}'\n",
    "# {a} {b}\n\n- [ ] {c} the {d}\n- `{a}` must be **{b}**\n\n",
    "if ({a} && !{b}) {{ {c}({d}, \"{a}\"); }} else {{ throw new Error('{b}'); }}\n",
    "docker run --rm -e {a}={b} {c}:{d} sh -c 'cat /etc/{a}.conf'\n",
    "<div class=\"{a}\" id='{b}'>{{{{ {c} }}}}</div>\n",
    "import {a}\nfrom {b}.{c} import {d}\n\nlog.info('%s', {d})\n",
    "    {a}: {b}\n    {c}:\n      - {d}\n",
]


def words(dice, length):
    out = ""
    while len(out) < length:
        sentence = " ".join(dice.choice(WORDS) for _ in range(dice.randint(5, 16)))
        out += sentence.capitalize() + dice.choice([". ", ". ", "? ", ", ", ".\n"])
    return out[:length]


def name(dice):
    return dice.choice(WORDS) + dice.choice(["", "_" + dice.choice(WORDS), dice.choice(WORDS).capitalize()])


def code(dice, length):
    out = ""
    while len(out) < length:
        if dice.random() < 0.3:
            out += words(dice, dice.randint(60, 200)) + "\n"
        out += dice.choice(CODE).format(a=name(dice), b=name(dice), c=name(dice), d=name(dice))
    return out[:length]


def identifier(dice, length=16, alphabet="0123456789abcdef"):
    return "".join(dice.choice(alphabet) for _ in range(length))


BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def request(dice, kind):
    """One request of a kind, different each time."""
    headers = [["Host", "gate.example"], ["User-Agent", f"archon/{dice.randint(1, 9)}.{dice.randint(0, 99)}"],
               ["Accept", "application/json"], ["Cookie", f"sid={identifier(dice, 40, BASE64)}; theme=dark"]]
    r = {"id": kind, "method": "GET", "path": f"/api/{dice.choice(WORDS)}/{identifier(dice)}", "headers": headers, "raw": b""}

    def send(content_type, raw):
        r.update(method="POST", raw=raw)
        headers.extend([["Content-Type", content_type], ["Content-Length", str(len(raw))]])
        return r

    def as_json(value):
        return send("application/json", json.dumps(value).encode())

    if kind == "get":
        return r
    if kind == "query":
        pairs = "&".join(f"{name(dice)}={words(dice, dice.randint(4, 24)).strip().replace(' ', '+')}" for _ in range(10))
        r["path"] += "?" + pairs.replace("\n", "+").replace("?", "")
        return r
    if kind == "form":
        pairs = "&".join(f"{name(dice)}={words(dice, 20).replace(' ', '+')}" for _ in range(6))
        return send("application/x-www-form-urlencoded", pairs.replace("\n", "+").encode())
    if kind == "long_cookie":
        jar = "; ".join(f"{name(dice)}={identifier(dice, n, BASE64)}" for n in (900, 700, 500, 300, 40, 20))
        headers[3] = ["Cookie", jar]
        return r
    if kind == "rows_600":
        rows = [{"id": dice.randint(1, 99999), "name": name(dice), "state": dice.choice(["open", "done"]),
                 "at": f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"} for _ in range(150)]
        return as_json({"rows": rows})
    if kind == "upload_64k":
        content = words(dice, 64 << 10)
        part = f'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="{name(dice)}.txt"\r\n' \
               f"Content-Type: text/plain\r\n\r\n{content}\r\n--b0undary--\r\n"
        return send("multipart/form-data; boundary=b0undary", part.encode())
    text, length = kind.split("_")
    text = (code if text == "code" else words)(dice, {"1k": 1000, "10k": 10_000, "100k": 100_000}[length])
    return as_json({"conversation": identifier(dice), "model": name(dice), "prompt": text, "stream": True})


KINDS = ["get", "query", "form", "long_cookie", "code_1k", "code_10k", "prose_10k", "prose_100k", "rows_600", "upload_64k"]


def ours(rules, requests, work):
    pack = os.path.join(work, "work.pack")
    verdicts.pack(requests, pack)
    done = subprocess.run([BINARY, "rules", "bench", rules, pack, "0"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines[0], [line["first"] for line in lines[1:]]


def theirs(peer, requests):
    times = []
    for r in requests:
        began = time.perf_counter()
        peer.fired(r)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def compare(args, work):
    for level in map(int, args.pl.split(",")):
        rules = verdicts.rules_file(work, args.crs, level)
        peer = verdicts.Peer(rules, args.library)
        print(f"\nparanoia level {level}: medians of {args.count} requests, each run once, in µs")
        print(f"{'kind':14}{'libmodsecurity':>16}{'gatehouse':>12}{'ratio':>8}")
        logs, head = [], None
        for kind in KINDS:
            dice = random.Random(f"{kind} {args.seed}")
            # The first ones are for the processes to wake up with.
            requests = [request(dice, kind) for _ in range(args.count + 3)]
            head, mine = ours(rules, requests, work)
            other = theirs(peer, requests)
            a, b = statistics.median(other[3:]), statistics.median(mine[3:])
            logs.append(math.log(a / b))
            print(f"{kind:14}{a:16.0f}{b:12.1f}{a / b:8.1f}", flush=True)
        print(f"{'geometric mean':42}{math.exp(statistics.mean(logs)):8.1f}   least {math.exp(min(logs)):.1f}")
        print(f"{head['rules']} rules loaded and compiled in {head['load_ms']:.0f} ms, {head['rss_mib']:.0f} MiB resident, "
              f"{head['screens_mib']:.1f} MiB of it automata and tables")


GROWTH_TEXTS = 5


def hostile(length, seed):
    dice = random.Random(seed)
    near = ["unio", "selec", "<scrip", "onloa", "../", "/etc/pass", "java.lan", "slee", "wge", "eva", "{{", "${", "'", "--"]

    def fill(piece):
        return (piece * (length // len(piece) + 1))[:length]

    def text(value):
        return "application/json", json.dumps({"prompt": value}).encode()

    yield "prose", text(words(dice, length))
    yield "code", text(code(dice, length))
    yield "random words", text(" ".join(identifier(dice, dice.randint(2, 9), BASE64) for _ in range(length // 6))[:length])
    for label, piece in [("a", "a"), ("(", "("), ("' ", "' "), ("../", "../"), ("spaces", " "), ("<a ", "<a "), ("a=", "a="),
                         ("$(", "$("), ("%25", "%25"), (".a", ".a"), ("<!--", "<!--"), (";cat ", ";cat ")]:
        yield label, text(fill(piece))
    yield "near misses", text("".join(dice.choice(near) + dice.choice(" ,;x") for _ in range(length // 5))[:length])
    yield "every byte", ("application/x-www-form-urlencoded", b"q=" + bytes(dice.randrange(256) for _ in range(length)))
    yield "nested JSON", ("application/json", fill('{"a":[1,').encode())
    many = min(10_000, length // 8)
    yield "arguments", ("application/x-www-form-urlencoded", "&".join(f"k{n}=v{n}" for n in range(many)).encode())


def growth(args, work):
    rules = verdicts.rules_file(work, args.crs, 1, extra="SecArgumentsLimit 100000\nSecRequestBodyNoFilesLimit 4000000\n")
    lengths = [1_000, 10_000, 100_000, 1_000_000]
    table = {}
    for length in lengths:
        # One text more of each, before them: memory that a process has never held comes slowly, whatever is done with it.
        kinds = [kind for seed in range(GROWTH_TEXTS + 1) for kind in hostile(length, seed)]
        requests = []
        for label, (content_type, raw) in kinds:
            headers = [["Host", "h"], ["User-Agent", "u"], ["Accept", "*/*"], ["Content-Type", content_type]]
            requests.append({"id": label, "method": "POST", "path": "/", "headers": headers, "raw": raw})
        _, times = ours(rules, requests, work)
        costs = {}
        first = len(kinds) // (GROWTH_TEXTS + 1)
        for (label, (_, raw)), taken in list(zip(kinds, times))[first:]:
            costs.setdefault(label, []).append(taken * 1000 / len(raw))
        for label, of_texts in costs.items():
            table.setdefault(label, []).append(statistics.median(of_texts))
    print(f"nanoseconds a byte, median of the first runs of {GROWTH_TEXTS} texts, paranoia level 1")
    print(f"{'text':14}" + "".join(f"{length:>12,}" for length in lengths) + f"{'to prose':>10}")
    for label, row in table.items():
        print(f"{label:14}" + "".join(f"{value:12.1f}" for value in row) + f"{row[-1] / table['prose'][-1]:10.1f}")


def main():
    global BINARY
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--crs", required=True)
    args.add_argument("--pl", default="1,2,4")
    args.add_argument("--count", type=int, default=60)
    args.add_argument("--seed", default="1")
    args.add_argument("--growth", action="store_true")
    args.add_argument("--library", default=verdicts.LIBRARY)
    args.add_argument("--binary", default=os.path.join(verdicts.ROOT, "target/release/gatehouse"))
    args = args.parse_args()
    BINARY = args.binary
    with tempfile.TemporaryDirectory() as work:
        (growth if args.growth else compare)(args, work)


if __name__ == "__main__":
    main()
