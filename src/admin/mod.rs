//! The admin listener: health, metrics, status and reload, for operators and their tools.
//!
//! Apart from the request's way; it reads what the gate knows and can ask it to reload, nothing else.
//!
//! | path | answers |
//! |---|---|
//! | `GET /livez` | 200 while the process serves |
//! | `GET /readyz` | 200 when requests can be answered, else 503; the reasons as JSON |
//! | `GET /metrics` | Prometheus text |
//! | `GET /api/v1/status` | version, configuration, replicas, queue and cache as JSON |
//! | `GET /api/v1/shadow` | the candidate of rules, and the last requests it would have judged otherwise, as JSON |
//! | `GET /api/v1/replicas` | every replica with its pool, state, requests in flight and latency, as JSON |
//! | `POST /api/v1/replicas/{pool}/{replica}/drain` | takes it out of turn until `undrain`; what it has, it ends; 404 if there is none |
//! | `POST /api/v1/replicas/{pool}/{replica}/undrain` | brings it back |
//! | `POST /api/v1/reload` | reloads; 200, 422 with the faults, or 409 while another reload runs |
//!
//! - *Who may:* with a token, whoever sends it (RFC 6750 section 2.1), compared in constant time; everyone else gets 401
//!   on every path and learns nothing. Without a token only a loopback address is accepted to listen on, and then whoever
//!   is on the machine may, except web pages: a foreign `Host` (DNS rebinding) and any `Origin` get 403.
//! - *Bounds:* 32 connections, each for at most a minute; 10 seconds a request, a reload aside, of which one runs at a
//!   time. Bodies are not read.
//! - *Failing:* closed; what is not understood is refused.

mod access;
mod listen;

use crate::fault::Fault;
use crate::units::{self, Secret};
use access::Access;
use axum::Router;
use axum::extract::{Path as InPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What the `[admin]` section says. Relative paths are relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where it listens. An address that is not loopback needs a token.
    pub address: SocketAddr,
    /// The bearer token: 16 or more visible ASCII characters. Empty: none.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A file that holds the token, instead of `token`. Empty: none.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 9180).into(), token: None, token_file: None }
    }
}

/// Whether requests can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// What is in the way; empty if nothing is.
    pub reasons: Vec<String>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The number of the configuration that runs now.
    pub generation: u64,
    /// Keys that changed and need a restart.
    pub restart: Vec<String>,
}

/// What the admin listener shows and can ask for. Called on threads that may block.
pub trait Source: Send + Sync + 'static {
    /// Whether requests can be answered: a healthy replica, and not draining.
    fn ready(&self) -> Readiness;

    /// The status as a JSON object; secrets are the implementor's to leave out.
    fn status(&self) -> Value;

    /// The candidate of rules and where it would have decided otherwise, as a JSON object.
    fn shadow(&self) -> Value;

    /// Reloads.
    ///
    /// # Errors
    ///
    /// What is wrong with the files, one text a fault; what ran before runs on.
    fn reload(&self) -> Result<Reloaded, Vec<String>>;

    /// Every replica as a JSON object.
    fn replicas(&self) -> Value;

    /// Takes a replica, by its pool and its name or address, out of turn, or brings it back. Whether there is one.
    fn drain(&self, pool: &str, replica: &str, on: bool) -> bool;

    /// All metrics in Prometheus's text format.
    fn metrics(&self) -> String;
}

/// The checked settings.
#[derive(Debug, Clone)]
pub struct Admin {
    address: SocketAddr,
    access: Arc<Access>,
}

impl Admin {
    /// Checks the settings and reads the token.
    ///
    /// # Errors
    ///
    /// An address that is not loopback without a token, a token that is too short or holds what a header cannot, both
    /// ways to give one, or a token file that cannot be read.
    pub fn build(settings: &Settings, base: &Path) -> Result<Self, Vec<Fault>> {
        let token = access::token(settings, base)?;
        if token.is_none() && !settings.address.ip().to_canonical().is_loopback() {
            let what = format!("anybody who reaches {} could reload the gate", settings.address);
            return Err(vec![Fault::key("token", what, "give a token, or listen on 127.0.0.1")]);
        }
        Ok(Self { address: settings.address, access: Arc::new(Access::new(token.as_ref())) })
    }

    /// The address to bind.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Clone)]
struct Shared {
    source: Arc<dyn Source>,
    access: Arc<Access>,
    /// One permit: one reload at a time.
    reloading: Arc<Semaphore>,
}

/// Serves until `shutdown` says `true` or its sender is gone, then lets running requests end, for five seconds at most.
pub async fn serve(
    listener: tokio::net::TcpListener,
    admin: Admin,
    source: Arc<dyn Source>,
    mut shutdown: watch::Receiver<bool>,
) {
    let shared = Shared { source, access: admin.access, reloading: Arc::new(Semaphore::new(1)) };
    let mut stop = shutdown.clone();
    let server = axum::serve(listen::Bounded::new(listener), router(shared)).with_graceful_shutdown(async move {
        // An error is a sender that is gone, which means the same.
        let _ = shutdown.wait_for(|stop| *stop).await;
    });
    tokio::select! {
        served = server => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin listener ended");
            }
        }
        () = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        } => {}
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/shadow", get(shadow))
        .route("/api/v1/replicas", get(replicas))
        .route("/api/v1/replicas/{pool}/{replica}/drain", post(|state, path| drain(state, path, true)))
        .route("/api/v1/replicas/{pool}/{replica}/undrain", post(|state, path| drain(state, path, false)))
        .route("/api/v1/reload", post(reload))
        .fallback(|| async { answer(StatusCode::NOT_FOUND, json!({"error": "no such path"})) })
        .method_not_allowed_fallback(|| async {
            answer(StatusCode::METHOD_NOT_ALLOWED, json!({"error": "not with this method"}))
        })
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// Asks who it is before anything else, and puts on every answer what keeps it out of caches and pages.
async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = match shared.access.check(&request) {
        Ok(()) if request.uri().path() == "/api/v1/reload" => next.run(request).await,
        Ok(()) => match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
            Ok(response) => response,
            Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, json!({"error": "took too long"})),
        },
        Err(StatusCode::UNAUTHORIZED) => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        Err(status) => status.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, axum::Json(body)).into_response()
}

/// Runs `call` where it may block; 500 if it panicked.
async fn ask<T: Send + 'static>(
    source: &Arc<dyn Source>,
    call: impl FnOnce(&dyn Source) -> T + Send + 'static,
) -> Result<T, Response> {
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || call(&*source)).await.map_err(|error| {
        tracing::error!(%error, "an admin request failed");
        answer(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "internal"}))
    })
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(shared): State<Shared>) -> Result<Response, Response> {
    let reasons = ask(&shared.source, |source| source.ready()).await?.reasons;
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(answer(status, json!({"ready": ready, "reasons": reasons})))
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Response> {
    let text = ask(&shared.source, |source| source.metrics()).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn status(State(shared): State<Shared>) -> Result<Response, Response> {
    ask(&shared.source, |source| source.status()).await.map(|status| answer(StatusCode::OK, status))
}

async fn shadow(State(shared): State<Shared>) -> Result<Response, Response> {
    ask(&shared.source, |source| source.shadow()).await.map(|shadow| answer(StatusCode::OK, shadow))
}

async fn replicas(State(shared): State<Shared>) -> Result<Response, Response> {
    ask(&shared.source, |source| source.replicas()).await.map(|replicas| answer(StatusCode::OK, replicas))
}

async fn drain(
    State(shared): State<Shared>,
    InPath((pool, replica)): InPath<(String, String)>,
    on: bool,
) -> Result<Response, Response> {
    let found = ask(&shared.source, move |source| source.drain(&pool, &replica, on)).await?;
    Ok(match found {
        true => answer(StatusCode::OK, json!({"draining": on})),
        false => answer(StatusCode::NOT_FOUND, json!({"error": "no such replica"})),
    })
}

async fn reload(State(shared): State<Shared>) -> Result<Response, Response> {
    let Ok(permit) = Arc::clone(&shared.reloading).try_acquire_owned() else {
        return Err(answer(StatusCode::CONFLICT, json!({"error": "a reload is running"})));
    };
    // The permit goes along: a client that leaves does not end the reload, and must not let in a second one.
    let done = ask(&shared.source, move |source| {
        let done = source.reload();
        drop(permit);
        done
    });
    Ok(match done.await? {
        Ok(done) => answer(StatusCode::OK, json!({"generation": done.generation, "restart": done.restart})),
        Err(faults) => answer(StatusCode::UNPROCESSABLE_ENTITY, json!({"error": "not reloaded", "faults": faults})),
    })
}

#[cfg(test)]
mod tests;
