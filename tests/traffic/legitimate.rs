//! What Archon's users, agents and tools send, route by route.

use crate::agents::{self, Purpose};
use crate::dice::Half;
use crate::maker::Maker;
use crate::request::{Request, percent, query};
use sha2::{Digest, Sha256};

/// What of a request people or models wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carries {
    /// Prose, code or logs.
    Text,
    /// One line.
    Short,
    /// Ids, numbers, names of states: nothing.
    Typed,
}

impl Carries {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Short, Self::Typed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Short => "short",
            Self::Typed => "typed",
        }
    }
}

/// One kind of request.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) carries: Carries,
    /// How many are made for each half.
    pub(crate) times: usize,
    make: fn(&mut Maker) -> Request,
}

impl Route {
    /// The `n`th of its requests.
    pub(crate) fn request(&self, half: Half, n: usize) -> Request {
        let name = self.name.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
        (self.make)(&mut Maker::new(name ^ (n as u64) << 40 ^ (half as u64) << 60, half))
    }
}

const fn text(name: &'static str, times: usize, make: fn(&mut Maker) -> Request) -> Route {
    Route { name, carries: Carries::Text, times, make }
}

const fn short(name: &'static str, times: usize, make: fn(&mut Maker) -> Request) -> Route {
    Route { name, carries: Carries::Short, times, make }
}

const fn typed(name: &'static str, times: usize, make: fn(&mut Maker) -> Request) -> Route {
    Route { name, carries: Carries::Typed, times, make }
}

const KIB: usize = 1024;

pub(crate) const ROUTES: &[Route] = &[
    // Both.
    typed("GET health", 6, |m| {
        let path = m.pick(&["/health", "/api/health", "/ready"]);
        m.get(path)
    }),
    typed("GET page", 12, |m| {
        let (source, id) = (m.uuid(), m.conversation());
        let target = match m.number(0, 3) {
            0 => "/".to_owned(),
            1 => format!("/projects/{source}"),
            2 => format!("/chat/{id}"),
            _ => "/settings?tab=api-keys".to_owned(),
        };
        agents::browser(Request::new("GET", target), &mut m.dice, Purpose::Page)
    }),
    typed("GET assets", 12, |m| {
        let target = format!(
            "/assets/{}-{}.{}",
            m.pick(&["index", "vendor-react", "KaTeX_Main-Regular"]),
            m.dice.token(8),
            m.pick(&["js", "css", "woff2", "js.map"])
        );
        agents::browser(Request::new("GET", target), &mut m.dice, Purpose::Asset)
    }),
    typed("OPTIONS", 14, |m| {
        let id = m.uuid();
        let target = match m.number(0, 3) {
            0 => "/api/tasks".to_owned(),
            1 => format!("/api/projects/{id}"),
            2 => "/mcp".to_owned(),
            _ => "/api/documents/upload".to_owned(),
        };
        let request = Request::new("OPTIONS", target)
            .field("access-control-request-method", m.pick(&["POST", "PUT", "DELETE"]))
            .field(
                "access-control-request-headers",
                m.pick(&["content-type", "content-type,if-none-match", "authorization,content-type,mcp-session-id"]),
            );
        agents::browser(request, &mut m.dice, Purpose::Fetch)
    }),
    // Projects.
    typed("GET projects", 20, |m| {
        let target = m.pick(&[
            "/api/projects",
            "/api/projects?include_content=false",
            "/api/projects/task-counts",
            "/api/projects?include_content=true",
        ]);
        m.polled(target)
    }),
    typed("GET projects/{id}", 16, |m| {
        let (id, other) = (m.uuid(), m.uuid());
        let rest = match m.number(0, 4) {
            0 => String::new(),
            1 => "/tasks?include_archived=false&exclude_large_fields=true".to_owned(),
            2 => "/docs?include_content=true".to_owned(),
            3 => format!("/docs/{other}"),
            _ => "/versions?field_name=docs".to_owned(),
        };
        m.polled(format!("/api/projects/{id}{rest}"))
    }),
    text("POST projects", 40, |m| {
        let body = format!(
            "{{\"title\":{},\"description\":{},\"github_repo\":\"https://github.com/{}/{}\",\"docs\":[],\"features\":{},\"data\":[],\"technical_sources\":[\"{}\"],\"pinned\":false}}",
            m.json_line(),
            m.json_text(8 * KIB),
            m.dice.hex(6),
            m.dice.hex(8),
            m.json_lines(4),
            m.source()
        );
        m.send("POST", "/api/projects", body)
    }),
    text("PUT projects/{id}", 30, |m| {
        let body = format!(
            "{{\"docs\":[{{\"id\":\"{}\",\"title\":{},\"document_type\":\"prd\",\"content\":{{\"markdown\":{}}}}}],\"updated_at\":\"{}\"}}",
            m.uuid(),
            m.json_line(),
            m.json_text(100 * KIB),
            m.time()
        );
        let target = format!("/api/projects/{}", m.uuid());
        m.send("PUT", target, body)
    }),
    typed("DELETE", 16, |m| {
        let (id, other, source) = (m.uuid(), m.uuid(), m.source());
        let target = match m.number(0, 5) {
            0 => format!("/api/projects/{id}"),
            1 => format!("/api/tasks/{id}"),
            2 => format!("/api/projects/{id}/docs/{other}"),
            3 => format!("/api/knowledge-items/{source}"),
            4 => format!("/api/conversations/{id}"),
            _ => format!("/api/codebases/{id}/env/NODE_ENV"),
        };
        agents::anyone(Request::new("DELETE", target), &mut m.dice)
    }),
    // Tasks.
    typed("GET tasks", 20, |m| {
        let target = format!(
            "/api/tasks?status={}&project_id={}&page={}&per_page=50&include_closed=true",
            m.pick(&["todo", "doing", "review", "done"]),
            m.uuid(),
            m.number(1, 40)
        );
        m.polled(target)
    }),
    short("GET tasks?q", 20, |m| {
        let target = format!("/api/tasks?q={}&page={}&per_page=20", query(&m.line()), m.number(1, 9));
        m.get(target)
    }),
    text("POST tasks", 80, |m| {
        let body = format!(
            "{{\"project_id\":\"{}\",\"title\":{},\"description\":{},\"status\":\"{}\",\"assignee\":\"{}\",\"task_order\":{},\"priority\":\"{}\",\"feature\":{},\"sources\":[{{\"url\":{},\"type\":\"documentation\",\"relevance\":{}}}],\"code_examples\":[]}}",
            m.uuid(),
            m.json_line(),
            m.json_text(5 * KIB),
            m.pick(&["todo", "doing"]),
            m.pick(&["User", "Archon", "AI IDE Agent"]),
            m.number(0, 200),
            m.pick(&["low", "medium", "high", "critical"]),
            m.json_line(),
            {
                let url = m.url();
                m.quote(&url)
            },
            m.json_line()
        );
        m.send("POST", "/api/tasks", body)
    }),
    text("PUT tasks/{id}", 40, |m| {
        let body =
            format!("{{\"description\":{},\"status\":\"{}\"}}", m.json_text(5 * KIB), m.pick(&["review", "done"]));
        let target = format!("/api/tasks/{}", m.uuid());
        m.send("PUT", target, body)
    }),
    typed("PUT tasks/{id} order", 12, |m| {
        let body = format!(
            "{{\"status\":\"{}\",\"task_order\":{}}}",
            m.pick(&["todo", "doing", "review", "done"]),
            m.number(0, 99)
        );
        let target = format!("/api/tasks/{}", m.uuid());
        m.send("PUT", target, body)
    }),
    // Documents and versions.
    text("POST docs", 60, |m| {
        let body = format!(
            "{{\"document_type\":\"{}\",\"title\":{},\"content\":{{\"type\":\"doc\",\"overview\":{},\"sections\":[{{\"heading\":{},\"body\":{}}}]}},\"tags\":{},\"author\":{}}}",
            m.pick(&["prd", "spec", "guide", "note", "api"]),
            m.json_line(),
            m.json_text(20 * KIB),
            m.json_line(),
            m.json_text(600 * KIB),
            m.json_lines(4),
            m.json_line()
        );
        let target = format!("/api/projects/{}/docs", m.uuid());
        m.send("POST", target, body)
    }),
    text("PUT docs/{id}", 30, |m| {
        let body = format!("{{\"title\":{},\"content\":{{\"markdown\":{}}}}}", m.json_line(), m.json_text(200 * KIB));
        let target = format!("/api/projects/{}/docs/{}", m.uuid(), m.uuid());
        m.send("PUT", target, body)
    }),
    text("POST versions", 24, |m| {
        let body = format!(
            "{{\"field_name\":\"docs\",\"content\":[{{\"title\":{},\"content\":{{\"text\":{}}}}}],\"change_summary\":{},\"change_type\":\"update\",\"document_id\":\"{}\",\"created_by\":\"{}\"}}",
            m.json_line(),
            m.json_text(50 * KIB),
            m.json_line(),
            m.uuid(),
            m.pick(&["system", "User"])
        );
        let target = format!("/api/projects/{}/versions", m.uuid());
        m.send("POST", target, body)
    }),
    typed("versions/{n}/restore", 6, |m| {
        let target = format!("/api/projects/{}/versions/docs/{}/restore", m.uuid(), m.number(1, 60));
        m.send("POST", target, "{\"restored_by\":\"system\"}".to_owned())
    }),
    // Progress, versions of the product, settings.
    typed("GET progress", 24, |m| {
        let id = m.uuid();
        let target = match m.number(0, 3) {
            0 => "/api/progress/".to_owned(),
            1 => format!("/api/crawl-progress/{id}"),
            _ => format!("/api/progress/{id}"),
        };
        m.polled(target)
    }),
    typed("GET status", 14, |m| {
        let target = m.pick(&[
            "/api/version/check",
            "/api/migrations/status",
            "/api/migrations/history",
            "/api/mcp/status",
            "/api/mcp/clients",
            "/api/mcp/health",
        ]);
        m.polled(target)
    }),
    typed("GET credentials", 8, |m| {
        let target = m.pick(&[
            "/api/credentials",
            "/api/credentials/OPENAI_API_KEY",
            "/api/credentials/categories/rag_strategy",
        ]);
        m.get(target)
    }),
    text("PUT credentials", 30, |m| {
        let (token, url) = (m.dice.token(48), m.url());
        let value = match m.number(0, 4) {
            0 => format!("sk-proj-{token}"),
            1 => format!("postgresql://archon:p%40ss'w0rd;{}@db:5432/archon?sslmode=require", m.dice.hex(6)),
            2 => url,
            3 => format!("-----BEGIN PRIVATE KEY-----\n{token}\n{}\n-----END PRIVATE KEY-----\n", m.dice.token(64)),
            _ => m.line(),
        };
        let key = m.pick(&["OPENAI_API_KEY", "DATABASE_URL", "LLM_BASE_URL", "SIGNING_KEY", "SYSTEM_PROMPT"]);
        let body = format!(
            "{{\"key\":\"{key}\",\"value\":{},\"is_encrypted\":{},\"category\":\"api_keys\",\"description\":{}}}",
            m.quote(&value),
            m.pick(&["true", "false"]),
            m.json_line()
        );
        if m.dice.one_in(2) {
            m.send("POST", "/api/credentials", body)
        } else {
            m.send("PUT", format!("/api/credentials/{key}"), body)
        }
    }),
    text("POST bug-report", 30, |m| {
        let body = format!(
            "{{\"title\":{},\"description\":{},\"stepsToReproduce\":{},\"expectedBehavior\":{},\"actualBehavior\":{},\"severity\":\"{}\",\"component\":\"knowledge-base\",\"context\":{{\"error\":{{\"name\":\"TypeError\",\"message\":{},\"stack\":{}}},\"app\":{{\"version\":\"0.1.0\",\"url\":\"http://localhost:3737/projects?tab=1#x\",\"timestamp\":\"{}\"}},\"system\":{{\"platform\":\"MacIntel\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64)\",\"memory\":\"50MB / 80MB\"}},\"logs\":[{},{}]}}}}",
            m.json_line(),
            m.json_text(2 * KIB),
            m.json_text(1000),
            m.json_line(),
            m.json_line(),
            m.pick(&["low", "medium", "critical"]),
            m.json_line(),
            m.json_text(4 * KIB),
            m.time(),
            m.json_text(6 * KIB),
            m.json_line()
        );
        m.send("POST", "/api/bug-report/github", body)
    }),
    // Knowledge.
    typed("GET knowledge-items", 16, |m| {
        let source = m.source();
        let target = match m.number(0, 4) {
            0 => "/api/knowledge-items?page=1&per_page=100".to_owned(),
            1 => format!("/api/knowledge-items/summary?page={}&per_page=20&knowledge_type=technical", m.number(1, 9)),
            2 => format!(
                "/api/knowledge-items/{source}/chunks?limit=20&offset={}&domain_filter=docs.python.org",
                m.number(0, 900)
            ),
            3 => format!("/api/knowledge-items/{source}/code-examples?limit=20&offset=0"),
            _ => "/api/knowledge-items/sources".to_owned(),
        };
        m.get(target)
    }),
    short("GET knowledge-items?search", 16, |m| {
        let target = format!("/api/knowledge-items?page=1&per_page=20&search={}", percent(&m.line(), ""));
        m.get(target)
    }),
    short("POST knowledge-items/crawl", 30, |m| {
        let url = m.url();
        let body = format!(
            "{{\"url\":{},\"knowledge_type\":\"{}\",\"tags\":{},\"max_depth\":{},\"update_frequency\":7,\"extract_code_examples\":true}}",
            m.quote(&url),
            m.pick(&["technical", "business"]),
            m.json_lines(3),
            m.number(1, 5)
        );
        m.send("POST", "/api/knowledge-items/crawl", body)
    }),
    text("POST documents/upload", 50, |m| {
        let (name, kind) = m.file();
        let most = match m.number(0, 15) {
            0 => 3 << 20,
            1 => 600 * KIB,
            _ => 8 * KIB,
        };
        let (content, tags) = (m.text(most), m.json_lines(3));
        let form = m.form().file("file", &name, kind, content.as_bytes()).text("tags", &tags);
        let request = form
            .text("knowledge_type", "technical")
            .text("extract_code_examples", "true")
            .on(Request::new("POST", "/api/documents/upload"));
        agents::anyone(request, &mut m.dice)
    }),
    typed("POST documents/upload binary", 12, |m| {
        let n = if m.dice.one_in(4) { 5 << 20 } else { 60 * KIB };
        let mut content = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
        content.extend(m.bytes(n));
        let name = format!("{}-{}.pdf", m.pick(&["Handbuch (2026)", "report", "設計"]), m.dice.hex(4));
        let form = m
            .form()
            .file("file", &name, "application/pdf", &content)
            .text("tags", "[\"pdf\"]")
            .text("knowledge_type", "business");
        agents::browser(form.on(Request::new("POST", "/api/documents/upload")), &mut m.dice, Purpose::Fetch)
    }),
    short("POST rag/query", 30, |m| {
        let source = m.source();
        let body = format!(
            "{{\"query\":{},\"source\":{},\"match_count\":{},\"return_mode\":\"{}\"}}",
            m.json_line(),
            if m.dice.one_in(2) { "null".to_owned() } else { m.quote(&source) },
            m.number(1, 20),
            m.pick(&["pages", "chunks"])
        );
        let target = m.pick(&["/api/rag/query", "/api/knowledge-items/search"]);
        m.send("POST", target, body)
    }),
    short("POST rag/code-examples", 16, |m| {
        let body = format!("{{\"query\":{},\"match_count\":{}}}", m.json_line(), m.number(1, 10));
        m.send("POST", "/api/rag/code-examples", body)
    }),
    typed("GET pages", 16, |m| {
        let (url, id, source) = (m.url(), m.uuid(), m.source());
        let target = match m.number(0, 3) {
            0 => format!("/api/pages/{id}"),
            1 => format!("/api/pages?source_id={source}"),
            _ => format!("/api/pages/by-url?url={}", percent(&url, m.pick(&["", "/:", ":/?=@,;"]))),
        };
        m.get(target)
    }),
    typed("GET ollama", 6, |m| {
        let url =
            m.pick(&["http://localhost:11434", "http://host.docker.internal:11434/v1", "http://192.168.1.20:11434"]);
        let target = format!("/api/ollama/instances/health?instance_urls={}&include_models=true", percent(url, ""));
        m.get(target)
    }),
    // Agents.
    typed("POST agent-chat/sessions", 8, |m| {
        let body = format!("{{\"project_id\":\"{}\",\"agent_type\":\"{}\"}}", m.uuid(), m.pick(&["rag", "document"]));
        m.send("POST", "/api/agent-chat/sessions", body)
    }),
    text("POST agent-chat/messages", 60, |m| {
        let body = format!("{{\"message\":{},\"context\":{{\"project_id\":\"{}\"}}}}", m.json_text(8 * KIB), m.uuid());
        let target = format!("/api/agent-chat/sessions/{}/messages", m.uuid());
        m.send("POST", target, body)
    }),
    text("POST agents/run", 40, |m| {
        let agent = m.pick(&["document", "rag", "task"]);
        let body = format!(
            "{{\"agent_type\":\"{agent}\",\"prompt\":{},\"context\":{{\"project_id\":\"{}\",\"notes\":{}}},\"options\":{{\"temperature\":0.{},\"stream\":true}}}}",
            m.json_text(16 * KIB),
            m.uuid(),
            m.json_text(2 * KIB),
            m.number(0, 9)
        );
        let target = if m.dice.one_in(2) { "/agents/run".to_owned() } else { format!("/agents/{agent}/stream") };
        m.send("POST", target, body)
    }),
    // MCP.
    typed("POST mcp session", 16, |m| {
        let body = match m.number(0, 4) {
            0 => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{{\"roots\":{{}}}},\"clientInfo\":{{\"name\":\"claude-code\",\"version\":\"1.0.{}\"}}}}}}",
                m.number(1, 99)
            ),
            1 => "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}".to_owned(),
            2 => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"tools/list\",\"params\":{{\"_meta\":{{\"progressToken\":1}}}}}}",
                m.number(1, 99)
            ),
            3 => format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{},\"reason\":\"AbortError: This operation was aborted\"}}}}",
                m.number(1, 99)
            ),
            _ => format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}", m.uuid()),
        };
        m.mcp(&body)
    }),
    typed("GET, DELETE mcp", 8, |m| {
        let method = if m.dice.one_in(3) { "DELETE" } else { "GET" };
        let mut request = Request::new(method, "/mcp").field("mcp-session-id", m.dice.hex(32));
        if method == "GET" {
            request = request.field("accept", "text/event-stream");
        }
        agents::program(request, &mut m.dice)
    }),
    text("mcp manage_task", 50, |m| {
        let arguments = format!(
            "{{\"action\":\"create\",\"project_id\":\"{}\",\"title\":{},\"description\":{},\"assignee\":\"User\",\"task_order\":{},\"feature\":{}}}",
            m.uuid(),
            m.json_line(),
            m.json_text(5 * KIB),
            m.number(0, 100),
            m.json_line()
        );
        m.call("manage_task", &arguments)
    }),
    text("mcp manage_project", 24, |m| {
        let arguments = format!(
            "{{\"action\":\"{}\",\"project_id\":\"{}\",\"title\":{},\"description\":{},\"github_repo\":\"https://github.com/o/{}\"}}",
            m.pick(&["create", "update"]),
            m.uuid(),
            m.json_line(),
            m.json_text(3 * KIB),
            m.dice.hex(8)
        );
        m.call("manage_project", &arguments)
    }),
    text("mcp manage_document", 50, |m| {
        let arguments = format!(
            "{{\"action\":\"{}\",\"project_id\":\"{}\",\"title\":{},\"document_type\":\"spec\",\"content\":{{\"markdown\":{}}},\"tags\":{},\"author\":{}}}",
            m.pick(&["create", "update"]),
            m.uuid(),
            m.json_line(),
            m.json_text(120 * KIB),
            m.json_lines(3),
            m.json_line()
        );
        m.call("manage_document", &arguments)
    }),
    text("mcp manage_version", 12, |m| {
        let arguments = format!(
            "{{\"action\":\"create\",\"project_id\":\"{}\",\"field_name\":\"docs\",\"content\":{{\"text\":{}}},\"change_summary\":{}}}",
            m.uuid(),
            m.json_text(9 * KIB),
            m.json_line()
        );
        m.call("manage_version", &arguments)
    }),
    short("mcp rag_search", 36, |m| {
        let tool = m.pick(&["rag_search_knowledge_base", "rag_search_code_examples"]);
        let arguments = format!(
            "{{\"query\":{},\"source_id\":\"{}\",\"match_count\":{}}}",
            m.json_line(),
            m.source(),
            m.number(1, 9)
        );
        m.call(tool, &arguments)
    }),
    short("mcp find", 24, |m| {
        let tool = m.pick(&["find_tasks", "find_projects", "find_documents"]);
        let arguments = format!(
            "{{\"query\":{},\"filter_by\":\"status\",\"filter_value\":\"{}\",\"project_id\":\"{}\",\"page\":{},\"per_page\":10}}",
            m.json_line(),
            m.pick(&["todo", "doing"]),
            m.uuid(),
            m.number(1, 5)
        );
        m.call(tool, &arguments)
    }),
    typed("mcp get", 14, |m| {
        let (tool, arguments) = match m.number(0, 4) {
            0 => ("rag_get_available_sources", "{}".to_owned()),
            1 => ("get_project_features", format!("{{\"project_id\":\"{}\"}}", m.uuid())),
            2 => ("rag_read_full_page", {
                let url = m.url();
                format!("{{\"url\":{}}}", m.quote(&url))
            }),
            3 => ("find_tasks", format!("{{\"task_id\":\"{}\"}}", m.uuid())),
            _ => ("health_check", "{}".to_owned()),
        };
        m.call(tool, &arguments)
    }),
    // The later generation.
    typed("GET conversations", 14, |m| {
        let id = m.conversation();
        let target = match m.number(0, 3) {
            0 => format!("/api/conversations?limit=50&codebaseId={}", m.uuid()),
            1 => format!("/api/conversations/{id}/messages?limit=200"),
            2 => "/api/codebases".to_owned(),
            _ => format!("/api/workflows/runs/{}", m.uuid()),
        };
        m.get(target)
    }),
    text("POST conversations", 30, |m| {
        let body = format!("{{\"codebaseId\":\"{}\",\"message\":{}}}", m.uuid(), m.json_text(8 * KIB));
        m.send("POST", "/api/conversations", body)
    }),
    short("PATCH conversations/{id}", 16, |m| {
        let body = format!("{{\"title\":{}}}", m.json_line());
        let target = format!("/api/conversations/{}", m.conversation());
        m.send("PATCH", target, body)
    }),
    text("POST message", 50, |m| {
        let body = format!("{{\"message\":{}}}", m.json_text(20 * KIB));
        let target = format!("/api/conversations/{}/message", m.conversation());
        m.send("POST", target, body)
    }),
    text("POST message multipart", 36, |m| {
        let (message, target) = (m.text(2 * KIB), format!("/api/conversations/{}/message", m.conversation()));
        let mut form = m.form().text("message", &message);
        for _ in 0..m.number(1, 5) {
            let ((name, kind), content) = (m.file(), m.text(30 * KIB));
            form = form.file("files", &name, kind, content.as_bytes());
        }
        if m.dice.one_in(3) {
            let picture = [b"\x89PNG\r\n\x1a\n".to_vec(), m.bytes(200 * KIB)].concat();
            form = form.file("files", "Screenshot 2026-08-25 at 10.12.13.png", "image/png", &picture);
        }
        agents::browser(form.on(Request::new("POST", target)), &mut m.dice, Purpose::Fetch)
    }),
    typed("GET workflows", 8, |m| {
        let target = match m.number(0, 2) {
            0 => "/api/workflows".to_owned(),
            1 => format!("/api/workflows?cwd={}", percent("/home/user/my project", "")),
            _ => format!("/api/workflows/{}", m.pick(&["fix-github-issue", "plan", "archon-assist"])),
        };
        m.get(target)
    }),
    text("PUT workflows", 40, |m| {
        let body = format!(
            "{{\"definition\":{{\"name\":\"plan\",\"description\":{},\"provider\":\"claude\",\"nodes\":[{{\"id\":\"fetch\",\"bash\":{}}},{{\"id\":\"implement\",\"depends_on\":[\"fetch\"],\"prompt\":{},\"when\":\"$fetch.output == 'ok' && $ARGUMENTS != ''\"}},{{\"id\":\"check\",\"bash\":\"set -euo pipefail; git diff --stat | tail -n 5; test -f .env && source .env || true; curl -fsS \\\"$URL\\\" | jq -r '.[0].id' > /tmp/id; rm -rf \\\"$ARTIFACTS_DIR/old\\\"\"}}]}}}}",
            m.json_line(),
            m.json_text(3 * KIB),
            m.json_text(16 * KIB)
        );
        let target = format!("/api/workflows/{}", m.pick(&["fix-github-issue", "plan", "my_flow"]));
        m.send("PUT", target, body)
    }),
    text("POST workflows/run", 24, |m| {
        let target = format!("/api/workflows/{}/run", m.pick(&["plan", "review-pr"]));
        let (id, message) = (m.conversation(), m.text(4 * KIB));
        if m.dice.one_in(3) {
            let (name, kind) = m.file();
            let content = m.text(9 * KIB);
            let form = m.form().text("conversationId", &id).text("message", &message).file(
                "files",
                &name,
                kind,
                content.as_bytes(),
            );
            return agents::browser(form.on(Request::new("POST", target)), &mut m.dice, Purpose::Fetch);
        }
        let body = format!("{{\"conversationId\":\"{id}\",\"message\":{}}}", m.quote(&message));
        m.send("POST", target, body)
    }),
    text("POST runs/{id}", 24, |m| {
        let (verb, field) = *m.dice.pick(&[("approve", "comment"), ("reject", "reason"), ("respond", "response")]);
        let body = format!("{{\"{field}\":{}}}", m.json_text(1000));
        let target = format!("/api/workflows/runs/{}/{verb}", m.uuid());
        m.send("POST", target, body)
    }),
    typed("POST runs/{id} bare", 6, |m| {
        let target = format!("/api/workflows/runs/{}/{}", m.uuid(), m.pick(&["cancel", "resume", "abandon"]));
        agents::browser(Request::new("POST", target).json(""), &mut m.dice, Purpose::Fetch)
            .instead("content-type", "application/json")
    }),
    typed("codebases", 10, |m| {
        let body = match m.number(0, 1) {
            0 => format!("{{\"url\":\"https://github.com/{}/{}.git\"}}", m.dice.hex(6), m.dice.hex(8)),
            _ => format!("{{\"path\":\"/home/user/code/{}\"}}", m.dice.hex(8)),
        };
        m.send("POST", "/api/codebases", body)
    }),
    text("PUT codebases/{id}/env", 24, |m| {
        let (line, token) = (m.line(), m.dice.token(40));
        let value = match m.number(0, 2) {
            0 => format!("ghp_{token}"),
            1 => format!("mysql://root:{token}'\"$`@127.0.0.1/db;x=1"),
            _ => line,
        };
        let body = format!(
            "{{\"key\":\"{}\",\"value\":{}}}",
            m.pick(&["GITHUB_TOKEN", "DATABASE_URL", "NODE_OPTIONS", "PATH"]),
            m.quote(&value)
        );
        let target = format!("/api/codebases/{}/env", m.uuid());
        m.send("PUT", target, body)
    }),
    typed("GET dashboard", 10, |m| {
        let target = format!(
            "/api/dashboard/runs?status={}&limit=50&offset={}&codebaseId={}",
            m.pick(&["running", "failed", "completed"]),
            m.number(0, 50),
            m.uuid()
        );
        m.polled(target)
    }),
    short("GET dashboard?search", 12, |m| {
        let target = format!("/api/dashboard/runs?limit=50&search={}", query(&m.line()));
        m.get(target)
    }),
    typed("config", 8, |m| {
        if m.dice.one_in(2) {
            return m.get("/api/config");
        }
        let body = format!(
            "{{\"assistant\":\"{}\",\"claude\":{{\"model\":\"{}\"}},\"codex\":{{\"model\":\"gpt-5.{}\",\"modelReasoningEffort\":\"high\"}}}}",
            m.pick(&["claude", "codex"]),
            m.pick(&["sonnet", "opus"]),
            m.number(0, 9)
        );
        m.send("PATCH", "/api/config/assistants", body)
    }),
    typed("auth", 10, |m| {
        let (mail, word) = (m.dice.hex(5), m.dice.token(14));
        match m.number(0, 2) {
            0 => m.send(
                "POST",
                "/api/auth/sign-in/email",
                format!(
                    "{{\"email\":\"ada.{mail}+test@example.org\",\"password\":{},\"rememberMe\":true}}",
                    m.quote(&format!("p4$$'w0rd\"; {word} --"))
                ),
            ),
            1 => m.get("/api/auth/get-session"),
            _ => m.send("POST", "/api/auth/sign-out", "{}".to_owned()),
        }
    }),
    typed("GET stream", 8, |m| {
        let target = if m.dice.one_in(3) {
            "/api/stream/__dashboard__".to_owned()
        } else {
            format!("/api/stream/{}", m.conversation())
        };
        agents::browser(Request::new("GET", target), &mut m.dice, Purpose::Events)
    }),
    text("POST webhooks", 40, |m| {
        let (place, event, signature) = *m.dice.pick(&[
            ("github", "x-github-event", "x-hub-signature-256"),
            ("gitea", "x-gitea-event", "x-gitea-signature"),
            ("gitlab", "x-gitlab-event", "x-gitlab-token"),
        ]);
        let most = if m.dice.one_in(10) { 600 * KIB } else { 12 * KIB };
        let body = format!(
            "{{ \"action\" : \"created\",\n \"issue\":{{\"number\":{},\"title\":{},\"body\":{}}},\"comment\":{{\"body\":{}}},\"sender\":{{\"login\":\"octo-{}\"}}}}\n",
            m.number(1, 999),
            m.json_line(),
            m.json_text(3 * KIB),
            m.json_text(most),
            m.dice.hex(4)
        );
        let digest: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let proof = match place {
            "github" => format!("sha256={digest}"),
            "gitea" => digest,
            _ => m.dice.token(24),
        };
        let event_name = if place == "gitlab" { "Note Hook" } else { "issue_comment" };
        let delivery = m.uuid();
        let request =
            Request::new("POST", format!("/webhooks/{place}")).field(event, event_name).field(signature, proof);
        let request = if place == "gitlab" {
            request.field("x-gitlab-event-uuid", delivery)
        } else {
            request.field("x-github-delivery", delivery)
        };
        request
            .field("user-agent", m.pick(&["GitHub-Hookshot/044aadd", "GitLab/17.3.0", "Go-http-client/1.1"]))
            .field("accept", "*/*")
            .json(body)
    }),
    typed("socket.io", 4, |m| {
        let target = format!("/socket.io/?EIO=4&transport=polling&t={}", m.dice.token(7).replace('-', "."));
        agents::browser(Request::new("GET", target), &mut m.dice, Purpose::Fetch)
    }),
];

#[test]
fn there_are_enough_requests_and_each_is_different() {
    let mut seen = std::collections::HashSet::new();
    let mut repeated = std::collections::BTreeMap::new();
    let mut total = 0;
    for route in ROUTES {
        for half in Half::BOTH {
            for n in 0..route.times {
                total += 1;
                if !seen.insert(Sha256::digest(route.request(half, n).bytes())) {
                    *repeated.entry(route.name).or_insert(0) += 1;
                }
            }
        }
    }
    assert!(seen.len() >= 2_000, "{} of {total}; repeated: {repeated:?}", seen.len());
    assert!(repeated.values().sum::<i32>() <= 40, "{repeated:?}");
}
