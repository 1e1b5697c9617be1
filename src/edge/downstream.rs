//! A client's side of one exchange, whoever looks after it: the base, or [`Bodiless`].

use super::bodiless::Bodiless;
use super::respond::Answer;
use crate::gate::RequestLine;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_error::{Error, ErrorType};
use pingora_http::ResponseHeader;
use std::io;

/// One exchange, its head read.
pub(super) enum Downstream {
    /// HTTP/1, and the request has no body.
    Bodiless(Box<Bodiless>),
    /// Any other.
    Base(Box<ServerSession>),
}

fn left(e: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing the response", e).into_down()
}

/// An HTTP/1 exchange as a session of the base, which parses its head again; `behind` is what came behind that. The
/// connection, if the base refuses it.
pub(super) async fn base(
    stream: Stream,
    head: &[u8],
    behind: &[u8],
    keep_alive: bool,
) -> Result<Box<ServerSession>, Stream> {
    let mut all = BytesMut::with_capacity(head.len() + behind.len());
    all.extend_from_slice(head);
    all.extend_from_slice(behind);
    let mut session = HttpSession::new(stream);
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(all);
    if !matches!(session.read_request().await, Ok(Some(_))) {
        return Err(session.into_inner());
    }
    let mut session = Box::new(ServerSession::H1(session));
    if !keep_alive {
        // Not before: reading a head sets it anew.
        session.set_keepalive(None);
    }
    Ok(session)
}

impl Downstream {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Base(session) if session.is_http2())
    }

    pub(super) fn method(&self) -> &Method {
        match self {
            Self::Bodiless(session) => session.method(),
            Self::Base(session) => &session.req_header().method,
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Bodiless(session) => session.version(),
            Self::Base(session) => session.req_header().version,
        }
    }

    /// HTTP/2: the pseudo-fields.
    pub(super) fn uri(&self) -> Option<&Uri> {
        match self {
            Self::Bodiless(_) => None,
            Self::Base(session) => Some(&session.req_header().uri),
        }
    }

    /// The request line as it was sent.
    pub(super) fn line(&self) -> RequestLine {
        let protocol = Bytes::from_static(match self.version() {
            Version::HTTP_2 => b"HTTP/2.0",
            Version::HTTP_10 => b"HTTP/1.0",
            _ => b"HTTP/1.1",
        });
        match self {
            Self::Bodiless(session) => {
                RequestLine { method: session.method_name(), target: session.target(), protocol }
            }
            Self::Base(session) => {
                let head = session.req_header();
                let method = match head.method {
                    Method::GET => Bytes::from_static(b"GET"),
                    Method::POST => Bytes::from_static(b"POST"),
                    ref other => Bytes::copy_from_slice(other.as_str().as_bytes()),
                };
                RequestLine { method, target: Bytes::copy_from_slice(head.raw_path()), protocol }
            }
        }
    }

    /// The request's fields; to be asked for once.
    pub(super) fn headers(&mut self) -> HeaderMap {
        match self {
            Self::Bodiless(session) => session.take_headers(),
            // It looks at them again when it reads the body.
            Self::Base(session) => session.req_header().headers.clone(),
        }
    }

    /// HTTP/1: the connection ends with this exchange.
    pub(super) fn last(&mut self) {
        match self {
            Self::Bodiless(session) => session.last(),
            Self::Base(session) => session.set_keepalive(None),
        }
    }

    /// Whether the request's body has been read to its end; there may be none.
    pub(super) fn is_body_done(&mut self) -> bool {
        match self {
            Self::Bodiless(_) => true,
            Self::Base(session) => session.is_body_done(),
        }
    }

    /// Whether the request has no body.
    pub(super) fn is_body_empty(&mut self) -> bool {
        match self {
            Self::Bodiless(_) => true,
            Self::Base(session) => session.is_body_empty(),
        }
    }

    /// The next piece of the request's body; `None` at its end.
    ///
    /// # Errors
    /// It is badly framed, or the client left.
    pub(super) async fn read_body(&mut self) -> pingora_error::Result<Option<Bytes>> {
        match self {
            Self::Bodiless(_) => Ok(None),
            Self::Base(session) => Box::pin(session.read_request_body()).await,
        }
    }

    /// Tells a client that waits for it to go on with its body.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn proceed(&mut self) -> pingora_error::Result<()> {
        match self {
            Self::Bodiless(_) => Ok(()),
            Self::Base(session) => Box::pin(session.write_continue_response()).await,
        }
    }

    /// Writes the response's head.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn head(&mut self, head: ResponseHeader) -> pingora_error::Result<()> {
        match self {
            Self::Bodiless(session) => session.head(&head).await.map_err(left),
            Self::Base(session) => session.write_response_header(Box::new(head)).await,
        }
    }

    /// HTTP/1.1: writes a 103 with these fields (RFC 8297), before the response's head.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn hints(&mut self, links: HeaderMap) -> pingora_error::Result<()> {
        match self {
            Self::Bodiless(session) => Box::pin(session.hints(&links)).await.map_err(left),
            Self::Base(session) => {
                let mut head = ResponseHeader::build(StatusCode::EARLY_HINTS, Some(links.len()))?;
                for (name, value) in &links {
                    head.append_header(name.clone(), value.clone())?;
                }
                Box::pin(session.write_response_header(Box::new(head))).await
            }
        }
    }

    /// Writes a head that is all there is. Over HTTP/2 it says so itself: a gRPC client reads a status in it only then.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn head_alone(&mut self, head: ResponseHeader) -> pingora_error::Result<()> {
        match self {
            Self::Base(session) if session.is_http2() => {
                Box::pin(session.response_duplex_vec(vec![HttpTask::Header(Box::new(head), true)])).await.map(drop)
            }
            _ => {
                self.head(head).await?;
                self.body(Bytes::new(), true).await
            }
        }
    }

    /// Ends the response with its trailers; over HTTP/1 it ends without.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn trailers(&mut self, trailers: HeaderMap) -> pingora_error::Result<()> {
        match self {
            Self::Base(session) if session.is_http2() => Box::pin(session.write_response_trailers(trailers)).await,
            _ => self.body(Bytes::new(), true).await,
        }
    }

    /// Writes a piece of the response's body.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn body(&mut self, piece: Bytes, end: bool) -> pingora_error::Result<()> {
        match self {
            Self::Bodiless(session) => session.body(piece, end).await.map_err(left),
            Self::Base(session) => session.write_response_body(piece, end).await,
        }
    }

    /// Writes a response of our own.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn answer(&mut self, answer: &Answer) -> pingora_error::Result<()> {
        if answer.close {
            self.last();
        }
        if answer.call {
            return self.head_alone(answer.head()?).await;
        }
        let body = answer.body_for(self.method());
        self.head(answer.head()?).await?;
        self.body(body, true).await
    }

    /// What a piece of so many bytes costs while the client does not take it, in bytes.
    pub(super) fn holds(&self, piece: usize) -> usize {
        match self {
            Self::Bodiless(_) => 0,
            Self::Base(_) => piece,
        }
    }

    /// Response body bytes written.
    pub(super) fn sent(&self) -> usize {
        match self {
            Self::Bodiless(session) => session.sent(),
            Self::Base(session) => session.body_bytes_sent(),
        }
    }

    /// Ends when the client has left; says how.
    pub(super) async fn gone(&mut self) -> String {
        match self {
            Self::Bodiless(session) => session.gone().await.to_string(),
            Self::Base(session) => match session.read_body_or_idle(true).await {
                Err(e) => e.to_string(),
                // A next request was begun on the same connection; its turn comes.
                Ok(_) => std::future::pending().await,
            },
        }
    }

    /// Ends the exchange: HTTP/1: the connection and what has come of a next request, if it may carry one.
    ///
    /// # Errors
    /// The response was not written whole, or the client left.
    pub(super) async fn finish(self) -> pingora_error::Result<Option<(Stream, BytesMut)>> {
        match self {
            Self::Bodiless(session) => session.finish().await.map_err(left),
            Self::Base(session) => {
                let reusable = Box::pin(session.finish()).await?.map(|reusable| reusable.into_parts());
                Ok(reusable.map(|(stream, ahead)| (stream, ahead.unwrap_or_default())))
            }
        }
    }

    /// HTTP/1: the connection.
    pub(super) fn into_stream(self) -> Option<Stream> {
        match self {
            Self::Bodiless(session) => Some(session.into_stream()),
            Self::Base(session) => match *session {
                ServerSession::H1(h1) => Some(h1.into_inner()),
                _ => None,
            },
        }
    }

    /// The same exchange in the base's hands; `None` if the base refuses it.
    pub(super) async fn into_base(self) -> Option<Box<ServerSession>> {
        match self {
            Self::Bodiless(session) => session.into_base().await,
            Self::Base(session) => Some(session),
        }
    }
}
