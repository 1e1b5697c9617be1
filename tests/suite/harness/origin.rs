//! Replicas that speak TLS or HTTP/2, and who issues their certificates.

use super::PATIENCE;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An authority of the tests.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Issuer {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a name or address, until that year.
    pub(crate) fn issue(&self, name: &str, until: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        Issued { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// What a replica shows and asks over TLS: clients have to be of `clients`, if there is one.
pub(crate) fn shows(issued: &Issued, clients: Option<&Issuer>, alpn: &[&str]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An HTTP/2 exchange on the replica's side.
pub(crate) struct Exchange {
    /// The head, whose body is to be read.
    pub(crate) request: Request<RecvStream>,
    /// Where the response goes.
    pub(crate) respond: SendResponse<Bytes>,
}

impl Exchange {
    /// The next piece of the request's body.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        let body = self.request.body_mut();
        // A stream that was reset has nobody to be answered.
        let Ok(piece) = body.data().await? else { return std::future::pending().await };
        let _ = body.flow_control().release_capacity(piece.len());
        Some(piece)
    }

    /// All of the request's body.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await {
            whole.extend_from_slice(&piece);
        }
        whole
    }

    /// The response's head.
    pub(crate) fn head(&mut self, fields: &[(&str, &str)], end: bool) -> SendStream<Bytes> {
        let mut response = Response::builder().status(200);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.respond.send_response(response.body(()).unwrap(), end).unwrap()
    }
}

/// A running replica; stops when dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    names: Arc<Mutex<Vec<Option<String>>>>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// Connections so far whose handshake went well.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The fields of all HTTP/2 requests so far.
    pub(crate) fn seen(&self) -> Vec<HeaderMap> {
        self.seen.lock().clone()
    }

    /// The server names asked for so far (SNI).
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.names.lock().clone()
    }

    /// HTTP/2, or, over TLS and if a client chose it, HTTP/1.1 with a fixed answer.
    pub(crate) async fn start<F>(
        tls: Option<Arc<ServerConfig>>,
        handle: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle: Arc<dyn Fn(Exchange) -> Done + Send + Sync> = Arc::new(move |x| Box::pin(handle(x)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen, names) = (Arc::<AtomicUsize>::default(), Arc::default(), Arc::default());
        let (count, heads, asked) = (Arc::clone(&connections), Arc::clone(&seen), Arc::clone(&names));
        let task = tokio::spawn(async move {
            // Ends with its replica, every connection with it.
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, handle) = (tls.clone(), Arc::clone(&handle));
                let (count, heads, asked) = (Arc::clone(&count), Arc::clone(&heads), Arc::clone(&asked));
                open.spawn(connection(stream, tls, handle, count, heads, asked));
            }
        });
        Self { address, connections, seen, names, task }
    }

    /// Says hello.
    pub(crate) async fn hello(tls: Option<Arc<ServerConfig>>) -> Self {
        Self::start(tls, |mut x| async move {
            let whole = x.body().await;
            let mut body = x.head(&[("content-type", "text/plain")], false);
            let text = if whole.is_empty() { Bytes::from_static(b"hello") } else { whole.into() };
            body.send_data(text, true).unwrap();
        })
        .await
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    handle: Arc<dyn Fn(Exchange) -> Done + Send + Sync>,
    count: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
) {
    let _ = stream.set_nodelay(true);
    let (io, http2): (Box<dyn Io>, bool) = match tls {
        None => (Box::new(stream), true),
        Some(config) => {
            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let session = stream.get_ref().1;
            asked.lock().push(session.server_name().map(str::to_owned));
            let http2 = session.alpn_protocol() == Some(b"h2");
            (Box::new(stream), http2)
        }
    };
    count.fetch_add(1, Ordering::Relaxed);
    if !http2 {
        return plain(io).await;
    }
    let Ok(mut server) = h2::server::handshake(io).await else { return };
    let mut open = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = server.accept().await {
        heads.lock().push(request.headers().clone());
        open.spawn(handle(Exchange { request, respond }));
    }
}

/// HTTP/1.1: the same answer to every head without a body.
async fn plain(mut io: Box<dyn Io>) {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|window| window == b"\r\n\r\n") {
            match tokio::time::timeout(PATIENCE, io.read_buf(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => {}
                _ => return,
            }
        }
        buffer.clear();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello";
        if io.write_all(answer).await.is_err() {
            return;
        }
    }
}
