//! What the gate admits is forwarded as exactly one request: bytes that are sent, and bytes that a replica gets.
//!
//! Requests are made from a seed, bent in places where parsers disagree, and sent as they are, several behind each
//! other. A strict reader of HTTP/1 (RFC 9112), which shares nothing with the gate, says what was sent, and what arrived:
//! what arrives is clean, and is what was sent, in its order, nothing between. What is refused sends nothing on.

use crate::harness::{Gate, PATIENCE};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Random numbers that are the same every time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One request, read strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    method: String,
    target: String,
    /// The value of `x-case`.
    case: Option<String>,
    body: Vec<u8>,
}

enum Parsed {
    /// A request, and how many bytes it takes.
    Whole(Read, usize),
    /// More bytes are needed.
    Partial,
    /// No request, and why.
    Bad(&'static str),
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The line that begins at `from`, without its CRLF, and where the next begins.
fn line(bytes: &[u8], from: usize) -> Option<Result<(&[u8], usize), &'static str>> {
    let end = from + bytes[from..].iter().position(|b| *b == b'\n')?;
    let Some(line) = bytes[from..end].strip_suffix(b"\r") else { return Some(Err("a bare LF")) };
    Some(if line.iter().any(|b| matches!(b, b'\r' | 0)) { Err("a bare CR or NUL") } else { Ok((line, end + 1)) })
}

macro_rules! line {
    ($bytes:expr, $from:expr) => {
        match line($bytes, $from) {
            None => return Parsed::Partial,
            Some(Err(what)) => return Parsed::Bad(what),
            Some(Ok(found)) => found,
        }
    };
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut at = 0;
    // RFC 9112 section 2.2: empty lines before a request are ignored.
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    let (first, mut at) = line!(bytes, at);
    let parts: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let [method, target, version] = parts[..] else { return Parsed::Bad("no request line") };
    let plain = target.iter().all(|b| (0x21..0x7f).contains(b)) && !target.is_empty();
    if !is_token(method) || !plain || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Parsed::Bad("no request line");
    }
    let (mut hosts, mut lengths, mut codings, mut case) = (0, Vec::new(), Vec::new(), None);
    loop {
        let (field, next) = line!(bytes, at);
        at = next;
        if field.is_empty() {
            break;
        }
        let Some(colon) = field.iter().position(|b| *b == b':') else { return Parsed::Bad("a field without colon") };
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        if !is_token(name) {
            return Parsed::Bad("a name that is no token");
        }
        match name.to_ascii_lowercase().as_slice() {
            b"host" => hosts += 1,
            b"content-length" => lengths.push(value.to_vec()),
            b"transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            b"x-case" => case = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
    if hosts != 1 || lengths.len() + codings.len() > 1 {
        return Parsed::Bad("hosts or framings");
    }
    let mut body = Vec::new();
    if let Some(length) = lengths.first() {
        let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        let Some(length) = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|n| n.parse().ok()) else {
            return Parsed::Bad("a length that is none");
        };
        let Some(data) = at.checked_add(length).and_then(|end| bytes.get(at..end)) else { return Parsed::Partial };
        body.extend_from_slice(data);
        at += length;
    } else if let Some(coding) = codings.first() {
        if coding != b"chunked" || version == b"HTTP/1.0" {
            return Parsed::Bad("another coding");
        }
        loop {
            let (head, next) = line!(bytes, at);
            let digits = head.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(head.len());
            let size = std::str::from_utf8(&head[..digits]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size else { return Parsed::Bad("a chunk without size") };
            let rest = head[digits..].trim_ascii_start();
            if !rest.is_empty() && rest[0] != b';' {
                return Parsed::Bad("a chunk size with something behind");
            }
            at = next;
            if size == 0 {
                break;
            }
            let Some(data) = at.checked_add(size).and_then(|end| bytes.get(at..end)) else { return Parsed::Partial };
            body.extend_from_slice(data);
            at += size;
            match bytes.get(at..at + 2) {
                Some(b"\r\n") => at += 2,
                Some(_) => return Parsed::Bad("a chunk longer than it says"),
                None => return Parsed::Partial,
            }
        }
        loop {
            let (trailer, next) = line!(bytes, at);
            at = next;
            if trailer.is_empty() {
                break;
            }
            let name = trailer.split(|b| *b == b':').next().unwrap_or_default();
            if !is_token(name) || !trailer.contains(&b':') {
                return Parsed::Bad("a trailer that is none");
            }
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Parsed::Whole(Read { method: text(method), target: text(target), case, body }, at)
}

/// All requests that were sent, up to the first that is none.
fn all(mut bytes: &[u8]) -> Vec<Read> {
    let mut requests = Vec::new();
    while let Parsed::Whole(read, length) = parse(bytes) {
        requests.push(read);
        bytes = &bytes[length..];
    }
    requests
}

/// A replica that keeps every byte.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    bytes: usize,
    requests: Vec<Read>,
    dirty: Vec<String>,
}

impl Recorder {
    async fn start(&self) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let own = self.clone();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(own.clone().serve(stream));
            }
        });
        (address, tasks)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            match parse(&buffer) {
                Parsed::Whole(read, length) => {
                    buffer.drain(..length);
                    let case = read.case.clone().unwrap_or_default();
                    self.0.lock().requests.push(read);
                    let answer = format!("HTTP/1.1 200 OK\r\nx-replica: {case}\r\ncontent-length: 0\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Parsed::Partial => {
                    let Ok(n) = stream.read_buf(&mut buffer).await else { return };
                    self.0.lock().bytes += n;
                    if n == 0 {
                        if !buffer.is_empty() {
                            self.0.lock().dirty.push(format!("cut: {}", buffer.escape_ascii()));
                        }
                        return;
                    }
                }
                Parsed::Bad(what) => {
                    return self.0.lock().dirty.push(format!("{what}: {}", buffer.escape_ascii()));
                }
            }
        }
    }
}

const HIDDEN: &str =
    "GET /hidden HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\nx-case: hidden\r\n\r\n";

/// Fields that parsers have read in more ways than one.
const ODD: &[&str] = &[
    "content-length: 0",
    "content-length: 5",
    "Content-Length:7 ",
    "content-length: +5",
    "content-length: 05",
    "content-length: 5, 5",
    "content-length: 0x5",
    "content-length : 5",
    " content-length: 5",
    "content-length: 18446744073709551621",
    "transfer-encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "transfer-encoding: Chunked",
    "transfer-encoding: identity",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding : chunked",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding: chunked\r\n x: y",
    "x: y\rtransfer-encoding: chunked",
    "x: y\ntransfer-encoding: chunked",
    "te: trailers",
    "trailer: x-case",
    "connection: close",
    "connection: keep-alive, content-length",
    "connection: transfer-encoding",
    "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    "connection: upgrade\r\nupgrade: websocket",
    "expect: 100-continue",
    "host: other.test",
    "host:",
    ": none",
    "nothing",
    "x-\u{0}: y",
    "x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Bytes that mean something.
const BYTES: &[u8] = b"\r\n\t :;,0159afAF+-_/?#%\\\"\0\x0b\x7f\x80\xffxGP";

fn head(dice: &mut Dice, method: &str, case: &str, framing: &str) -> Vec<u8> {
    let target = dice.of(&["/a", "/a/b?c=d", "/a//b", "/%61/x", "http://gate.test/a", "/a/../b", "*", "/a#b", "/a;b"]);
    let version =
        dice.of(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1"]);
    let target = if dice.below(3) > 0 { "/a" } else { target };
    let version = if dice.below(3) > 0 { "HTTP/1.1" } else { version };
    let mut fields = vec![
        "host: gate.test".to_owned(),
        "user-agent: suite".to_owned(),
        "accept: */*".to_owned(),
        format!("x-case: {case}"),
    ];
    if !framing.is_empty() {
        fields.push("content-type: text/plain".to_owned());
        fields.push(framing.to_owned());
    }
    while dice.below(3) == 0 {
        let at = dice.below(fields.len() + 1);
        fields.insert(at, dice.of(ODD).to_owned());
    }
    if dice.below(12) == 0 {
        let at = dice.below(fields.len());
        fields.push(fields[at].clone());
    }
    format!("{method} {target} {version}\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes()
}

/// One request, most often in good form.
fn request(dice: &mut Dice, case: &str) -> Vec<u8> {
    let body = dice.of(&["", "hello", HIDDEN, "0\r\n\r\n", "a=1&b=2"]);
    let mut bytes = match dice.below(5) {
        0 | 1 => {
            let method = dice.of(&["GET", "GET", "DELETE", "OPTIONS", "get"]);
            head(dice, method, case, "")
        }
        2 => {
            let wrong = dice.of(&[0_isize, 0, 0, 0, 0, 1, -1, 7]);
            let length = body.len().saturating_add_signed(wrong);
            let mut bytes = head(dice, "POST", case, &format!("content-length: {length}"));
            bytes.extend_from_slice(body.as_bytes());
            bytes
        }
        _ => {
            let mut bytes = head(dice, "POST", case, "transfer-encoding: chunked");
            for piece in [body, "more"].iter().take(1 + dice.below(2)).filter(|piece| !piece.is_empty()) {
                let size = piece.len();
                let size = match dice.below(16) {
                    0 => format!("{size:x};a=b"),
                    1 => format!("000{size:x}"),
                    2 => format!("{size:X}"),
                    3 => format!("{size:x} "),
                    4 => format!("{size:x};a=\"b\nc\""),
                    5 => format!("0x{size:x}"),
                    6 => format!("{:x}", size + 1),
                    7 => format!("{:x}0000000000000000", size),
                    8 => String::new(),
                    _ => format!("{size:x}"),
                };
                bytes.extend_from_slice(format!("{size}\r\n{piece}\r\n").as_bytes());
            }
            let end = dice.of(&[
                "0\r\n\r\n",
                "0\r\n\r\n",
                "0\r\n\r\n",
                "00\r\n\r\n",
                "0\r\nx-t: 1\r\n\r\n",
                "0\r\nhost: x\r\n\r\n",
                "0\n\n",
                "0\r\n",
            ]);
            bytes.extend_from_slice(end.as_bytes());
            bytes
        }
    };
    // Bytes changed, added and lost.
    while dice.below(4) == 0 {
        let (at, byte) = (dice.below(bytes.len()), dice.of(BYTES));
        match dice.below(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Some requests behind each other, and one that ends the connection.
fn stream(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let count = 1 + dice.below(3);
    let mut bytes: Vec<u8> = (0..count).flat_map(|n| request(&mut dice, &format!("{seed}-{n}"))).collect();
    let last = "GET /last HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\nconnection: close\r\n";
    bytes.extend_from_slice(format!("{last}x-case: {seed}-last\r\n\r\n").as_bytes());
    bytes
}

/// Sends bytes, in two pieces now and then, and gives all that comes back until the gate closes.
async fn answers(gate: SocketAddr, bytes: &[u8], split: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (first, second) = bytes.split_at(split.min(bytes.len()));
    let _ = stream.write_all(first).await;
    tokio::task::yield_now().await;
    // A gate that has refused takes no more.
    let _ = stream.write_all(second).await;
    let mut all = Vec::new();
    let read = async { while stream.read_buf(&mut all).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(PATIENCE, read).await.expect("the gate closes every connection");
    all
}

fn streams() -> u64 {
    std::env::var("GATEHOUSE_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_admitted_arrives_as_exactly_one_request_and_what_is_refused_not_at_all() {
    let times = "[timeouts]\nbody_idle = \"400ms\"\nhead = \"400ms\"\nkeepalive = \"400ms\"\n";
    for (held, more) in [(true, ""), (false, "[waf]\nenabled = false\n")] {
        let recorder = Recorder::default();
        let (address, _tasks) = recorder.start().await;
        let gate = Gate::start(&[address], &format!("{times}[cache]\nenabled = false\n{more}")).await;
        let (mut admitted, mut refused) = (0, 0);
        for seed in 1..=streams() {
            let bytes = stream(seed);
            let (before, had) = {
                let recorded = recorder.0.lock();
                (recorded.bytes, recorded.requests.len())
            };
            let split = if seed % 3 == 0 { bytes.len() / 2 } else { bytes.len() };
            let said = answers(gate.plain, &bytes, split).await;
            let what =
                || format!("seed {seed}, held: {held}\nsent {}\ngot {}", bytes.escape_ascii(), said.escape_ascii());
            let text = String::from_utf8_lossy(&said).into_owned();
            let answered: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("x-replica: ").or_else(|| line.strip_prefix("x-replica:")))
                .map(str::trim)
                .collect();
            let recorded = recorder.0.lock();
            let arrived = &recorded.requests[had..];
            // In their order, and nothing that was not sent as one; what was refused is left out.
            let sent = all(&bytes);
            let mut rest = sent.iter();
            for arrived in arrived {
                let key = (&arrived.method, &arrived.case, &arrived.body);
                let Some(sent) = rest.find(|sent| (&sent.method, &sent.case, &sent.body) == key) else {
                    panic!("{}\narrived {arrived:?}\nwas sent {sent:?}", what());
                };
                let simple = sent.target.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/');
                assert!(!simple || sent.target.contains("//") || arrived.target == sent.target, "{}", what());
            }
            if held {
                let cases: Vec<&str> = arrived.iter().map(|read| read.case.as_deref().unwrap_or_default()).collect();
                assert_eq!(cases, answered, "{}", what());
                assert!(recorded.dirty.is_empty(), "{}\n{:?}", what(), recorded.dirty);
                assert!(!answered.is_empty() || recorded.bytes == before, "{}: bytes of what is refused", what());
            } else {
                // A body that turns out to be none is cut off: what arrived of it is no whole request.
                let unclean = recorded.dirty.iter().find(|dirty| !dirty.starts_with("cut: "));
                assert!(unclean.is_none(), "{}\n{unclean:?}", what());
            }
            admitted += arrived.len();
            refused += usize::from(arrived.len() < sent.len() || text.contains("HTTP/1.1 4"));
        }
        println!("held: {held}: {admitted} requests admitted, {refused} of {} streams refused in part", streams());
        assert!(admitted > 100 && refused > 50, "{admitted} admitted, {refused} refused");
    }
}
