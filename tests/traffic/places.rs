//! The places in Archon's requests where one value of a known kind stands. A hole is written `§`, prose that may become
//! long `¤`; `‹uuid›` and the like are filled by [`crate::maker::Maker::fill`].

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    PathId,
    Query,
    Enum,
    Number,
    Header,
    Cookie,
    ParamName,
    JsonKey,
    JsonTyped,
    FileName,
    PartName,
    Url,
    Target,
    /// Where people write a line of their own.
    Short,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::PathId,
        Self::Query,
        Self::Enum,
        Self::Number,
        Self::Header,
        Self::Cookie,
        Self::ParamName,
        Self::JsonKey,
        Self::JsonTyped,
        Self::FileName,
        Self::PartName,
        Self::Url,
        Self::Target,
        Self::Short,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PathId => "path",
            Self::Query => "query",
            Self::Enum => "enum",
            Self::Number => "number",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::ParamName => "param",
            Self::JsonKey => "key",
            Self::JsonTyped => "json",
            Self::FileName => "file",
            Self::PartName => "part",
            Self::Url => "url",
            Self::Target => "target",
            Self::Short => "short",
        }
    }

    pub(crate) fn is_typed(self) -> bool {
        self != Self::Short
    }
}

/// How the hole is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the path, percent-encoded.
    Path,
    /// In the query, percent-encoded.
    Query,
    /// A header field of this name; the second is what stands before it.
    Header(&'static str, &'static str),
    /// A cookie of this name; without a name it is the name.
    Cookie(&'static str),
    /// A JSON string in the body.
    Json,
    /// A form's text part of this name.
    FormText(&'static str),
    /// The name of a form's file.
    FileName,
    /// The name of a form's part.
    PartName,
}

/// One place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) way: Way,
    pub(crate) body: &'static str,
    /// The tool whose call the body is the arguments of.
    pub(crate) tool: &'static str,
    /// What ordinarily stands here.
    pub(crate) ordinary: &'static [&'static str],
    /// Takes any token, so that a word or a digest is no attack here.
    pub(crate) loose: bool,
    /// The server fetches what stands here.
    pub(crate) fetched: bool,
}

const fn place(name: &'static str, kind: Kind, method: &'static str, target: &'static str, way: Way) -> Place {
    Place { name, kind, method, target, way, body: "", tool: "", ordinary: &[], loose: false, fetched: false }
}

const fn path(name: &'static str, target: &'static str, ordinary: &'static [&'static str]) -> Place {
    Place { ordinary, ..place(name, Kind::PathId, "GET", target, Way::Path) }
}

const fn query(name: &'static str, kind: Kind, target: &'static str, ordinary: &'static [&'static str]) -> Place {
    Place { ordinary, ..place(name, kind, "GET", target, Way::Query) }
}

const fn header(
    name: &'static str,
    target: &'static str,
    field: &'static str,
    before: &'static str,
    ordinary: &'static [&'static str],
) -> Place {
    Place { ordinary, ..place(name, Kind::Header, "GET", target, Way::Header(field, before)) }
}

const fn json(
    name: &'static str,
    kind: Kind,
    target: &'static str,
    body: &'static str,
    ordinary: &'static [&'static str],
) -> Place {
    Place { body, ordinary, ..place(name, kind, "POST", target, Way::Json) }
}

const fn mcp(name: &'static str, kind: Kind, body: &'static str, ordinary: &'static [&'static str]) -> Place {
    json(name, kind, "/mcp", body, ordinary)
}

/// An argument of a tool.
const fn call(
    name: &'static str,
    kind: Kind,
    tool: &'static str,
    arguments: &'static str,
    ordinary: &'static [&'static str],
) -> Place {
    Place { tool, ..json(name, kind, "/mcp", arguments, ordinary) }
}

impl Place {
    const fn with(self, method: &'static str, body: &'static str) -> Self {
        Self { method, body, ..self }
    }

    const fn loose(self) -> Self {
        Self { loose: true, ..self }
    }

    const fn fetched(self) -> Self {
        Self { fetched: true, ..self }
    }
}

const UUIDS: &[&str] = &[
    "2f8b4c1e-7d0a-4a53-9d35-1c8e5f0b7a92",
    "b0d6a8f2-53c1-4e77-8f0e-64a9d21c3b5f",
    "7c9e6679-7425-40de-944b-e07fc1f90ae7",
];
const SOURCES: &[&str] = &["9f86d081884c7d65", "0c1d2e3f4a5b6c7d", "file_handbook_pdf_1a2b3c4d"];
const STATES: &[&str] = &["todo", "doing", "review", "done"];
const COUNTS: &[&str] = &["1", "5", "20", "50"];
const BOOLEANS: &[&str] = &["true", "false"];
const URLS: &[&str] = &[
    "https://docs.python.org/3/library/asyncio.html",
    "https://react.dev/reference/react/useState#usage",
    "https://example.org/docs/search?q=a%20b&lang=en",
    "https://ai.pydantic.dev/llms-full.txt",
    "https://github.com/rust-lang/book/blob/main/src/ch04-01.md",
];
const ETAGS: &[&str] = &[r#""5d41402abc4b2a76b9719d911017c592""#, r#""098f6bcd4621d373cade4e832627b4f6""#];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "python-httpx/0.28.1",
    "claude-code/1.0.89 (cli)",
    "curl/8.9.1",
];
const PAGES: &[&str] =
    &["https://archon.example.org/projects", "https://archon.example.org/?tab=docs&sort=updated_at%3Adesc"];
const FILES: &[&str] =
    &["package.json", "README.md", "Grüße aus Köln (final).pdf", "tsconfig.json", "notes-2026_08.txt"];
const LINES: &[&str] =
    &["Write the release notes", "fix: login button on mobile", "Größe der Tabelle prüfen", "v2 API docs"];
const FIELDS: &[&str] = &["docs", "features", "data", "prd"];

/// All places.
pub(crate) const PLACES: &[Place] = &[
    // Path parameters.
    path("GET projects/{id}", "/api/projects/§", UUIDS),
    path("GET projects/{id}/tasks", "/api/projects/§/tasks?include_archived=false", UUIDS),
    path("DELETE projects/{id}", "/api/projects/§", UUIDS).with("DELETE", ""),
    path("GET projects/{id}/docs", "/api/projects/§/docs", UUIDS),
    path("GET docs/{id}", "/api/projects/‹uuid›/docs/§", UUIDS),
    path("GET tasks/{id}", "/api/tasks/§", UUIDS),
    path("PUT tasks/{id}", "/api/tasks/§", UUIDS).with("PUT", r#"{"status":"done"}"#),
    path("GET progress/{id}", "/api/progress/§", UUIDS),
    path("GET crawl-progress/{id}", "/api/crawl-progress/§", UUIDS),
    path("GET knowledge/{id}/chunks", "/api/knowledge-items/§/chunks?limit=20&offset=0", SOURCES),
    path("DELETE knowledge/{id}", "/api/knowledge-items/§", SOURCES).with("DELETE", ""),
    path("PUT credentials/{key}", "/api/credentials/§", &["OPENAI_API_KEY", "MODEL_CHOICE", "USE_HYBRID_SEARCH"])
        .with("PUT", r#"{"value":"gpt-4o-mini","is_encrypted":false,"category":"rag_strategy"}"#)
        .loose(),
    path("GET chat sessions/{id}", "/api/agent-chat/sessions/§", UUIDS),
    path("POST chat messages", "/api/agent-chat/sessions/§/messages", UUIDS).with("POST", r#"{"message":"¤"}"#),
    path("POST agents/{type}", "/agents/§/stream", &["document", "rag", "task"])
        .with("POST", r#"{"agent_type":"rag","prompt":"¤"}"#)
        .loose(),
    path("GET conversations/{id}", "/api/conversations/§/messages", &["web-1755871234567-k3j9x2"]).loose(),
    path("POST conversations/{id}", "/api/conversations/§/message", &["web-1755871234567-k3j9x2"])
        .with("POST", r#"{"message":"¤"}"#)
        .loose(),
    path("GET workflows/{name}", "/api/workflows/§", &["fix-github-issue", "plan", "review_pr"]).loose(),
    path("GET runs/{id}", "/api/workflows/runs/§", UUIDS),
    path("POST runs/{id}/approve", "/api/workflows/runs/§/approve", UUIDS).with("POST", r#"{"comment":"¤"}"#),
    path("GET stream/{id}", "/api/stream/§", &["web-1755871234567-k3j9x2", "__dashboard__"]).loose(),
    path("PUT codebases/{id}/env", "/api/codebases/§/env", UUIDS)
        .with("PUT", r#"{"key":"NODE_ENV","value":"production"}"#),
    path("GET assets", "/assets/index-§.js", &["B7x2kQ9a", "DYzA81bc"]).loose(),
    // Query parameters.
    query("tasks?project_id", Kind::Query, "/api/tasks?project_id=§&page=1", UUIDS),
    query("tasks?include_closed", Kind::Query, "/api/tasks?include_closed=§", BOOLEANS),
    query("projects?include_content", Kind::Query, "/api/projects?include_content=§", BOOLEANS),
    query(
        "chunks?domain_filter",
        Kind::Query,
        "/api/knowledge-items/9f86d081884c7d65/chunks?domain_filter=§",
        &["docs.python.org", "react.dev"],
    )
    .loose(),
    query("pages?source_id", Kind::Query, "/api/pages?source_id=§", SOURCES).loose(),
    query("conversations?codebaseId", Kind::Query, "/api/conversations?codebaseId=§&limit=50", UUIDS),
    query("tasks?status", Kind::Enum, "/api/tasks?status=§&page=1&per_page=20", STATES),
    query(
        "knowledge?knowledge_type",
        Kind::Enum,
        "/api/knowledge-items?page=1&knowledge_type=§",
        &["technical", "business"],
    ),
    query("runs?status", Kind::Enum, "/api/dashboard/runs?status=§&limit=20", &["running", "completed", "failed"]),
    query("tasks?page", Kind::Number, "/api/tasks?page=§&per_page=50", COUNTS),
    query("knowledge?per_page", Kind::Number, "/api/knowledge-items?page=1&per_page=§", COUNTS),
    query("chunks?offset", Kind::Number, "/api/knowledge-items/9f86d081884c7d65/chunks?limit=20&offset=§", COUNTS),
    query("runs?limit", Kind::Number, "/api/dashboard/runs?limit=§", COUNTS),
    query("version number", Kind::Number, "/api/projects/‹uuid›/versions/docs/§", COUNTS),
    query("tasks?{}", Kind::ParamName, "/api/tasks?§=1", &["page", "per_page"]),
    query("projects?{}", Kind::ParamName, "/api/projects?§=true", &["include_content"]),
    query("knowledge?{}", Kind::ParamName, "/api/knowledge-items?page=1&§=10", &["per_page"]),
    query("pages/by-url?url", Kind::Url, "/api/pages/by-url?url=§", URLS),
    // Header fields.
    header("projects: user-agent", "/api/projects", "user-agent", "", AGENTS).loose(),
    header("mcp: user-agent", "/mcp", "user-agent", "", AGENTS)
        .with("POST", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .loose(),
    header("index: user-agent", "/", "user-agent", "Mozilla/5.0 ", &["(X11; Linux x86_64)", "(compatible)"]).loose(),
    header("projects: referer", "/api/projects", "referer", "", PAGES),
    header("tasks: referer", "/api/tasks?page=1", "referer", "https://archon.example.org/?q=", &["c%2B%2B", "R%26D"])
        .loose(),
    header(
        "assets: referer",
        "/assets/index-B7x2kQ9a.js",
        "referer",
        "https://archon.example.org/",
        &["projects", "chat/web-1"],
    )
    .loose(),
    header("projects: if-none-match", "/api/projects", "if-none-match", "", ETAGS),
    header("progress: if-none-match", "/api/progress/‹uuid›", "if-none-match", "", ETAGS),
    header("counts: if-none-match", "/api/projects/task-counts", "if-none-match", "W/", ETAGS),
    header(
        "version: if-modified-since",
        "/api/version/check",
        "if-modified-since",
        "",
        &["Tue, 25 Aug 2026 10:00:00 GMT"],
    ),
    header("projects: authorization", "/api/projects", "authorization", "", &["Bearer abcdef0123456789"]),
    header("mcp: authorization", "/mcp", "authorization", "Bearer ", &["sk-archon-0123456789abcdef"])
        .with("POST", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .loose(),
    header("tasks: accept", "/api/tasks", "accept", "", &["application/json", "*/*"]),
    header("index: accept-language", "/", "accept-language", "", &["en-US,en;q=0.9", "de"]).loose(),
    header("projects: origin", "/api/projects", "origin", "", &["https://archon.example.org"]),
    header("tasks: x-requested-with", "/api/tasks", "x-requested-with", "", &["XMLHttpRequest"]).loose(),
    header("tasks: content-type", "/api/tasks", "content-type", "", &["application/json"])
        .with("POST", r#"{"project_id":"‹uuid›","title":"x"}"#),
    header("mcp: mcp-session-id", "/mcp", "mcp-session-id", "", &["2f8b4c1e7d0a4a539d351c8e5f0b7a92"])
        .with("POST", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .loose(),
    header("mcp: mcp-protocol-version", "/mcp", "mcp-protocol-version", "", &["2025-06-18", "2025-03-26"])
        .with("POST", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#),
    header("stream: last-event-id", "/api/stream/web-1755871234567-k3j9x2", "last-event-id", "", &["42"]).loose(),
    header("github: x-github-event", "/webhooks/github", "x-github-event", "", &["push", "issue_comment"])
        .with("POST", r#"{"zen":"x"}"#)
        .loose(),
    header("github: x-github-delivery", "/webhooks/github", "x-github-delivery", "", UUIDS)
        .with("POST", r#"{"zen":"x"}"#),
    header(
        "github: signature",
        "/webhooks/github",
        "x-hub-signature-256",
        "sha256=",
        &["757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"],
    )
    .with("POST", r#"{"zen":"x"}"#),
    // Cookies.
    Place {
        ordinary: &["dark", "light"],
        loose: true,
        ..place("theme", Kind::Cookie, "GET", "/api/projects", Way::Cookie("theme"))
    },
    Place {
        ordinary: &["Zm9vYmFyYmF6cXV4.c2lnbmF0dXJl%3D"],
        loose: true,
        ..place("session", Kind::Cookie, "GET", "/api/conversations", Way::Cookie("better-auth.session_token"))
    },
    Place {
        ordinary: &["alice.757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"],
        loose: true,
        ..place("archon_auth", Kind::Cookie, "GET", "/", Way::Cookie("archon_auth"))
    },
    Place {
        ordinary: &["_ga", "lang"],
        loose: true,
        ..place("{}", Kind::Cookie, "GET", "/api/projects", Way::Cookie(""))
    },
    // JSON.
    json(
        "tasks.project_id",
        Kind::JsonTyped,
        "/api/tasks",
        r#"{"title":"Write docs","description":"¤","project_id":§}"#,
        UUIDS,
    ),
    json(
        "tasks.status",
        Kind::Enum,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","title":"Write docs","description":"¤","status":§}"#,
        STATES,
    ),
    json(
        "tasks.priority",
        Kind::Enum,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","title":"Write docs","priority":§}"#,
        &["low", "medium", "high", "critical"],
    ),
    json(
        "tasks.task_order",
        Kind::Number,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","title":"Write docs","description":"¤","task_order":§}"#,
        COUNTS,
    ),
    json(
        "docs.document_type",
        Kind::JsonTyped,
        "/api/projects/‹uuid›/docs",
        r#"{"title":"Notes","content":{"text":"¤"},"document_type":§}"#,
        &["prd", "spec", "guide", "note"],
    )
    .loose(),
    json(
        "versions.field_name",
        Kind::Enum,
        "/api/projects/‹uuid›/versions",
        r#"{"content":{"text":"¤"},"field_name":§}"#,
        FIELDS,
    ),
    json(
        "credentials.key",
        Kind::JsonTyped,
        "/api/credentials",
        r#"{"value":"x","is_encrypted":true,"key":§}"#,
        &["OPENAI_API_KEY", "LOG_LEVEL"],
    )
    .loose(),
    json(
        "credentials.is_encrypted",
        Kind::JsonTyped,
        "/api/credentials",
        r#"{"key":"LOG_LEVEL","value":"debug","is_encrypted":§}"#,
        BOOLEANS,
    ),
    json(
        "credentials.category",
        Kind::JsonTyped,
        "/api/credentials",
        r#"{"key":"LOG_LEVEL","value":"debug","category":§}"#,
        &["rag_strategy", "api_keys"],
    )
    .loose(),
    json(
        "crawl.knowledge_type",
        Kind::Enum,
        "/api/knowledge-items/crawl",
        r#"{"url":"https://docs.python.org/3/","knowledge_type":§}"#,
        &["technical", "business"],
    ),
    json(
        "crawl.max_depth",
        Kind::Number,
        "/api/knowledge-items/crawl",
        r#"{"url":"https://docs.python.org/3/","max_depth":§}"#,
        &["1", "2", "3"],
    ),
    json("rag.match_count", Kind::Number, "/api/rag/query", r#"{"query":"retry policy","match_count":§}"#, COUNTS),
    json(
        "rag.return_mode",
        Kind::Enum,
        "/api/rag/query",
        r#"{"query":"retry policy","return_mode":§}"#,
        &["pages", "chunks"],
    ),
    json(
        "rag.source",
        Kind::JsonTyped,
        "/api/rag/query",
        r#"{"query":"retry policy","source":§}"#,
        &["docs.python.org", "9f86d081884c7d65"],
    )
    .loose(),
    json(
        "agents.agent_type",
        Kind::Enum,
        "/agents/run",
        r#"{"prompt":"¤","agent_type":§}"#,
        &["document", "rag", "task"],
    ),
    json(
        "chat.project_id",
        Kind::JsonTyped,
        "/api/agent-chat/sessions",
        r#"{"agent_type":"rag","project_id":§}"#,
        UUIDS,
    ),
    json("conversations.codebaseId", Kind::JsonTyped, "/api/conversations", r#"{"message":"¤","codebaseId":§}"#, UUIDS),
    json(
        "run.conversationId",
        Kind::JsonTyped,
        "/api/workflows/plan/run",
        r#"{"message":"¤","conversationId":§}"#,
        &["web-1755871234567-k3j9x2"],
    )
    .loose(),
    json(
        "env.key",
        Kind::JsonTyped,
        "/api/codebases/‹uuid›/env",
        r#"{"value":"x","key":§}"#,
        &["NODE_ENV", "DATABASE_URL"],
    )
    .with("PUT", r#"{"value":"x","key":§}"#)
    .loose(),
    json(
        "sign-in.email",
        Kind::JsonTyped,
        "/api/auth/sign-in/email",
        r#"{"password":"correct horse battery staple","email":§}"#,
        &["ada@example.org", "o'neil+test@mail.example.org"],
    ),
    mcp("mcp method", Kind::Enum, r#"{"jsonrpc":"2.0","id":3,"method":§,"params":{}}"#, &["tools/list", "ping"]),
    mcp(
        "mcp tool",
        Kind::Enum,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":§,"arguments":{}}}"#,
        &["find_tasks", "find_projects"],
    ),
    call(
        "mcp action",
        Kind::Enum,
        "manage_task",
        r#"{"description":"¤","title":"Write docs","action":§}"#,
        &["create", "update"],
    ),
    call(
        "mcp filter_by",
        Kind::Enum,
        "find_tasks",
        r#"{"filter_by":§,"filter_value":"todo"}"#,
        &["status", "project", "assignee"],
    ),
    call(
        "mcp project_id",
        Kind::JsonTyped,
        "manage_document",
        r#"{"action":"create","title":"Notes","content":{"text":"¤"},"project_id":§}"#,
        UUIDS,
    ),
    call("mcp match_count", Kind::Number, "rag_search_knowledge_base", r#"{"query":"retry","match_count":§}"#, COUNTS),
    json(
        "tasks{}",
        Kind::JsonKey,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","title":"Write docs","description":"¤",§:"x"}"#,
        &["feature", "assignee"],
    ),
    json(
        "projects{}",
        Kind::JsonKey,
        "/api/projects",
        r#"{"title":"Website","description":"¤",§:[]}"#,
        &["docs", "features"],
    ),
    json("rag{}", Kind::JsonKey, "/api/rag/query", r#"{"query":"retry policy",§:"docs.python.org"}"#, &["source"]),
    call("mcp arguments{}", Kind::JsonKey, "find_projects", r#"{§:"x"}"#, &["query"]),
    // Addresses.
    json(
        "crawl.url",
        Kind::Url,
        "/api/knowledge-items/crawl",
        r#"{"knowledge_type":"technical","max_depth":2,"tags":[],"url":§}"#,
        URLS,
    )
    .fetched(),
    json(
        "codebases.url",
        Kind::Url,
        "/api/codebases",
        r#"{"url":§}"#,
        &["https://github.com/coleam00/Archon", "https://github.com/o/r.git"],
    )
    .fetched(),
    json(
        "projects.github_repo",
        Kind::Url,
        "/api/projects",
        r#"{"title":"Website","description":"¤","github_repo":§}"#,
        &["https://github.com/coleam00/Archon"],
    ),
    // Forms.
    Place {
        ordinary: FILES,
        ..place("upload: file name", Kind::FileName, "POST", "/api/documents/upload", Way::FileName)
    },
    Place {
        ordinary: FILES,
        ..place(
            "message: file name",
            Kind::FileName,
            "POST",
            "/api/conversations/web-1755871234567-k3j9x2/message",
            Way::FileName,
        )
    },
    Place {
        ordinary: &["file"],
        ..place("upload: part", Kind::PartName, "POST", "/api/documents/upload", Way::PartName)
    },
    Place {
        ordinary: &["files"],
        ..place(
            "message: part",
            Kind::PartName,
            "POST",
            "/api/conversations/web-1755871234567-k3j9x2/message",
            Way::PartName,
        )
    },
    Place {
        ordinary: &["technical", "business"],
        ..place("upload.knowledge_type", Kind::Enum, "POST", "/api/documents/upload", Way::FormText("knowledge_type"))
    },
    Place {
        ordinary: BOOLEANS,
        ..place(
            "upload.extract_code_examples",
            Kind::Enum,
            "POST",
            "/api/documents/upload",
            Way::FormText("extract_code_examples"),
        )
    },
    // Whole paths, for what scanners ask.
    place("any path", Kind::Target, "GET", "§", Way::Path),
    // Lines people write.
    query("tasks?q", Kind::Short, "/api/tasks?q=§&page=1&per_page=20", LINES),
    query("knowledge?search", Kind::Short, "/api/knowledge-items?page=1&per_page=20&search=§", LINES),
    query("runs?search", Kind::Short, "/api/dashboard/runs?search=§", LINES),
    json(
        "tasks.title",
        Kind::Short,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","description":"¤","title":§,"status":"todo"}"#,
        LINES,
    ),
    json(
        "tasks.feature",
        Kind::Short,
        "/api/tasks",
        r#"{"project_id":"‹uuid›","title":"Write docs","description":"¤","feature":§}"#,
        LINES,
    ),
    json("projects.title", Kind::Short, "/api/projects", r#"{"description":"¤","title":§}"#, LINES),
    json(
        "docs.title",
        Kind::Short,
        "/api/projects/‹uuid›/docs",
        r#"{"document_type":"note","content":{"text":"¤"},"title":§}"#,
        LINES,
    ),
    json(
        "docs.tags[]",
        Kind::Short,
        "/api/projects/‹uuid›/docs",
        r#"{"document_type":"note","title":"Notes","content":{},"tags":["api",§]}"#,
        LINES,
    ),
    json(
        "docs.author",
        Kind::Short,
        "/api/projects/‹uuid›/docs",
        r#"{"document_type":"note","title":"Notes","content":{},"author":§}"#,
        LINES,
    ),
    json(
        "versions.change_summary",
        Kind::Short,
        "/api/projects/‹uuid›/versions",
        r#"{"field_name":"docs","content":{},"change_summary":§}"#,
        LINES,
    ),
    json(
        "crawl.tags[]",
        Kind::Short,
        "/api/knowledge-items/crawl",
        r#"{"url":"https://docs.python.org/3/","knowledge_type":"technical","tags":[§]}"#,
        LINES,
    ),
    json("rag.query", Kind::Short, "/api/rag/query", r#"{"query":§,"match_count":5}"#, LINES),
    json("code-examples.query", Kind::Short, "/api/rag/code-examples", r#"{"query":§,"match_count":3}"#, LINES),
    json(
        "bug-report.title",
        Kind::Short,
        "/api/bug-report/github",
        r#"{"description":"¤","title":§,"severity":"medium"}"#,
        LINES,
    ),
    json("conversations.title", Kind::Short, "/api/conversations/web-1755871234567-k3j9x2", r#"{"title":§}"#, LINES)
        .with("PATCH", r#"{"title":§}"#),
    call("mcp query", Kind::Short, "rag_search_knowledge_base", r#"{"query":§,"match_count":5}"#, LINES),
    call("mcp code query", Kind::Short, "rag_search_code_examples", r#"{"query":§}"#, LINES),
    call("mcp task query", Kind::Short, "find_tasks", r#"{"query":§}"#, LINES),
    call(
        "mcp title",
        Kind::Short,
        "manage_task",
        r#"{"action":"create","project_id":"‹uuid›","description":"¤","title":§}"#,
        LINES,
    ),
    Place {
        ordinary: LINES,
        ..place("upload.tags", Kind::Short, "POST", "/api/documents/upload", Way::FormText("tags"))
    },
];

#[test]
fn places_have_names_of_their_own_and_ordinary_values() {
    let mut names = std::collections::HashSet::new();
    for place in PLACES {
        assert!(names.insert((place.kind, place.name)), "{}", place.name);
        assert!(place.kind == Kind::Target || !place.ordinary.is_empty(), "{}", place.name);
    }
}
