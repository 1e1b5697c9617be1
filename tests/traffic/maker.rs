//! What requests are made of: values as Archon and its clients write them, lines and texts of one half.

use crate::agents::{self, Purpose};
use crate::dice::{Dice, Half};
use crate::lines;
use crate::request::{Form, Request, json, percent, query};
use crate::texts::Texts;
use std::sync::OnceLock;

/// Lines by half.
pub(crate) fn lines(half: Half) -> &'static [String] {
    static LINES: OnceLock<[Vec<String>; 2]> = OnceLock::new();
    let lines =
        LINES.get_or_init(|| Half::BOTH.map(|half| lines::all().into_iter().filter(|l| Half::of(l) == half).collect()));
    &lines[half as usize]
}

/// Makes one request.
pub(crate) struct Maker {
    pub(crate) dice: Dice,
    half: Half,
    /// Whether its client escapes all beyond ASCII.
    ascii: bool,
}

impl Maker {
    pub(crate) fn new(seed: u64, half: Half) -> Self {
        let mut dice = Dice::new(seed);
        let ascii = dice.one_in(2);
        Self { dice, half, ascii }
    }

    fn uuid(&mut self) -> String {
        let d = &mut self.dice;
        format!("{}-{}-4{}-{}{}-{}", d.hex(8), d.hex(4), d.hex(3), d.pick(&["8", "9", "a", "b"]), d.hex(3), d.hex(12))
    }

    fn etag(&mut self) -> String {
        format!("\"{}\"", self.dice.hex(32))
    }

    /// A source of knowledge: a digest of its address, or made of a file's name.
    fn source(&mut self) -> String {
        match self.dice.below(3) {
            0 => {
                let name = *self.dice.pick(&["handbook_pdf", "README_md", "api_notes_txt", "Größe_docx"]);
                format!("file_{}_{}", name.replace('ö', "o").replace('ß', "ss"), self.dice.hex(8))
            }
            _ => self.dice.hex(16),
        }
    }

    fn conversation(&mut self) -> String {
        match self.dice.below(3) {
            0 => self.uuid(),
            _ => format!("web-17{}-{}", 50_000_000_000 + self.dice.below(9_000_000_000), self.dice.hex(6)),
        }
    }

    fn time(&mut self) -> String {
        let d = &mut self.dice;
        format!(
            "2026-0{}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00",
            d.between(1, 9),
            d.between(1, 28),
            d.below(24),
            d.below(60),
            d.below(60),
            d.below(1_000_000)
        )
    }

    fn url(&mut self) -> String {
        let base = *self.dice.pick(&[
            "https://docs.python.org/3/library/asyncio-task.html",
            "https://react.dev/reference/react/useState#usage",
            "https://ai.pydantic.dev/llms-full.txt",
            "https://doc.rust-lang.org/std/vec/struct.Vec.html#method.drain",
            "https://en.wikipedia.org/wiki/C%2B%2B",
            "https://de.wikipedia.org/wiki/Stra%C3%9Fe_(Begriffskl%C3%A4rung)",
            "https://github.com/rust-lang/book/blob/main/src/ch04-01-what-is-ownership.md",
            "https://raw.githubusercontent.com/coleam00/Archon/main/README.md",
            "https://learn.microsoft.com/en-us/sql/t-sql/queries/select-transact-sql?view=sql-server-ver16",
            "https://developer.mozilla.org/en-US/docs/Web/HTML/Element/script",
            "https://www.postgresql.org/docs/current/queries-union.html",
            "https://example.org/docs/search?q=drop+table&lang=en&sort=date",
            "http://docs.example.com:8080/guide/index.php?page=install&v=2",
            "https://example.org/sitemap.xml",
            "https://kubernetes.io/docs/concepts/configuration/secret/",
            "https://example.org/a,b;c/@scope/pkg/~user/(x)/!",
        ]);
        match self.dice.below(3) {
            0 => base.to_owned(),
            _ => format!(
                "{base}{}ref={}",
                if base.contains('?') || base.contains('#') { "&" } else { "?" },
                self.dice.hex(5)
            ),
        }
    }

    pub(crate) fn file(&mut self) -> (String, &'static str) {
        let (stem, kind) = *self.dice.pick(&[
            ("package.json", "application/json"),
            ("tsconfig.json", "application/json"),
            (".env.example", "application/octet-stream"),
            ("README.md", "text/markdown"),
            ("Grüße aus Köln (final) v2.md", "text/markdown"),
            ("Q&A - O'Reilly's notes.txt", "text/plain"),
            ("main.rs", "text/x-rust"),
            ("server.py", "text/x-python"),
            ("schema.sql", "application/sql"),
            ("docker-compose.yml", "application/yaml"),
            ("設計書.md", "text/markdown"),
            ("отчёт.txt", "text/plain"),
            ("data 2026-08-25.csv", "text/csv"),
            ("index.html", "text/html"),
            ("App.test.tsx", "text/plain"),
            ("Dockerfile", "application/octet-stream"),
            ("C++ primer [3rd ed.].txt", "text/plain"),
            ("report;final=2.txt", "text/plain"),
        ]);
        (if self.dice.one_in(2) { stem.to_owned() } else { format!("{}-{stem}", self.dice.hex(4)) }, kind)
    }

    /// A line of this half.
    pub(crate) fn line(&mut self) -> String {
        self.dice.pick(lines(self.half)).clone()
    }

    /// A text of up to about `most` bytes, most often a short one.
    pub(crate) fn text(&mut self, most: usize) -> String {
        let size = match self.dice.below(10) {
            0 => most,
            1..=3 => most / 8,
            _ => 200,
        };
        Texts::get().document(self.half, &mut self.dice, size)
    }

    /// A JSON string as this client writes it.
    pub(crate) fn quote(&self, text: &str) -> String {
        json(text, self.ascii)
    }

    /// Fills `‹…›` in a target or in a JSON body, which may be broken into lines for reading:
    ///
    /// | hole | becomes |
    /// |---|---|
    /// | `uuid`, `source`, `conversation`, `time`, `url`, `hex N`, `token N` | such a value, bare |
    /// | `n A B` | a number from A to B |
    /// | `pick A B…` | one of the words |
    /// | `line`, `text N`, `address` | a JSON string: a line, a text of up to N KiB, a URL |
    /// | `lines N` | a JSON list of up to N lines |
    /// | `line?`, `address?` | the same for a query |
    pub(crate) fn fill(&mut self, template: &str) -> String {
        let mut out = String::new();
        let template: String = template.lines().map(str::trim_start).collect();
        for (i, piece) in template.split(['‹', '›']).enumerate() {
            if i % 2 == 0 {
                out.push_str(piece);
                continue;
            }
            let words: Vec<&str> = piece.split(' ').collect();
            let number = |at: usize| words[at].parse::<usize>().unwrap();
            let value = match words[0] {
                "uuid" => self.uuid(),
                "source" => self.source(),
                "conversation" => self.conversation(),
                "time" => self.time(),
                "url" => self.url(),
                "hex" => self.dice.hex(number(1)),
                "token" => self.dice.token(number(1)),
                "n" => self.dice.between(number(1), number(2)).to_string(),
                "pick" => (*self.dice.pick(&words[1..])).to_owned(),
                "line" => self.json_line(),
                "lines" => {
                    let lines: Vec<_> = (0..self.dice.below(number(1) + 1)).map(|_| self.json_line()).collect();
                    format!("[{}]", lines.join(","))
                }
                "text" => {
                    let text = self.text(number(1) << 10);
                    self.quote(&text)
                }
                "address" => {
                    let url = self.url();
                    self.quote(&url)
                }
                "line?" => query(&self.line()),
                "address?" => {
                    let url = self.url();
                    // Some clients leave alone what a query may hold.
                    percent(&url, self.dice.pick::<&str>(&["", "/:", ":/?=@,;"]))
                }
                hole => panic!("{hole}: no such hole"),
            };
            out.push_str(&value);
        }
        out
    }

    fn json_line(&mut self) -> String {
        let line = self.line();
        self.quote(&line)
    }

    pub(crate) fn form(&mut self) -> Form {
        let boundary = match self.dice.below(3) {
            0 => format!("----WebKitFormBoundary{}", self.dice.token(16).replace(['-', '_'], "x")),
            1 => format!("----geckoformboundary{}", self.dice.hex(32)),
            _ => self.dice.hex(32),
        };
        Form::new(boundary)
    }

    /// Bytes of no text.
    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n / 8 + 1).flat_map(|_| self.dice.next().to_le_bytes()).take(n).collect()
    }

    pub(crate) fn get(&mut self, target: &str) -> Request {
        let target = self.fill(target);
        agents::anyone(Request::new("GET", target), &mut self.dice)
    }

    /// A browser's poll, most often with the tag of what it has.
    pub(crate) fn poll(&mut self, target: &str) -> Request {
        let request = Request::new("GET", self.fill(target));
        let request = agents::browser(request, &mut self.dice, Purpose::Fetch);
        if self.dice.one_in(4) { request } else { request.field("if-none-match", self.etag()) }
    }

    pub(crate) fn send(&mut self, method: &'static str, target: &str, body: &str) -> Request {
        let request = Request::new(method, self.fill(target)).json(self.fill(body));
        agents::anyone(request, &mut self.dice)
    }

    /// A tool's call as agents make it.
    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> Request {
        let id = self.dice.between(1, 9_000);
        self.mcp(&call(id, tool, arguments, &format!(r#","_meta":{{"progressToken":{id}}}"#)))
    }

    pub(crate) fn mcp(&mut self, body: &str) -> Request {
        let version = *self.dice.pick(&["2025-06-18", "2025-03-26"]);
        let request = Request::new("POST", "/mcp")
            .json(self.fill(body))
            .field("accept", "application/json, text/event-stream")
            .field("mcp-protocol-version", version)
            .field("mcp-session-id", self.dice.hex(32));
        agents::program(request, &mut self.dice)
    }
}

/// The body of a tool's call.
pub(crate) fn call(id: usize, tool: &str, arguments: &str, more: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{more}}}}}"#
    )
}
