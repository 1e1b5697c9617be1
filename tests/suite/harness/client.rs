//! Clients: HTTP/1 byte by byte over TLS or plain TCP, and HTTP/2.

use super::replica::{field, unchunk};
use super::{PATIENCE, within};
use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Takes any certificate: what is tested is the gate, not a trust store.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client's TLS settings.
pub(crate) fn tls_config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The same, with a certificate of the client's own.
pub(crate) fn tls_config_with(cert_pem: &str, key_pem: &str) -> Arc<ClientConfig> {
    let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A TLS 1.3 connection.
pub(crate) async fn tls_stream(address: SocketAddr, alpn: &str) -> TlsStream<TcpStream> {
    let config = tls_config(&[&rustls::version::TLS13], &[alpn]);
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within("the handshake", TlsConnector::from(config).connect(name, stream)).await.unwrap()
}

/// A response.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// An HTTP/1 connection.
pub(crate) struct H1 {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl H1 {
    pub(crate) async fn tls(address: SocketAddr) -> Self {
        Self { stream: Box::new(tls_stream(address, "http/1.1").await), buffer: Vec::new() }
    }

    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self { stream: Box::new(TcpStream::connect(address).await.unwrap()), buffer: Vec::new() }
    }

    /// Over a connection made elsewhere.
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// A TLS connection, `None` if there is none to be had.
    pub(crate) async fn try_tls(address: SocketAddr) -> Option<Self> {
        let connect = async {
            let stream = TcpStream::connect(address).await.ok()?;
            let config = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
            let name = ServerName::try_from("localhost").ok()?;
            let stream = TlsConnector::from(config).connect(name, stream).await.ok()?;
            Some(Self { stream: Box::new(stream), buffer: Vec::new() })
        };
        tokio::time::timeout(PATIENCE, connect).await.ok()?
    }

    /// Sends bytes and reads one response; `None` if there is none.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> Option<Reply> {
        let exchange = async {
            self.write(bytes).await.ok()?;
            self.read(false).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.ok()?
    }

    /// Bytes up to where `find` says; `None` if the connection ends, or nothing comes for a long time.
    pub(crate) async fn try_read(&mut self, find: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.buffer) {
                return Some(self.buffer.drain(..end).collect());
            }
            tokio::time::timeout(PATIENCE, self.more()).await.ok()??;
        }
    }

    /// One GET on a connection of its own, `None` if nobody answers.
    pub(crate) async fn try_get(address: SocketAddr, target: &str) -> Option<Reply> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut h1 = Self { stream: Box::new(stream), buffer: Vec::new() };
        h1.write(format!("GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .ok()?;
        h1.read(false).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends bytes as they are and reads one response.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        // A gate that refuses early may close before it has read everything.
        let _ = self.write(bytes.as_ref()).await;
        self.reply().await
    }

    /// A GET with the fields a client always sends, and `fields`.
    pub(crate) async fn get(&mut self, target: &str, fields: &str) -> Reply {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n{fields}\r\n"
        ))
        .await
    }

    /// A POST with a length.
    pub(crate) async fn post(&mut self, target: &str, kind: &str, body: &[u8]) -> Reply {
        let mut bytes = format!(
            "POST {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes).await
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        within("a response", self.read(false)).await.expect("the connection ended without a response")
    }

    pub(crate) async fn reply_to_head(&mut self) -> Reply {
        within("a response", self.read(true)).await.expect("the connection ended without a response")
    }

    /// A response behind any interim ones.
    pub(crate) async fn final_reply(&mut self) -> Reply {
        loop {
            let reply = self.reply().await;
            if !(100..200).contains(&reply.status) {
                return reply;
            }
        }
    }

    /// Whether the gate ends the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = async { while self.stream.read_buf(&mut rest).await.is_ok_and(|n| n > 0) {} };
        within("the end of the connection", read).await;
        true
    }

    /// Raw bytes until `end` is seen.
    pub(crate) async fn read_past(&mut self, end: &[u8]) -> Vec<u8> {
        let read = async {
            loop {
                if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                    return self.buffer.drain(..at + end.len()).collect();
                }
                if self.more().await.is_none() {
                    panic!("the connection ended; so far: {}", String::from_utf8_lossy(&self.buffer));
                }
            }
        };
        within("bytes", read).await
    }

    async fn more(&mut self) -> Option<()> {
        self.stream.read_buf(&mut self.buffer).await.ok().filter(|n| *n > 0).map(|_| ())
    }

    async fn read(&mut self, is_head: bool) -> Option<Reply> {
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                self.more().await?;
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end);
            let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
            if status == 100 {
                continue;
            }
            let bodiless = is_head || (100..200).contains(&status) || status == 204 || status == 304;
            let body = if bodiless {
                Vec::new()
            } else if field(&head, "transfer-encoding").is_some() {
                loop {
                    if let Some(at) = self.buffer.windows(5).position(|window| window == b"0\r\n\r\n") {
                        let raw: Vec<u8> = self.buffer.drain(..at + 5).collect();
                        break unchunk(&raw);
                    }
                    self.more().await?;
                }
            } else if let Some(length) = field(&head, "content-length") {
                let length: usize = length.parse().ok()?;
                while self.buffer.len() < length {
                    self.more().await?;
                }
                self.buffer.drain(..length).collect()
            } else {
                while self.more().await.is_some() {}
                std::mem::take(&mut self.buffer)
            };
            return Some(Reply { status, head, body });
        }
    }
}

/// One HTTP/2 request on a connection of its own; `pieces` are its body, without a length unless `fields` names one.
pub(crate) async fn h2_request(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    pieces: Vec<Bytes>,
) -> Reply {
    let exchange = async {
        let (mut client, connection) = h2::client::handshake(tls_stream(address, "h2").await).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(format!("https://gate.test{target}"));
        for (name, value) in [("user-agent", "suite"), ("accept", "*/*")].iter().chain(fields) {
            request = request.header(*name, *value);
        }
        let (response, mut body) = client.send_request(request.body(()).unwrap(), pieces.is_empty()).unwrap();
        // A body that is announced longer than it is never ends.
        let whole: usize = pieces.iter().map(Bytes::len).sum();
        let announced = fields.iter().find(|(name, _)| *name == "content-length").map(|(_, value)| *value);
        let ends = announced.is_none_or(|length| length == whole.to_string());
        let send = async move {
            let last = pieces.len();
            for (i, piece) in pieces.into_iter().enumerate() {
                let mut rest = piece;
                while !rest.is_empty() {
                    body.reserve_capacity(rest.len());
                    let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                    let now = rest.split_to(room.min(rest.len()));
                    let end = ends && i + 1 == last && rest.is_empty();
                    if body.send_data(now, end).is_err() {
                        return;
                    }
                }
            }
            if !ends {
                std::future::pending::<()>().await;
            }
        };
        // A gate that refuses early stops taking the body: the answer counts.
        let sending = tokio::spawn(send);
        let response = response.await.unwrap();
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(Ok(piece)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(piece.len());
            body.extend_from_slice(&piece);
        }
        sending.abort();
        driver.abort();
        let mut head = format!("HTTP/2 {} \r\n", parts.status.as_u16());
        for (name, value) in &parts.headers {
            head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
        }
        Reply { status: parts.status.as_u16(), head, body }
    };
    within("an HTTP/2 response", exchange).await
}
