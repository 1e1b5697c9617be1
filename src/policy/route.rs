//! One route: its entry in the configuration, and what is made of it.

use super::DEFAULT;
use crate::facts::{Priority, RouteName};
use crate::fault::Fault;
use crate::units::{ByteSize, Share, Span};
use http::Method;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// In place of a method: every one.
const ANY: &str = "*";

/// One `[[route]]` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// The route's name, for metrics and audit events: 1 to 32 lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The canonical path it takes: one that ends in `/` with all below it (and itself without the slash), any other
    /// exactly.
    pub path: String,
    /// The methods it takes, `*` for all; others get 405. CONNECT and TRACE never pass.
    pub methods: Vec<String>,
    /// Closed: every request gets 403, whatever its method.
    pub refuse: bool,
    /// Most body bytes of a request; above: 413. Unset: the gate's general limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// Whether the rules see requests and responses.
    pub inspect: bool,
    /// The limit, by its name under `limits`, that counts this route's requests besides the general one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Whether requests without a verified user get 401.
    pub require_user: bool,
    /// Whether responses may be stored.
    pub cache: bool,
    /// Whether responses are streams (server-sent events, long polls): they flow at once, held by nothing.
    pub stream: bool,
    /// Whether its POST requests are gRPC calls: `application/grpc` and no other content, whose messages flow both ways as
    /// they come. The rules see the head of a call, not its messages.
    pub grpc: bool,
    /// How long a replica may take to its response head. Unset: `upstream.read_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Span>,
    /// Whether WebSocket handshakes are passed on; the methods must include GET.
    pub websocket: bool,
    /// Who is served when not everybody can be.
    pub priority: Priority,
    /// The pool its requests go to. Unset: the default one, `[upstream]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Several pools instead, by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitSettings>,
    /// What decides between them.
    #[serde(skip_serializing_if = "SplitBy::is_user")]
    pub split_by: SplitBy,
    /// A pool that gets copies of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSettings>,
}

/// One pool of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSettings {
    /// The pool.
    pub pool: String,
    /// Its share, as part of the weights of all.
    pub weight: u32,
}

/// What decides between the pools of a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// The user, else the client's address: who is in one pool stays there.
    #[default]
    User,
    /// Each request is drawn anew.
    Request,
}

impl SplitBy {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_user(&self) -> bool {
        *self == Self::User
    }
}

/// A route's `mirror`: copies of admitted requests go to another pool, whose answers are thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSettings {
    /// The pool.
    pub pool: String,
    /// Of how many requests, from 0.0 to 1.0.
    pub share: Share,
    /// Largest body copied; requests with a larger one are not.
    #[serde(default = "mirrored_body")]
    pub max_body: ByteSize,
    /// Copies under way at once; what is due beyond is dropped.
    #[serde(default = "mirrored_at_once")]
    pub max_in_flight: u32,
}

fn mirrored_body() -> ByteSize {
    ByteSize::kib(64)
}

fn mirrored_at_once() -> u32 {
    64
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: String::new(),
            methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(String::from).to_vec(),
            refuse: false,
            max_body: None,
            inspect: true,
            limit: None,
            require_user: false,
            cache: true,
            stream: false,
            grpc: false,
            response_timeout: None,
            websocket: false,
            priority: Priority::Normal,
            pool: None,
            split: Vec::new(),
            split_by: SplitBy::default(),
            mirror: None,
        }
    }
}

impl RouteSettings {
    /// The path, the default route's being `/` unless it says so itself.
    pub(super) fn place(&self) -> &str {
        if self.name == DEFAULT && self.path.is_empty() { "/" } else { &self.path }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: String, what: String, mend: &str| faults.push(Fault::key(key, what, mend));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            let mend = "use 1 to 32 lower-case letters, digits, - and _";
            fault("name".into(), format!("{:?} is no route name", self.name), mend);
        }
        if self.name == DEFAULT && self.place() != "/" {
            let mend = "leave the path out, or give the route another name";
            fault("path".into(), format!("the default route takes what no other does, not {:?}", self.path), mend);
        } else if let Some((what, mend)) = path_fault(self.place()) {
            fault("path".into(), format!("the path {:?} {what}", self.path), mend);
        }
        if self.methods.is_empty() {
            fault(
                "methods".into(),
                "no method is allowed".into(),
                "name some, or set refuse = true to close the route",
            );
        }
        for (i, method) in self.methods.iter().enumerate() {
            let known =
                method == ANY || !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
            if !known {
                let mend = "write it in capitals: methods are case-sensitive (RFC 9110 section 9.1)";
                fault(format!("methods[{i}]"), format!("{method:?} is no method"), mend);
            } else if matches!(method.as_str(), "CONNECT" | "TRACE") {
                fault(format!("methods[{i}]"), format!("{method} is never forwarded"), "remove it");
            }
        }
        if self.max_body == Some(ByteSize(0))
            && self.methods.iter().any(|m| matches!(m.as_str(), "POST" | "PUT" | "PATCH"))
        {
            fault(
                "max_body".into(),
                "no body is allowed but methods with a body are".into(),
                "raise it or remove them",
            );
        }
        if self.response_timeout == Some(Span(Duration::ZERO)) {
            fault("response_timeout".into(), "a response has no time at all".into(), "write a duration, as \"60s\"");
        }
        if self.websocket && !self.methods.iter().any(|method| method == "GET") {
            let what = "a WebSocket opens with GET, which the route does not take".into();
            fault("websocket".into(), what, "add GET to the methods");
        }
        if self.grpc && !self.methods.iter().any(|method| matches!(method.as_str(), "POST" | ANY)) {
            fault("grpc".into(), "a call is a POST, which the route does not take".into(), "add POST to the methods");
        }
        if self.pool.is_some() && !self.split.is_empty() {
            fault("pool".into(), "the route has a split too".into(), "keep pool or split");
        }
        if !self.split.is_empty() && self.split.iter().all(|part| part.weight == 0) {
            fault("split".into(), "nobody has a share".into(), "give one of them a weight above zero");
        }
        if self.mirror.as_ref().is_some_and(|mirror| mirror.max_in_flight == 0) {
            fault("mirror.max_in_flight".into(), "no copy could be made".into(), "write 1 or more, or remove mirror");
        }
        faults
    }
}

/// What is wrong with a configured path: it has to be one that a canonical path can equal.
fn path_fault(path: &str) -> Option<(&'static str, &'static str)> {
    let Some(below) = path.strip_prefix('/') else {
        return Some(("does not begin with /", "write it from the root, as \"/api/\""));
    };
    let inner = below.strip_suffix('/').unwrap_or(below);
    if path.contains(['?', '#']) {
        return Some(("has a query or fragment", "routes look at the path alone: remove it"));
    }
    if path.contains('*') {
        return Some(("has a wildcard", "end it in / to take all below it"));
    }
    if path.contains(['\\', ';', '%']) || path.chars().any(char::is_control) {
        return Some(("is not canonical", "write it decoded, without backslashes, parameters and controls"));
    }
    if path != "/" && inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Some(("has empty or dot segments", "write it without them: requests come with them resolved"));
    }
    None
}

/// A route as requests meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its place among all routes, from 0 (`default`): for per-route metrics made beforehand.
    pub index: usize,
    /// Its name.
    pub name: RouteName,
    /// Closed: 403.
    pub refuse: bool,
    /// Most body bytes, if not the gate's general limit.
    pub max_body: Option<ByteSize>,
    /// Whether the rules see requests and responses.
    pub inspect: bool,
    /// The limit of its own, by name.
    pub limit: Option<Arc<str>>,
    /// Whether a verified user is required.
    pub require_user: bool,
    /// Whether responses may be stored.
    pub cache: bool,
    /// Whether responses flow at once.
    pub stream: bool,
    /// Whether its POST requests are gRPC calls.
    pub grpc: bool,
    /// Time to the response head, if not the general one.
    pub response_timeout: Option<Duration>,
    /// Whether WebSocket handshakes pass.
    pub websocket: bool,
    /// Who is served when not everybody can be.
    pub priority: Priority,
    path: Box<str>,
    any_method: bool,
    methods: Vec<Method>,
    allow: Box<str>,
}

impl Route {
    /// From an entry without faults.
    pub(super) fn new(entry: &RouteSettings, index: usize) -> Self {
        Self {
            index,
            name: RouteName(entry.name.as_str().into()),
            refuse: entry.refuse,
            max_body: entry.max_body,
            inspect: entry.inspect,
            limit: entry.limit.as_deref().map(Arc::from),
            require_user: entry.require_user,
            cache: entry.cache,
            stream: entry.stream,
            grpc: entry.grpc,
            response_timeout: entry.response_timeout.map(|span| span.0),
            websocket: entry.websocket,
            priority: entry.priority,
            path: entry.place().into(),
            any_method: entry.methods.iter().any(|method| method == ANY),
            methods: entry.methods.iter().filter_map(|method| Method::from_bytes(method.as_bytes()).ok()).collect(),
            allow: entry.methods.join(", ").into(),
        }
    }

    /// The path it takes, as configured.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it takes the method (case-sensitive, RFC 9110 section 9.1).
    pub fn takes(&self, method: &Method) -> bool {
        self.any_method || self.methods.contains(method)
    }

    /// The value of `Allow` for a 405 (RFC 9110 section 15.5.6).
    pub fn allow(&self) -> &str {
        &self.allow
    }
}
