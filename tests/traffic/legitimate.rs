//! What Archon's users, agents and tools send, route by route.

use crate::agents::{self, Purpose};
use crate::dice::Half;
use crate::maker::Maker;
use crate::request::Request;
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

/// How a route's requests are made; targets and bodies are templates of [`Maker::fill`].
#[derive(Clone, Copy)]
enum Shape {
    /// GET of one of these.
    Get(&'static [&'static str]),
    /// GET of one of these by a browser that has an answer already.
    Poll(&'static [&'static str]),
    /// A page, or what belongs to one.
    Browse(Purpose, &'static [&'static str]),
    /// Without a body.
    Bare(&'static str, &'static [&'static str]),
    /// JSON.
    Json(&'static str, &'static str, &'static str),
    /// One of these calls of a tool: name and arguments.
    Call(&'static [(&'static str, &'static str)]),
    /// One of these messages to the MCP server.
    Mcp(&'static [&'static str]),
    /// Else.
    Made(fn(&mut Maker) -> Request),
}

/// One kind of request.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) carries: Carries,
    /// How many are made for each half.
    pub(crate) times: usize,
    shape: Shape,
}

impl Route {
    /// The `n`th of its requests.
    pub(crate) fn request(&self, seed: u64, half: Half, n: usize) -> Request {
        let name = self.name.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
        let mut maker = Maker::new(seed ^ name ^ (n as u64) << 40 ^ (half as u64) << 60, half);
        let m = &mut maker;
        match self.shape {
            Shape::Get(targets) => {
                let target = *m.dice.pick(targets);
                m.get(target)
            }
            Shape::Poll(targets) => {
                let target = *m.dice.pick(targets);
                m.poll(target)
            }
            Shape::Browse(purpose, targets) => {
                let target = *m.dice.pick(targets);
                agents::browser(Request::new("GET", m.fill(target)), &mut m.dice, purpose)
            }
            Shape::Bare(method, targets) => {
                let target = *m.dice.pick(targets);
                agents::anyone(Request::new(method, m.fill(target)), &mut m.dice)
            }
            Shape::Json(method, target, body) => m.send(method, target, body),
            Shape::Call(calls) => {
                let (tool, arguments) = *m.dice.pick(calls);
                m.call(tool, arguments)
            }
            Shape::Mcp(bodies) => {
                let body = *m.dice.pick(bodies);
                m.mcp(body)
            }
            Shape::Made(make) => make(m),
        }
    }
}

const fn text(name: &'static str, times: usize, shape: Shape) -> Route {
    Route { name, carries: Carries::Text, times, shape }
}

const fn short(name: &'static str, times: usize, shape: Shape) -> Route {
    Route { name, carries: Carries::Short, times, shape }
}

const fn typed(name: &'static str, times: usize, shape: Shape) -> Route {
    Route { name, carries: Carries::Typed, times, shape }
}

use Shape::{Bare, Browse, Call, Get, Json, Made, Mcp, Poll};

pub(crate) const ROUTES: &[Route] = &[
    // Both generations.
    typed("GET health", 6, Get(&["/health", "/api/health", "/ready"])),
    typed(
        "GET page",
        12,
        Browse(Purpose::Page, &["/", "/projects/‹uuid›", "/chat/‹conversation›", "/settings?tab=api-keys"]),
    ),
    typed(
        "GET assets",
        12,
        Browse(
            Purpose::Asset,
            &["/assets/index-‹token 8›.js", "/assets/vendor-react-‹token 8›.css", "/assets/KaTeX_Main-‹token 8›.woff2"],
        ),
    ),
    typed("OPTIONS", 14, Made(preflight)),
    // Projects.
    typed(
        "GET projects",
        20,
        Poll(&[
            "/api/projects",
            "/api/projects?include_content=false",
            "/api/projects?include_content=true",
            "/api/projects/task-counts",
        ]),
    ),
    typed(
        "GET projects/{id}",
        16,
        Poll(&[
            "/api/projects/‹uuid›",
            "/api/projects/‹uuid›/tasks?include_archived=false&exclude_large_fields=true",
            "/api/projects/‹uuid›/docs?include_content=true",
            "/api/projects/‹uuid›/docs/‹uuid›",
            "/api/projects/‹uuid›/versions?field_name=docs",
        ]),
    ),
    text(
        "POST projects",
        40,
        Json(
            "POST",
            "/api/projects",
            r#"{"title":‹line›,"description":‹text 8›,"github_repo":"https://github.com/‹hex 6›/‹hex 8›","docs":[],
            "features":‹lines 4›,"data":[],"technical_sources":["‹source›"],"pinned":false}"#,
        ),
    ),
    text(
        "PUT projects/{id}",
        30,
        Json(
            "PUT",
            "/api/projects/‹uuid›",
            r#"{"docs":[{"id":"‹uuid›","title":‹line›,"document_type":"prd","content":{"markdown":‹text 100›}}],
            "updated_at":"‹time›"}"#,
        ),
    ),
    typed(
        "DELETE",
        16,
        Bare(
            "DELETE",
            &[
                "/api/projects/‹uuid›",
                "/api/tasks/‹uuid›",
                "/api/projects/‹uuid›/docs/‹uuid›",
                "/api/knowledge-items/‹source›",
                "/api/conversations/‹conversation›",
                "/api/codebases/‹uuid›/env/NODE_ENV",
            ],
        ),
    ),
    // Tasks.
    typed(
        "GET tasks",
        20,
        Poll(&[
            "/api/tasks?status=‹pick todo doing review done›&project_id=‹uuid›&page=‹n 1 40›&per_page=50",
            "/api/tasks?include_closed=true&page=‹n 1 40›",
            "/api/tasks/‹uuid›",
        ]),
    ),
    short("GET tasks?q", 20, Get(&["/api/tasks?q=‹line?›&page=‹n 1 9›&per_page=20"])),
    text(
        "POST tasks",
        80,
        Json(
            "POST",
            "/api/tasks",
            r#"{"project_id":"‹uuid›","title":‹line›,"description":‹text 5›,"status":"‹pick todo doing›",
            "assignee":"‹pick User Archon codex›","task_order":‹n 0 200›,"priority":"‹pick low medium high critical›",
            "feature":‹line›,"sources":[{"url":‹address›,"type":"documentation","relevance":‹line›}],"code_examples":[]}"#,
        ),
    ),
    text(
        "PUT tasks/{id}",
        40,
        Json("PUT", "/api/tasks/‹uuid›", r#"{"description":‹text 5›,"status":"‹pick review done›"}"#),
    ),
    typed(
        "PUT tasks/{id} order",
        12,
        Json("PUT", "/api/tasks/‹uuid›", r#"{"status":"‹pick todo doing review done›","task_order":‹n 0 99›}"#),
    ),
    // Documents and versions.
    text(
        "POST docs",
        60,
        Json(
            "POST",
            "/api/projects/‹uuid›/docs",
            r#"{"document_type":"‹pick prd spec guide note api›","title":‹line›,"content":{"type":"doc",
            "overview":‹text 20›,"sections":[{"heading":‹line›,"body":‹text 600›}]},"tags":‹lines 4›,"author":‹line›}"#,
        ),
    ),
    text(
        "PUT docs/{id}",
        30,
        Json("PUT", "/api/projects/‹uuid›/docs/‹uuid›", r#"{"title":‹line›,"content":{"markdown":‹text 200›}}"#),
    ),
    text(
        "POST versions",
        24,
        Json(
            "POST",
            "/api/projects/‹uuid›/versions",
            r#"{"field_name":"docs","content":[{"title":‹line›,"content":{"text":‹text 50›}}],"change_summary":‹line›,
            "change_type":"update","document_id":"‹uuid›","created_by":"‹pick system User›"}"#,
        ),
    ),
    typed(
        "versions/{n}/restore",
        6,
        Json("POST", "/api/projects/‹uuid›/versions/docs/‹n 1 60›/restore", r#"{"restored_by":"system"}"#),
    ),
    // Progress, the product's own state, settings.
    typed("GET progress", 24, Poll(&["/api/progress/", "/api/progress/‹uuid›", "/api/crawl-progress/‹uuid›"])),
    typed(
        "GET status",
        14,
        Poll(&[
            "/api/version/check",
            "/api/migrations/status",
            "/api/migrations/history",
            "/api/mcp/status",
            "/api/mcp/clients",
            "/api/mcp/health",
        ]),
    ),
    typed(
        "GET credentials",
        8,
        Get(&["/api/credentials", "/api/credentials/OPENAI_API_KEY", "/api/credentials/categories/rag_strategy"]),
    ),
    text("PUT credentials", 30, Made(credential)),
    text(
        "POST bug-report",
        30,
        Json(
            "POST",
            "/api/bug-report/github",
            r#"{"title":‹line›,"description":‹text 2›,"stepsToReproduce":‹text 1›,"expectedBehavior":‹line›,
            "actualBehavior":‹line›,"severity":"‹pick low medium high critical›","component":"knowledge-base",
            "context":{"error":{"name":"TypeError","message":‹line›,"stack":‹text 4›},"app":{"version":"0.1.0",
            "url":"http://localhost:3737/projects?tab=1#x","timestamp":"‹time›"},"system":{"platform":"MacIntel",
            "userAgent":"Mozilla/5.0 (X11; Linux x86_64)","memory":"50MB / 80MB"},"logs":[‹text 6›,‹line›]}}"#,
        ),
    ),
    // Knowledge.
    typed(
        "GET knowledge-items",
        16,
        Get(&[
            "/api/knowledge-items?page=1&per_page=‹n 1 100›",
            "/api/knowledge-items/summary?page=‹n 1 9›&per_page=20&knowledge_type=‹pick technical business›",
            "/api/knowledge-items/‹source›/chunks?limit=20&offset=‹n 0 900›&domain_filter=docs.python.org",
            "/api/knowledge-items/‹source›/code-examples?limit=20&offset=0",
            "/api/knowledge-items/sources",
        ]),
    ),
    short("GET knowledge-items?search", 16, Get(&["/api/knowledge-items?page=1&per_page=20&search=‹line?›"])),
    short(
        "POST knowledge-items/crawl",
        30,
        Json(
            "POST",
            "/api/knowledge-items/crawl",
            r#"{"url":‹address›,"knowledge_type":"‹pick technical business›","tags":‹lines 3›,"max_depth":‹n 1 5›,
            "update_frequency":7,"extract_code_examples":true}"#,
        ),
    ),
    text("POST documents/upload", 50, Made(upload)),
    typed("POST documents/upload binary", 12, Made(upload_binary)),
    short(
        "POST rag/query",
        30,
        Json(
            "POST",
            "/api/‹pick rag/query knowledge-items/search›",
            r#"{"query":‹line›,"source":‹pick null "docs.python.org" "9f86d081884c7d65"›,"match_count":‹n 1 20›,
            "return_mode":"‹pick pages chunks›"}"#,
        ),
    ),
    short(
        "POST rag/code-examples",
        16,
        Json("POST", "/api/rag/code-examples", r#"{"query":‹line›,"match_count":‹n 1 10›}"#),
    ),
    typed(
        "GET pages",
        16,
        Get(&["/api/pages/‹uuid›", "/api/pages?source_id=‹source›", "/api/pages/by-url?url=‹address?›"]),
    ),
    typed(
        "GET ollama",
        6,
        Get(&[
            "/api/ollama/instances/health?instance_urls=http%3A%2F%2Flocalhost%3A11434&include_models=true",
            "/api/ollama/instances/health?instance_urls=http%3A%2F%2Fhost.docker.internal%3A11434%2Fv1",
            "/api/ollama/models?instance_urls=http%3A%2F%2F192.168.1.20%3A11434",
        ]),
    ),
    // Agents.
    typed(
        "POST agent-chat/sessions",
        8,
        Json("POST", "/api/agent-chat/sessions", r#"{"project_id":"‹uuid›","agent_type":"‹pick rag document›"}"#),
    ),
    text(
        "POST agent-chat/messages",
        60,
        Json(
            "POST",
            "/api/agent-chat/sessions/‹uuid›/messages",
            r#"{"message":‹text 8›,"context":{"project_id":"‹uuid›"}}"#,
        ),
    ),
    text(
        "POST agents/run",
        40,
        Json(
            "POST",
            "/agents/‹pick run document/stream rag/stream›",
            r#"{"agent_type":"‹pick document rag task›","prompt":‹text 16›,"context":{"project_id":"‹uuid›",
            "notes":‹text 2›},"options":{"temperature":0.‹n 0 9›,"stream":true}}"#,
        ),
    ),
    // MCP.
    typed(
        "POST mcp session",
        16,
        Mcp(&[
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":
            {"roots":{}},"clientInfo":{"name":"claude-code","version":"1.0.‹n 1 99›"}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":‹n 1 99›,"method":"tools/list","params":{"_meta":{"progressToken":1}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":‹n 1 99›,
            "reason":"AbortError: This operation was aborted"}}"#,
            r#"{"jsonrpc":"2.0","id":"‹uuid›","method":"ping"}"#,
        ]),
    ),
    typed("GET, DELETE mcp", 8, Made(mcp_stream)),
    text(
        "mcp manage_task",
        50,
        Call(&[
            (
                "manage_task",
                r#"{"action":"create","project_id":"‹uuid›","title":‹line›,"description":‹text 5›,"assignee":"User",
                "task_order":‹n 0 100›,"feature":‹line›}"#,
            ),
            ("manage_task", r#"{"action":"update","task_id":"‹uuid›","description":‹text 2›,"status":"review"}"#),
        ]),
    ),
    text(
        "mcp manage_project",
        24,
        Call(&[(
            "manage_project",
            r#"{"action":"‹pick create update›","project_id":"‹uuid›","title":‹line›,"description":‹text 3›,
            "github_repo":"https://github.com/o/‹hex 8›"}"#,
        )]),
    ),
    text(
        "mcp manage_document",
        50,
        Call(&[(
            "manage_document",
            r#"{"action":"‹pick create update›","project_id":"‹uuid›","title":‹line›,"document_type":"spec",
            "content":{"markdown":‹text 120›},"tags":‹lines 3›,"author":‹line›}"#,
        )]),
    ),
    text(
        "mcp manage_version",
        12,
        Call(&[(
            "manage_version",
            r#"{"action":"create","project_id":"‹uuid›","field_name":"docs","content":{"text":‹text 9›},
            "change_summary":‹line›}"#,
        )]),
    ),
    short(
        "mcp rag_search",
        36,
        Call(&[
            ("rag_search_knowledge_base", r#"{"query":‹line›,"source_id":"‹source›","match_count":‹n 1 9›}"#),
            ("rag_search_code_examples", r#"{"query":‹line›,"match_count":‹n 1 9›}"#),
        ]),
    ),
    short(
        "mcp find",
        24,
        Call(&[
            ("find_tasks", r#"{"query":‹line›,"filter_by":"status","filter_value":"‹pick todo doing›","per_page":10}"#),
            ("find_projects", r#"{"query":‹line›,"page":‹n 1 5›,"per_page":10}"#),
            ("find_documents", r#"{"project_id":"‹uuid›","query":‹line›,"document_type":"spec"}"#),
        ]),
    ),
    typed(
        "mcp get",
        14,
        Call(&[
            ("rag_get_available_sources", "{}"),
            ("get_project_features", r#"{"project_id":"‹uuid›"}"#),
            ("rag_read_full_page", r#"{"url":‹address›}"#),
            ("rag_list_pages_for_source", r#"{"source_id":"‹source›"}"#),
            ("find_tasks", r#"{"task_id":"‹uuid›"}"#),
            ("manage_task", r#"{"action":"delete","task_id":"‹uuid›"}"#),
            ("health_check", "{}"),
        ]),
    ),
    // The later generation.
    typed(
        "GET conversations",
        14,
        Get(&[
            "/api/conversations?limit=50&codebaseId=‹uuid›",
            "/api/conversations/‹conversation›/messages?limit=200",
            "/api/codebases",
            "/api/workflows/runs/‹uuid›",
        ]),
    ),
    text("POST conversations", 30, Json("POST", "/api/conversations", r#"{"codebaseId":"‹uuid›","message":‹text 8›}"#)),
    short("PATCH conversations/{id}", 16, Json("PATCH", "/api/conversations/‹conversation›", r#"{"title":‹line›}"#)),
    text("POST message", 50, Json("POST", "/api/conversations/‹conversation›/message", r#"{"message":‹text 20›}"#)),
    text("POST message multipart", 36, Made(message_with_files)),
    typed(
        "GET workflows",
        8,
        Get(&[
            "/api/workflows",
            "/api/workflows?cwd=%2Fhome%2Fuser%2Fmy%20project",
            "/api/workflows/‹pick fix-github-issue plan archon-assist›",
        ]),
    ),
    text(
        "PUT workflows",
        40,
        Json(
            "PUT",
            "/api/workflows/‹pick fix-github-issue plan my_flow›",
            r#"{"definition":{"name":"plan","description":‹line›,"provider":"claude","nodes":[
            {"id":"fetch","bash":‹text 3›},
            {"id":"implement","depends_on":["fetch"],"prompt":‹text 16›,"when":"$fetch.output == 'ok' && $ARGUMENTS != ''"},
            {"id":"check","bash":"set -euo pipefail; git diff --stat | tail -n 5; test -f .env && source .env || true; 
            curl -fsS \"$URL\" | jq -r '.[0].id' > /tmp/id; rm -rf \"$ARTIFACTS_DIR/old\""}]}}"#,
        ),
    ),
    text("POST workflows/run", 24, Made(run_workflow)),
    text("POST runs/{id}/approve", 12, Json("POST", "/api/workflows/runs/‹uuid›/approve", r#"{"comment":‹text 1›}"#)),
    text("POST runs/{id}/reject", 8, Json("POST", "/api/workflows/runs/‹uuid›/reject", r#"{"reason":‹text 1›}"#)),
    text("POST runs/{id}/respond", 8, Json("POST", "/api/workflows/runs/‹uuid›/respond", r#"{"response":‹text 1›}"#)),
    typed(
        "POST runs/{id} bare",
        6,
        Bare("POST", &["/api/workflows/runs/‹uuid›/cancel", "/api/workflows/runs/‹uuid›/resume"]),
    ),
    typed(
        "POST codebases",
        10,
        Json("POST", "/api/codebases", r#"{"url":"https://github.com/‹hex 6›/‹hex 8›‹pick .git /›"}"#),
    ),
    text("PUT codebases/{id}/env", 24, Made(environment)),
    typed(
        "GET dashboard",
        10,
        Poll(&[
            "/api/dashboard/runs?status=‹pick running failed completed›&limit=50&offset=‹n 0 50›&codebaseId=‹uuid›",
        ]),
    ),
    short("GET dashboard?search", 12, Get(&["/api/dashboard/runs?limit=50&search=‹line?›"])),
    typed("GET config", 4, Get(&["/api/config", "/api/auth/get-session"])),
    typed(
        "PATCH config",
        6,
        Json(
            "PATCH",
            "/api/config/assistants",
            r#"{"assistant":"‹pick claude codex›","claude":{"model":"‹pick sonnet opus›"},"codex":{"model":"gpt-5.‹n 0 9›",
            "modelReasoningEffort":"high"}}"#,
        ),
    ),
    typed(
        "POST auth",
        8,
        Json(
            "POST",
            "/api/auth/sign-in/email",
            r#"{"email":"ada.‹hex 5›+test@example.org","password":"p4$$'w0rd\"; ‹token 14› --","rememberMe":true}"#,
        ),
    ),
    typed("GET stream", 8, Browse(Purpose::Events, &["/api/stream/__dashboard__", "/api/stream/‹conversation›"])),
    text("POST webhooks", 40, Made(webhook)),
    typed("GET socket.io", 4, Get(&["/socket.io/?EIO=4&transport=polling&t=‹token 7›"])),
];

fn preflight(m: &mut Maker) -> Request {
    let target = *m.dice.pick(&["/api/tasks", "/api/projects/‹uuid›", "/mcp", "/api/documents/upload"]);
    let fields = ["content-type", "content-type,if-none-match", "authorization,content-type,mcp-session-id"];
    let request = Request::new("OPTIONS", m.fill(target))
        .field("access-control-request-method", *m.dice.pick(&["POST", "PUT", "DELETE"]))
        .field("access-control-request-headers", *m.dice.pick(&fields));
    agents::browser(request, &mut m.dice, Purpose::Fetch)
}

fn credential(m: &mut Maker) -> Request {
    let value = match m.dice.below(5) {
        0 => format!("sk-proj-{}", m.dice.token(48)),
        1 => m.fill("postgresql://archon:p%40ss'w0rd;‹hex 6›@db:5432/archon?sslmode=require"),
        2 => m.fill("‹url›"),
        3 => m
            .fill("-----BEGIN PRIVATE KEY-----\\n‹token 64›\\n‹token 64›\\n-----END PRIVATE KEY-----\\n")
            .replace("\\n", "\n"),
        _ => m.line(),
    };
    let key = *m.dice.pick(&["OPENAI_API_KEY", "DATABASE_URL", "LLM_BASE_URL", "SIGNING_KEY", "SYSTEM_PROMPT"]);
    let body = m.fill(r#"‹pick true false›,"category":"api_keys","description":‹line›}"#);
    let body = format!(r#"{{"key":"{key}","value":{},"is_encrypted":{body}"#, m.quote(&value));
    let request = match m.dice.below(2) {
        0 => Request::new("POST", "/api/credentials"),
        _ => Request::new("PUT", format!("/api/credentials/{key}")),
    };
    agents::anyone(request.json(body), &mut m.dice)
}

fn environment(m: &mut Maker) -> Request {
    let value = match m.dice.below(3) {
        0 => format!("ghp_{}", m.dice.token(40)),
        1 => m.fill("mysql://root:‹token 12›'\"$`@127.0.0.1/db;x=1"),
        _ => m.line(),
    };
    let key = *m.dice.pick(&["GITHUB_TOKEN", "DATABASE_URL", "NODE_OPTIONS", "PATH"]);
    let target = m.fill("/api/codebases/‹uuid›/env");
    let body = format!(r#"{{"key":"{key}","value":{}}}"#, m.quote(&value));
    agents::anyone(Request::new("PUT", target).json(body), &mut m.dice)
}

fn upload(m: &mut Maker) -> Request {
    let (name, kind) = m.file();
    let most = match m.dice.below(16) {
        0 => 3 << 20,
        1 => 600 << 10,
        _ => 8 << 10,
    };
    let (content, tags) = (m.text(most), m.fill("‹lines 3›"));
    let form = m.form().file("file", &name, kind, content.as_bytes()).text("tags", &tags);
    let form = form.text("knowledge_type", "technical").text("extract_code_examples", "true");
    agents::anyone(form.on(Request::new("POST", "/api/documents/upload")), &mut m.dice)
}

fn upload_binary(m: &mut Maker) -> Request {
    let n = if m.dice.one_in(4) { 5 << 20 } else { 60 << 10 };
    let content = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec(), m.bytes(n)].concat();
    let name = format!("{}-{}.pdf", *m.dice.pick(&["Handbuch (2026)", "report", "設計"]), m.dice.hex(4));
    let form = m.form().file("file", &name, "application/pdf", &content).text("tags", "[\"pdf\"]");
    let request = form.text("knowledge_type", "business").on(Request::new("POST", "/api/documents/upload"));
    agents::browser(request, &mut m.dice, Purpose::Fetch)
}

fn message_with_files(m: &mut Maker) -> Request {
    let (message, target) = (m.text(2 << 10), m.fill("/api/conversations/‹conversation›/message"));
    let mut form = m.form().text("message", &message);
    for _ in 0..m.dice.between(1, 4) {
        let ((name, kind), content) = (m.file(), m.text(30 << 10));
        form = form.file("files", &name, kind, content.as_bytes());
    }
    if m.dice.one_in(3) {
        let picture = [b"\x89PNG\r\n\x1a\n".to_vec(), m.bytes(200 << 10)].concat();
        form = form.file("files", "Screenshot 2026-08-25 at 10.12.13.png", "image/png", &picture);
    }
    agents::browser(form.on(Request::new("POST", target)), &mut m.dice, Purpose::Fetch)
}

fn run_workflow(m: &mut Maker) -> Request {
    let target = m.fill("/api/workflows/‹pick plan review-pr›/run");
    if m.dice.one_in(2) {
        return m.send("POST", &target, r#"{"conversationId":"‹conversation›","message":‹text 4›}"#);
    }
    let (id, message, (name, kind), content) = (m.fill("‹conversation›"), m.text(4 << 10), m.file(), m.text(9 << 10));
    let form = m.form().text("conversationId", &id).text("message", &message);
    let form = form.file("files", &name, kind, content.as_bytes());
    agents::browser(form.on(Request::new("POST", target)), &mut m.dice, Purpose::Fetch)
}

fn mcp_stream(m: &mut Maker) -> Request {
    let method = if m.dice.one_in(3) { "DELETE" } else { "GET" };
    let mut request = Request::new(method, "/mcp").field("mcp-session-id", m.dice.hex(32));
    if method == "GET" {
        request = request.field("accept", "text/event-stream");
    }
    agents::program(request, &mut m.dice)
}

/// Signed over its bytes: white space and the order of keys are the sender's own.
fn webhook(m: &mut Maker) -> Request {
    let text = if m.dice.one_in(10) { "‹text 600›" } else { "‹text 12›" };
    let body = m.fill(
        &r#"{ "action" : "created", "issue":{"number":‹n 1 999›,"title":‹line›,"body":‹text 3›},
        "comment": {"body":TEXT},  "sender":{"login":"octo-‹hex 4›"}} "#
            .replace("TEXT", text),
    );
    let digest: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let delivery = m.fill("‹uuid›");
    let request = match m.dice.below(3) {
        0 => Request::new("POST", "/webhooks/github")
            .field("user-agent", format!("GitHub-Hookshot/{}", m.dice.hex(7)))
            .field("x-github-event", "issue_comment")
            .field("x-github-delivery", delivery)
            .field("x-hub-signature-256", format!("sha256={digest}")),
        1 => Request::new("POST", "/webhooks/gitea")
            .field("user-agent", "Go-http-client/1.1")
            .field("x-gitea-event", "issue_comment")
            .field("x-gitea-delivery", delivery)
            .field("x-gitea-signature", digest),
        _ => Request::new("POST", "/webhooks/gitlab")
            .field("user-agent", "GitLab/17.3.0")
            .field("x-gitlab-event", "Note Hook")
            .field("x-gitlab-event-uuid", delivery)
            .field("x-gitlab-token", m.dice.token(24)),
    };
    request.field("accept", "*/*").json(body)
}

#[test]
fn there_are_enough_requests_and_each_is_different() {
    let mut seen = std::collections::HashSet::new();
    let mut repeated = std::collections::BTreeMap::new();
    for route in ROUTES {
        for half in Half::BOTH {
            for n in 0..route.times {
                let request = route.request(0, half, n);
                let is_json =
                    request.fields.iter().any(|(name, value)| name == "content-type" && value == "application/json");
                let body = request.body.as_deref().unwrap_or_default();
                assert!(!is_json || serde_json::from_slice::<serde_json::Value>(body).is_ok(), "{}", route.name);
                if !seen.insert(Sha256::digest(request.bytes())) {
                    *repeated.entry(route.name).or_insert(0) += 1;
                }
            }
        }
    }
    assert!(seen.len() >= 2_000, "{}", seen.len());
    assert!(repeated.values().sum::<i32>() <= 40, "{repeated:?}");
}
