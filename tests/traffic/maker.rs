//! What requests are made of: values as Archon and its clients write them, lines and texts of one half.

use crate::agents::{self, Purpose};
use crate::dice::{Dice, Half};
use crate::lines;
use crate::request::{Form, Request, json};
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

    pub(crate) fn uuid(&mut self) -> String {
        let d = &mut self.dice;
        format!("{}-{}-4{}-{}{}-{}", d.hex(8), d.hex(4), d.hex(3), d.pick(&["8", "9", "a", "b"]), d.hex(3), d.hex(12))
    }

    pub(crate) fn etag(&mut self) -> String {
        format!("\"{}\"", self.dice.hex(32))
    }

    /// A source of knowledge: a digest of its address, or made of a file's name.
    pub(crate) fn source(&mut self) -> String {
        match self.dice.below(3) {
            0 => {
                let name = *self.dice.pick(&["handbook_pdf", "README_md", "api_notes_txt", "Größe_docx"]);
                format!("file_{}_{}", name.replace('ö', "o").replace('ß', "ss"), self.dice.hex(8))
            }
            _ => self.dice.hex(16),
        }
    }

    pub(crate) fn conversation(&mut self) -> String {
        match self.dice.below(3) {
            0 => self.uuid(),
            _ => format!("web-17{}-{}", 50_000_000_000 + self.dice.below(9_000_000_000), self.dice.hex(6)),
        }
    }

    pub(crate) fn number(&mut self, from: usize, to: usize) -> usize {
        self.dice.between(from, to)
    }

    pub(crate) fn pick(&mut self, list: &[&'static str]) -> &'static str {
        *self.dice.pick::<&'static str>(list)
    }

    pub(crate) fn time(&mut self) -> String {
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

    pub(crate) fn url(&mut self) -> String {
        let base = self.pick(&[
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

    pub(crate) fn json_line(&mut self) -> String {
        let line = self.line();
        self.quote(&line)
    }

    pub(crate) fn json_text(&mut self, most: usize) -> String {
        let text = self.text(most);
        self.quote(&text)
    }

    /// A list of up to `n` lines.
    pub(crate) fn json_lines(&mut self, n: usize) -> String {
        let lines: Vec<_> = (0..self.dice.below(n + 1)).map(|_| self.json_line()).collect();
        format!("[{}]", lines.join(","))
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

    pub(crate) fn get(&mut self, target: impl Into<String>) -> Request {
        agents::anyone(Request::new("GET", target), &mut self.dice)
    }

    pub(crate) fn polled(&mut self, target: impl Into<String>) -> Request {
        let request = agents::browser(Request::new("GET", target), &mut self.dice, Purpose::Fetch);
        if self.dice.one_in(4) { request } else { request.field("if-none-match", self.etag()) }
    }

    pub(crate) fn send(&mut self, method: &'static str, target: impl Into<String>, body: String) -> Request {
        let request = Request::new(method, target).json(body);
        agents::anyone(request, &mut self.dice)
    }

    /// A tool's call as agents make it.
    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> Request {
        let id = self.number(1, 9_000);
        self.mcp(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":\
             {arguments},\"_meta\":{{\"progressToken\":{id}}}}}}}"
        ))
    }

    pub(crate) fn mcp(&mut self, body: &str) -> Request {
        let request = Request::new("POST", "/mcp")
            .json(body)
            .field("accept", "application/json, text/event-stream")
            .field("mcp-protocol-version", self.pick(&["2025-06-18", "2025-03-26"]))
            .field("mcp-session-id", self.dice.hex(32));
        agents::program(request, &mut self.dice)
    }
}
