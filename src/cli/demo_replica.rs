//! A sample replica for `gatehouse demo`: a small task application that shows what the gate does with an ordinary one.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health`, `GET /ready` | 200, JSON |
//! | `GET /api/tasks` | the tasks; `?q=` keeps those whose title holds the text |
//! | `POST /api/tasks` | 201 and what was sent, with an id; nothing is kept |
//! | `GET /api/tasks/{id}` | one task, or 404 |
//! | `GET /assets/app.css` | cacheable for a minute, with an ETag; 304 where it matches |
//! | `GET /api/stream` | server-sent events, one a second |
//! | `GET /ws` | a WebSocket that sends back what it gets |
//! | `POST /api/upload` | the length and SHA-256 of the body, which is not kept |
//!
//! Every answer names the replica in `x-replica`. It stands behind the gate on loopback and is no part of it: bodies
//! other than uploads, which are hashed as they come, are bounded by 1 MiB.

use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

const STYLE: &str = "body { font: 16px/1.5 system-ui; max-width: 40rem; margin: 2rem auto; }\n";
const STYLE_TAG: &str = "\"style-1\"";
const TASKS: [(u64, &str, &str); 4] = [
    (1, "Read the gate's access log", "done"),
    (2, "Write SELECT examples for the SQL course", "doing"),
    (3, "Explain <script> tags to the new colleague", "todo"),
    (4, "Order r&d budget; ask about c++ licences", "todo"),
];

/// What the handlers share.
struct Shared {
    name: HeaderValue,
    next: AtomicU64,
}

/// Serves until `shutdown` says true or its sender is gone, then ends the requests it has, streams included.
///
/// # Errors
/// If the listener fails for good.
pub(super) async fn serve(listener: TcpListener, name: &str, shutdown: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut stop = shutdown.clone();
    axum::serve(listener, router(name, shutdown))
        .with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) })
        .await
}

fn router(name: &str, shutdown: watch::Receiver<bool>) -> Router {
    let name = HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("unnamed"));
    let shared = Arc::new(Shared { name, next: AtomicU64::new(100) });
    let (for_stream, for_ws) = (shutdown.clone(), shutdown);
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/health", get(|| async { Json(json!({ "status": "ok", "ready": true })) }))
        .route("/ready", get(|| async { Json(json!({ "status": "ok", "ready": true })) }))
        .route("/api/tasks", get(list).post(create))
        .route("/api/tasks/{id}", get(one))
        .route("/assets/app.css", get(style))
        .route("/api/stream", get(move || async move { ticks(for_stream) }))
        .route("/ws", any(move |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(|ws| echo(ws, for_ws)) }))
        .layer(DefaultBodyLimit::max(1 << 20))
        .route("/api/upload", post(upload))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(json!({ "error": "there is nothing here" }))) })
        .layer(from_fn_with_state(Arc::clone(&shared), named))
        .with_state(shared)
}

const PAGE: &str = "<!doctype html><html lang=en><title>Tasks</title><link rel=stylesheet href=/assets/app.css>\
                    <h1>Tasks</h1><p>A sample application behind the gate. Its data is at <a href=/api/tasks>/api/tasks</a>.";

async fn named(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-replica", shared.name.clone());
    response
}

fn task((id, title, status): &(u64, &str, &str)) -> Value {
    json!({ "id": id, "title": title, "status": status })
}

async fn list(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let wanted = query.get("q").map(|q| q.to_lowercase()).unwrap_or_default();
    let found: Vec<Value> =
        TASKS.iter().filter(|(_, title, _)| title.to_lowercase().contains(&wanted)).map(task).collect();
    Json(json!({ "tasks": found, "count": found.len() }))
}

async fn one(Path(id): Path<u64>) -> Response {
    match TASKS.iter().find(|(known, ..)| *known == id) {
        Some(found) => Json(task(found)).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "no such task" }))).into_response(),
    }
}

async fn create(State(shared): State<Arc<Shared>>, Json(sent): Json<Value>) -> impl IntoResponse {
    let id = shared.next.fetch_add(1, Ordering::Relaxed);
    (StatusCode::CREATED, Json(json!({ "id": id, "received": sent })))
}

async fn style(headers: HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == STYLE_TAG);
    let body = if known { Body::empty() } else { Body::from(STYLE) };
    let fields = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=60"),
        (header::ETAG, STYLE_TAG),
    ];
    (if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }, fields, body).into_response()
}

/// One event a second, the first at once, until shutdown.
fn ticks(shutdown: watch::Receiver<bool>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = futures_util::stream::unfold((0_u64, shutdown), |(n, mut shutdown)| async move {
        let pause = if n == 0 { Duration::ZERO } else { Duration::from_secs(1) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            stop = shutdown.wait_for(|stop| *stop) => { drop(stop); return None; }
        }
        Some((Ok(Event::default().event("tick").data(n.to_string())), (n + 1, shutdown)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn echo(mut socket: WebSocket, mut shutdown: watch::Receiver<bool>) {
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            stop = shutdown.wait_for(|stop| *stop) => { drop(stop); Some(Ok(Message::Close(None))) }
        };
        let Some(Ok(message)) = message else { return };
        let ends = matches!(message, Message::Close(_));
        // Pongs are sent for us.
        if !matches!(message, Message::Ping(_) | Message::Pong(_)) && socket.send(message).await.is_err() || ends {
            return;
        }
    }
}

async fn upload(body: Body) -> Response {
    let (mut hash, mut length) = (Sha256::new(), 0_u64);
    let mut data = body.into_data_stream();
    while let Some(part) = data.next().await {
        let Ok(part) = part else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "the body broke off" }))).into_response();
        };
        length += part.len() as u64;
        hash.update(&part);
    }
    let mut digest = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    Json(json!({ "length": length, "sha256": digest })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn exchange(address: std::net::SocketAddr, request: impl AsRef<[u8]>, until: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        let mut seen = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&seen).contains(until) {
                if stream.read_buf(&mut seen).await.unwrap() == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    }

    #[tokio::test]
    async fn it_answers_as_its_page_says_and_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = watch::channel(false);
        let running = tokio::spawn(async move { serve(listener, "b", shutdown).await });
        let close = "Host: a\r\nConnection: close\r\n";
        for (request, want) in [
            (format!("GET /ready HTTP/1.1\r\n{close}\r\n"), vec!["200 OK", "\"ready\":true", "x-replica: b"]),
            (format!("GET /api/tasks?q=c%2B%2B HTTP/1.1\r\n{close}\r\n"), vec!["\"count\":1", "r&d"]),
            (format!("GET /api/tasks/9 HTTP/1.1\r\n{close}\r\n"), vec!["404 Not Found", "x-replica: b"]),
            (
                format!(
                    "POST /api/tasks HTTP/1.1\r\n{close}Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{{\"a\":1}}"
                ),
                vec!["201 Created", "\"received\":{\"a\":1}"],
            ),
            (
                format!("GET /assets/app.css HTTP/1.1\r\n{close}\r\n"),
                vec!["max-age=60", "etag: \"style-1\"", "system-ui"],
            ),
            (
                format!("GET /assets/app.css HTTP/1.1\r\n{close}If-None-Match: \"style-1\"\r\n\r\n"),
                vec!["304 Not Modified"],
            ),
            (
                format!("POST /api/upload HTTP/1.1\r\n{close}Content-Length: 3\r\n\r\nabc"),
                // FIPS 180-2, appendix B.1.
                vec!["\"length\":3", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
            ),
            (format!("GET /nowhere HTTP/1.1\r\n{close}\r\n"), vec!["404 Not Found", "x-replica: b"]),
        ] {
            let answer = exchange(address, &request, "\0").await;
            assert!(want.iter().all(|part| answer.contains(part)), "{request}\n{answer}");
        }
        let events = exchange(address, "GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n", "data: 1\n").await;
        assert!(events.contains("text/event-stream") && events.contains("event: tick\ndata: 0\n"), "{events}");
        // An opening handshake (RFC 6455 section 1.2) and one masked text frame, its mask zero.
        let open = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
                     \x81\x82\0\0\0\0hi";
        let answer = exchange(address, open, "\u{2}hi").await;
        for part in ["101 Switching Protocols", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x-replica: b", "\u{2}hi"] {
            assert!(answer.contains(part), "{answer}");
        }

        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
    }
}
