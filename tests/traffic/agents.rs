//! The programs that talk to Archon, by the header fields they send.

use crate::dice::Dice;
use crate::request::Request;

/// What a request is for, as far as a browser's fields tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `fetch` from the page.
    Fetch,
    /// A page is opened.
    Page,
    /// A script, a style sheet or a picture of it.
    Asset,
    /// An `EventSource`.
    Events,
}

const BROWSERS: &[(&str, &str)] = &[
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Google Chrome\";v=\"138\"",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "\"Google Chrome\";v=\"141\", \"Not?A_Brand\";v=\"8\", \"Chromium\";v=\"141\"",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
        "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Microsoft Edge\";v=\"140\"",
    ),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", ""),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", ""),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        "",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        "",
    ),
];

const LANGUAGES: &[&str] = &[
    "en-US,en;q=0.9",
    "en-US,en;q=0.5",
    "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3",
    "ja,en-US;q=0.9,en;q=0.8",
    "ar-EG,ar;q=0.9,en;q=0.6",
    "ru-RU,ru;q=0.9",
];

const REFERERS: &[&str] = &[
    "https://archon.example.org/",
    "https://archon.example.org/projects",
    "https://archon.example.org/projects/2f8b4c1e-7d0a-4a53-9d35-1c8e5f0b7a92",
    "https://archon.example.org/settings?tab=api-keys",
    "https://archon.example.org/chat/web-1755871234567-k3j9x2",
    "https://archon.example.org/?q=c%2B%2B+templates",
    "http://localhost:3737/mcp",
];

/// A browser's fields.
pub(crate) fn browser(mut request: Request, dice: &mut Dice, purpose: Purpose) -> Request {
    let (agent, hints) = dice.pick(BROWSERS);
    request = request.field("user-agent", *agent);
    let accept = match purpose {
        Purpose::Fetch if dice.one_in(3) => "application/json",
        Purpose::Fetch => "*/*",
        Purpose::Page => {
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
             application/signed-exchange;v=b3;q=0.7"
        }
        Purpose::Asset if dice.one_in(2) => "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        Purpose::Asset => "text/css,*/*;q=0.1",
        Purpose::Events => "text/event-stream",
    };
    request = request
        .field("accept", accept)
        .field("accept-language", *dice.pick(LANGUAGES))
        .field("accept-encoding", "gzip, deflate, br, zstd");
    if !hints.is_empty() {
        request = request
            .field("sec-ch-ua", *hints)
            .field("sec-ch-ua-mobile", "?0")
            .field("sec-ch-ua-platform", *dice.pick(&["\"Windows\"", "\"macOS\"", "\"Linux\""]));
    }
    let (mode, dest) = match purpose {
        Purpose::Fetch => ("cors", "empty"),
        Purpose::Page => ("navigate", "document"),
        Purpose::Asset => ("no-cors", "script"),
        Purpose::Events => ("cors", "empty"),
    };
    request =
        request.field("sec-fetch-site", "same-origin").field("sec-fetch-mode", mode).field("sec-fetch-dest", dest);
    if purpose == Purpose::Page {
        request = request.field("sec-fetch-user", "?1").field("upgrade-insecure-requests", "1");
    } else {
        request = request.field("referer", *dice.pick(REFERERS));
    }
    if request.method != "GET" {
        request = request.field("origin", "https://archon.example.org");
    }
    if purpose == Purpose::Events {
        request = request.field("cache-control", "no-cache");
    }
    if dice.one_in(3) {
        let cookie = match dice.below(4) {
            0 => format!("better-auth.session_token={}.{}%3D", dice.token(32), dice.token(42)),
            1 => format!("archon_auth=alice.{}", dice.hex(64)),
            2 => {
                format!("theme=dark; sidebar:state=true; _ga=GA1.1.{}.175{}", dice.next() % 1_000_000_000, dice.hex(7))
            }
            _ => format!(
                "better-auth.session_token={}; consent=%7B%22analytics%22%3Afalse%2C%22v%22%3A2%7D",
                dice.token(32)
            ),
        };
        request = request.field("cookie", cookie);
    }
    if dice.one_in(6) {
        request = request.field("traceparent", format!("00-{}-{}-01", dice.hex(32), dice.hex(16)));
    }
    request
}

/// A program's fields: agents, scripts, editors.
pub(crate) fn program(request: Request, dice: &mut Dice) -> Request {
    let agent = *dice.pick(&[
        "python-httpx/0.28.1",
        "python-httpx/0.27.0",
        "python-requests/2.32.3",
        "claude-code/1.0.89 (cli)",
        "claude-cli/1.0.120 (external, cli)",
        "Cursor/1.4.5 (darwin arm64)",
        "node",
        "undici",
        "axios/1.11.0",
        "curl/8.5.0",
        "curl/7.88.1",
        "Bun/1.2.20",
        "Go-http-client/1.1",
        "okhttp/4.12.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Cursor/1.4.5 Chrome/132.0.6834.210 Electron/34.5.8 Safari/537.36",
        "Visual Studio Code/1.103.1",
    ]);
    let has_accept = request.fields.iter().any(|(name, _)| name == "accept");
    let mut request = request.field("user-agent", agent);
    if !has_accept {
        request = request.field("accept", "*/*");
    }
    if !agent.starts_with("curl") {
        request = request.field("accept-encoding", "gzip, deflate");
    }
    if dice.one_in(4) {
        request = request.field("authorization", format!("Bearer {}", jwt(dice)));
    }
    if dice.one_in(5) {
        request = request.field("traceparent", format!("00-{}-{}-00", dice.hex(32), dice.hex(16)));
    }
    request
}

pub(crate) fn anyone(request: Request, dice: &mut Dice) -> Request {
    if dice.one_in(3) { program(request, dice) } else { browser(request, dice, Purpose::Fetch) }
}

pub(crate) fn jwt(dice: &mut Dice) -> String {
    format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOi{}.{}", dice.token(60), dice.token(43))
}
