//! Requests to the authority: TLS with its certificate verified, one connection each, bounded in time and size.

use crate::fault::Fault;
use crate::tls::{AcmeSettings, client_config};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one request may take, from the look-up of the name to the last byte of the answer.
const TIME: Duration = Duration::from_secs(30);
/// The largest answer, in bytes; a chain of certificates has some thousand.
const MAX_ANSWER: usize = 1 << 20;
/// Who asks (RFC 8555 section 6.1).
const AGENT: &str = concat!("gatehouse/", env!("CARGO_PKG_VERSION"), " instant-acme");

/// What `instant_acme` sends its requests through.
#[derive(Clone)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    /// What the last answer that was a failure said of when to come back.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Http {
    /// A client that trusts what the settings say.
    ///
    /// # Errors
    /// Authorities' certificates that cannot be read.
    pub(super) fn new(settings: &AcmeSettings, base: &Path) -> Result<Self, Fault> {
        let ca = settings.ca.as_ref().map(|ca| base.join(ca));
        Ok(Self { tls: client_config(ca.as_deref())?, retry_after: Arc::default() })
    }

    /// When the authority said to come back, if its last failure did.
    pub(super) fn retry_after(&self) -> Option<SystemTime> {
        *self.retry_after.lock()
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let uri = request.uri().clone();
        let place = format!("{}{}", uri.host().unwrap_or_default(), uri.path());
        match tokio::time::timeout(TIME, self.exchange(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Error::Other(format!("{place}: {error}").into())),
            Err(_) => Err(Error::Other(format!("{place}: no answer within {} s", TIME.as_secs()).into())),
        }
    }

    async fn exchange(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.scheme_str() != Some("https") {
            return Err("the authority names an address without TLS".into());
        }
        let authority = parts.uri.authority().ok_or("the address has no host")?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls).connect(ServerName::try_from(host)?, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        parts.uri = Uri::try_from(parts.uri.path_and_query().map_or("/", |target| target.as_str()))?;
        parts.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        parts.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answered = async {
            let (parts, body) = sender.send_request(Request::from_parts(parts, body)).await?.into_parts();
            #[expect(clippy::disallowed_methods, reason = "limited, as the ban asks")]
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((parts, body))
        };
        let answered = answered.await;
        driver.abort();
        let (parts, body) = answered?;
        if parts.status.is_client_error() || parts.status.is_server_error() {
            *self.retry_after.lock() = parts.headers.get(RETRY_AFTER).and_then(|value| moment(value.to_str().ok()?));
            let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            // What is no problem document (RFC 9457) would only be said to be no JSON.
            if !kind.starts_with("application/problem+json") {
                return Err(format!("the authority answered {}", parts.status).into());
            }
        }
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// A Retry-After: seconds or a date (RFC 9110 section 10.2.3).
fn moment(text: &str) -> Option<SystemTime> {
    match text.trim().parse() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text.trim()).ok(),
    }
}
