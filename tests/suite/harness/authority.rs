//! An ACME authority (RFC 8555) that believes nothing: it checks signatures, nonces and URLs, fetches HTTP-01 from the gate,
//! shakes hands with it for TLS-ALPN-01 (RFC 8737), and fails as it is told.

use super::client::tls_config;
use super::replica::field;
use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateSigningRequestDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How the authority behaves from now on.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// So many signed requests are told that their nonce is bad.
    pub(crate) bad_nonces: usize,
    /// So many requests are answered 500, with a page.
    pub(crate) broken: usize,
    /// New orders are refused, with this Retry-After in seconds.
    pub(crate) limited: Option<u64>,
    /// Challenges fail without a look.
    pub(crate) disbelieves: bool,
    /// Every answer comes this much later.
    pub(crate) slow: Duration,
    /// The account elsewhere that it asks for.
    pub(crate) external: Option<(String, Vec<u8>)>,
    /// What it issues is valid from this long ago, for this long from now.
    pub(crate) lifetime: (Duration, Duration),
    /// It issues for this name alone, whatever was ordered.
    pub(crate) issues_for: Option<&'static str>,
    /// When certificates are to be renewed, in seconds from now (RFC 9773).
    pub(crate) advises: Option<(i64, i64)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self {
            bad_nonces: 0,
            broken: 0,
            limited: None,
            disbelieves: false,
            slow: Duration::ZERO,
            external: None,
            lifetime: (day, 89 * day),
            issues_for: None,
            advises: None,
        }
    }
}

struct Account {
    x: String,
    y: String,
    contact: Value,
}

struct Authorization {
    name: String,
    token: String,
    status: &'static str,
    error: Option<Value>,
}

struct Order {
    account: usize,
    authorizations: Vec<Authorization>,
    status: &'static str,
    replaces: Option<String>,
    chain: String,
}

/// A running authority; stops when dropped.
pub(crate) struct Authority {
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    base: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    behaviour: Mutex<Behaviour>,
    nonces: Mutex<HashSet<String>>,
    accounts: Mutex<Vec<Account>>,
    orders: Mutex<Vec<Order>>,
    requests: Mutex<Vec<String>>,
    /// Where ports 80 and 443 of every name are; validation waits until it is known.
    names: watch::Sender<Option<(SocketAddr, SocketAddr)>>,
}

/// A refusal: status, the last part of the problem's type, detail.
type Problem = (u16, &'static str, String);

impl Authority {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Suite authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let state = Arc::new(State {
            base: format!("https://{}", listener.local_addr().unwrap()),
            issuer,
            behaviour: Mutex::new(behaviour),
            nonces: Mutex::default(),
            accounts: Mutex::default(),
            orders: Mutex::default(),
            requests: Mutex::default(),
            names: watch::channel(None).0,
        });
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), state.clone()));
        Self { state, task }
    }

    /// `[tls.acme]` for it, with its certificate to be written to `ca.pem`.
    pub(crate) fn settings(&self, names: &str, more: &str) -> String {
        format!(
            "[tls.acme]\nnames = {names}\ndirectory = \"{}/directory\"\nterms_agreed = true\nca = \"ca.pem\"\n{more}\n",
            self.state.base
        )
    }

    /// The certificate of what it issues, PEM.
    pub(crate) fn ca(&self) -> String {
        self.state.issuer.pem()
    }

    /// From now on every name's ports 80 and 443 are here.
    pub(crate) fn resolve(&self, http: SocketAddr, tls: SocketAddr) {
        self.state.names.send_replace(Some((http, tls)));
    }

    /// From now on it waits with its look until it knows where the names are.
    pub(crate) fn hold(&self) {
        self.state.names.send_replace(None);
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock());
    }

    /// How many orders were taken.
    pub(crate) fn orders(&self) -> usize {
        self.state.orders.lock().len()
    }

    /// The names of an order, and the certificate that it said it replaces.
    pub(crate) fn order(&self, index: usize) -> (Vec<String>, Option<String>) {
        let orders = self.state.orders.lock();
        let names = orders[index].authorizations.iter().map(|authorization| authorization.name.clone());
        (names.collect(), orders[index].replaces.clone())
    }

    /// The contacts of each account.
    pub(crate) fn accounts(&self) -> Vec<Value> {
        self.state.accounts.lock().iter().map(|account| account.contact.clone()).collect()
    }

    /// Every request so far: method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().clone()
    }

    /// Forgets every account, as a test instance does when it starts anew.
    pub(crate) fn forget_accounts(&self) {
        for account in self.state.accounts.lock().iter_mut() {
            account.x.clear();
        }
    }

    /// Whether a certificate, DER, was issued here.
    pub(crate) fn issued(&self, der: &[u8]) -> bool {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        let issuer = self.state.issuer.der();
        let (_, issuer) = X509Certificate::from_der(issuer).unwrap();
        certificate.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    // Dropping the set ends every connection with the authority.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, state) = (acceptor.clone(), state.clone());
        open.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request| answer(state.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "a test's own peer")]
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path().to_owned();
    state.requests.lock().push(format!("{} {path}", parts.method));
    let slow = state.behaviour.lock().slow;
    tokio::time::sleep(slow).await;
    let nonce = format!("{:032x}", rand::random::<u128>());
    state.nonces.lock().insert(nonce.clone());
    let mut response = Response::builder().header("replay-nonce", nonce).header("cache-control", "no-store");
    let broken = {
        let mut behaviour = state.behaviour.lock();
        let broken = behaviour.broken > 0;
        behaviour.broken -= usize::from(broken);
        broken
    };
    if broken {
        let page = response.status(500).header("content-type", "text/html").body(Full::from("<h1>Oops</h1>"));
        return Ok(page.unwrap());
    }
    let answered = match (&parts.method, path.as_str()) {
        (&Method::GET, "/directory") => Ok((200, String::new(), state.directory())),
        (&Method::HEAD | &Method::GET, "/nonce") => Ok((200, String::new(), Value::Null)),
        (&Method::GET, path) if path.starts_with("/renewal/") => {
            response = response.header("retry-after", "21600");
            state.advice()
        }
        (&Method::POST, path) => {
            let jose = parts.headers.get("content-type").is_some_and(|kind| kind == "application/jose+json");
            if jose { state.post(path, &body) } else { Err((415, "malformed", "not application/jose+json".to_owned())) }
        }
        _ => Err((404, "malformed", "no such resource".to_owned())),
    };
    Ok(match answered {
        Ok((status, location, Value::String(chain))) => {
            let response = response.status(status).header("location", location);
            response.header("content-type", "application/pem-certificate-chain").body(Full::from(chain)).unwrap()
        }
        Ok((status, location, value)) => {
            let response = response.status(status).header("location", location);
            response.header("content-type", "application/json").body(Full::from(value.to_string())).unwrap()
        }
        Err((status, kind, detail)) => {
            if let (Some(after), "rateLimited") = (state.behaviour.lock().limited, kind) {
                response = response.header("retry-after", after.to_string());
            }
            let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
            let response = response.status(status).header("content-type", "application/problem+json");
            response.body(Full::from(problem.to_string())).unwrap()
        }
    })
}

impl State {
    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let mut directory = json!({
            "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
            "meta": { "termsOfService": at("terms"), "externalAccountRequired": self.behaviour.lock().external.is_some() },
        });
        if self.behaviour.lock().advises.is_some() {
            directory["renewalInfo"] = json!(at("renewal"));
        }
        directory
    }

    fn advice(&self) -> Result<(u16, String, Value), Problem> {
        let Some((start, end)) = self.behaviour.lock().advises else {
            return Err((404, "malformed", "no advice".to_owned()));
        };
        let at = |seconds: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
        let window = json!({ "suggestedWindow": { "start": at(start), "end": at(end) } });
        Ok((200, String::new(), window))
    }

    /// A signed request (RFC 8555 section 6).
    fn post(self: &Arc<Self>, path: &str, body: &[u8]) -> Result<(u16, String, Value), Problem> {
        let malformed = |what: &str| (400, "malformed", what.to_owned());
        let jws: Value = serde_json::from_slice(body).map_err(|_| malformed("no JSON"))?;
        let header = decoded(&jws["protected"])?;
        if header["url"] != format!("{}{path}", self.base) {
            return Err((401, "unauthorized", format!("signed for {}", header["url"])));
        }
        if header["alg"] != "ES256" {
            return Err((400, "badSignatureAlgorithm", header["alg"].to_string()));
        }
        let fresh = self.nonces.lock().remove(header["nonce"].as_str().unwrap_or_default());
        {
            let mut behaviour = self.behaviour.lock();
            if !fresh || behaviour.bad_nonces > 0 {
                behaviour.bad_nonces = behaviour.bad_nonces.saturating_sub(1);
                return Err((400, "badNonce", "not one of ours, or used".to_owned()));
            }
        }
        let account = match (&header["kid"], &header["jwk"]) {
            (Value::String(kid), Value::Null) => {
                let index = kid.strip_prefix(&format!("{}/account/", self.base)).and_then(|n| n.parse::<usize>().ok());
                let accounts = self.accounts.lock();
                let account = index.and_then(|index| accounts.get(index)).filter(|account| !account.x.is_empty());
                let account = account.ok_or((400, "accountDoesNotExist", kid.clone()))?;
                verify(&jws, &account.x, &account.y)?;
                index
            }
            (Value::Null, jwk) if jwk["kty"] == "EC" && jwk["crv"] == "P-256" && path == "/account" => {
                verify(&jws, jwk["x"].as_str().unwrap_or_default(), jwk["y"].as_str().unwrap_or_default())?;
                None
            }
            _ => return Err(malformed("neither kid nor jwk, or both")),
        };
        // Empty for POST-as-GET.
        let payload = if jws["payload"] == "" { Value::Null } else { decoded(&jws["payload"])? };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok()).unwrap_or(usize::MAX);
        match (parts.as_slice(), account) {
            (["account"], None) => self.new_account(&header["jwk"], &payload),
            (["account", _], Some(account)) if account == number(1) => {
                self.accounts.lock()[account].contact = payload["contact"].clone();
                Ok((200, String::new(), json!({ "status": "valid" })))
            }
            (["order"], Some(account)) => self.new_order(account, &payload),
            (_, Some(account)) => {
                let index = number(1);
                if self.orders.lock().get(index).is_none_or(|order| order.account != account) {
                    return Err((403, "unauthorized", "another account's".to_owned()));
                }
                match parts.as_slice() {
                    ["order", _] => {}
                    ["order", _, "finalize"] => self.finalize(index, &payload)?,
                    ["authz", ..] => return Ok((200, String::new(), self.authorization(index, number(2)))),
                    ["challenge", _, _, kind] => return self.challenge(index, number(2), kind),
                    ["certificate", _] => {
                        return Ok((200, String::new(), Value::String(self.orders.lock()[index].chain.clone())));
                    }
                    _ => return Err((404, "malformed", "no such resource".to_owned())),
                }
                Ok((200, String::new(), self.order(index)))
            }
            _ => Err(malformed("not signed by an account")),
        }
    }

    fn new_account(&self, jwk: &Value, payload: &Value) -> Result<(u16, String, Value), Problem> {
        if payload["termsOfServiceAgreed"] != true {
            return Err((403, "userActionRequired", "the terms".to_owned()));
        }
        if let Some((kid, key)) = &self.behaviour.lock().external {
            let binding = &payload["externalAccountBinding"];
            if binding.is_null() {
                return Err((403, "externalAccountRequired", "no binding".to_owned()));
            }
            let header = decoded(&binding["protected"])?;
            let text = |name: &str| binding[name].as_str().unwrap_or_default();
            let signed = format!("{}.{}", text("protected"), text("payload"));
            let tag = BASE64.decode(text("signature")).unwrap_or_default();
            let good = header["alg"] == "HS256"
                && header["kid"] == kid.as_str()
                && header["url"] == format!("{}/account", self.base)
                && decoded(&binding["payload"])? == *jwk
                && hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes(), &tag).is_ok();
            if !good {
                return Err((403, "unauthorized", "the binding is not by our key".to_owned()));
            }
        }
        let mut accounts = self.accounts.lock();
        let text = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
        accounts.push(Account { x: text("x"), y: text("y"), contact: payload["contact"].clone() });
        let location = format!("{}/account/{}", self.base, accounts.len() - 1);
        Ok((201, location, json!({ "status": "valid" })))
    }

    fn new_order(&self, account: usize, payload: &Value) -> Result<(u16, String, Value), Problem> {
        if self.behaviour.lock().limited.is_some() {
            return Err((429, "rateLimited", "too many orders".to_owned()));
        }
        let names = payload["identifiers"].as_array().cloned().unwrap_or_default();
        if names.is_empty() || names.iter().any(|name| name["type"] != "dns") {
            return Err((400, "malformed", "no names".to_owned()));
        }
        let authorizations = names.iter().map(|name| Authorization {
            name: name["value"].as_str().unwrap_or_default().to_owned(),
            token: BASE64.encode(rand::random::<[u8; 32]>()),
            status: "pending",
            error: None,
        });
        let order = Order {
            account,
            authorizations: authorizations.collect(),
            status: "pending",
            replaces: payload["replaces"].as_str().map(str::to_owned),
            chain: String::new(),
        };
        let index = {
            let mut orders = self.orders.lock();
            orders.push(order);
            orders.len() - 1
        };
        Ok((201, format!("{}/order/{index}", self.base), self.order(index)))
    }

    fn order(&self, index: usize) -> Value {
        let orders = self.orders.lock();
        let order = &orders[index];
        let at = |what: &str| format!("{}/{what}/{index}", self.base);
        let authorizations: Vec<_> =
            (0..order.authorizations.len()).map(|number| format!("{}/{number}", at("authz"))).collect();
        let names: Vec<_> =
            order.authorizations.iter().map(|name| json!({ "type": "dns", "value": name.name })).collect();
        let mut value = json!({
            "status": order.status, "identifiers": names, "authorizations": authorizations,
            "finalize": format!("{}/finalize", at("order")),
        });
        if order.status == "valid" {
            value["certificate"] = json!(at("certificate"));
        }
        if let Some(replaces) = &order.replaces {
            value["replaces"] = json!(replaces);
        }
        value
    }

    fn authorization(&self, index: usize, number: usize) -> Value {
        let orders = self.orders.lock();
        let authorization = &orders[index].authorizations[number];
        let challenge = |kind: &str| {
            let mut challenge = json!({
                "type": kind, "url": format!("{}/challenge/{index}/{number}/{kind}", self.base),
                "status": authorization.status, "token": authorization.token,
            });
            if let Some(error) = &authorization.error {
                challenge["error"] = error.clone();
            }
            challenge
        };
        let challenges = ["http-01", "tls-alpn-01"].map(challenge);
        json!({
            "identifier": { "type": "dns", "value": authorization.name },
            "status": authorization.status, "challenges": challenges,
        })
    }

    fn challenge(self: &Arc<Self>, index: usize, number: usize, kind: &str) -> Result<(u16, String, Value), Problem> {
        let state = self.clone();
        let tls = kind == "tls-alpn-01";
        tokio::spawn(async move {
            let judged = state.validate(index, number, tls).await;
            let mut orders = state.orders.lock();
            let order = &mut orders[index];
            match judged {
                Ok(()) => order.authorizations[number].status = "valid",
                Err(what) => {
                    order.authorizations[number].status = "invalid";
                    let kind = "urn:ietf:params:acme:error:unauthorized";
                    order.authorizations[number].error = Some(json!({ "type": kind, "detail": what }));
                    order.status = "invalid";
                }
            }
            if order.authorizations.iter().all(|authorization| authorization.status == "valid") {
                order.status = "ready";
            }
        });
        let authorization = self.authorization(index, number);
        Ok((200, String::new(), authorization["challenges"][usize::from(tls)].clone()))
    }

    async fn validate(&self, index: usize, number: usize, tls: bool) -> Result<(), String> {
        let mut names = self.names.subscribe();
        let (http_address, tls_address) = names.wait_for(Option::is_some).await.unwrap().unwrap();
        if self.behaviour.lock().disbelieves {
            return Err("we do not believe it".to_owned());
        }
        let (name, token, thumbprint) = {
            let orders = self.orders.lock();
            let (order, accounts) = (&orders[index], self.accounts.lock());
            let account = &accounts[order.account];
            // RFC 7638: these members, in this order, without space.
            let jwk = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}", account.x, account.y);
            let authorization = &order.authorizations[number];
            (authorization.name.clone(), authorization.token.clone(), BASE64.encode(Sha256::digest(jwk)))
        };
        let expected = format!("{token}.{thumbprint}");
        if tls {
            return handshake(tls_address, &name, &Sha256::digest(expected)).await;
        }
        let path = format!("/.well-known/acme-challenge/{token}");
        let fetched = fetch(http_address, &name, &path).await.map_err(|error| error.to_string())?;
        if fetched == (200, expected.into_bytes()) { Ok(()) } else { Err(format!("{path} gave {fetched:?}")) }
    }

    fn finalize(&self, index: usize, payload: &Value) -> Result<(), Problem> {
        let bad = |what: String| (400, "badCSR", what);
        let csr = BASE64.decode(payload["csr"].as_str().unwrap_or_default()).map_err(|e| bad(e.to_string()))?;
        let mut csr = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|error| bad(error.to_string()))?;
        let mut orders = self.orders.lock();
        let order = &mut orders[index];
        if order.status != "ready" {
            return Err((403, "orderNotReady", order.status.to_owned()));
        }
        let mut ordered: Vec<_> = order.authorizations.iter().map(|name| name.name.clone()).collect();
        let names = csr.params.subject_alt_names.iter().map(|name| match name {
            rcgen::SanType::DnsName(name) => name.as_str().to_owned(),
            other => format!("{other:?}"),
        });
        let mut names: Vec<_> = names.collect();
        ordered.sort();
        names.sort();
        if names != ordered || csr.params.distinguished_name != rcgen::DistinguishedName::new() {
            return Err(bad(format!("{names:?} instead of {ordered:?}")));
        }
        let behaviour = self.behaviour.lock().clone();
        if let Some(name) = behaviour.issues_for {
            csr.params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = |since: Duration| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
        csr.params.not_before = at(now - behaviour.lifetime.0);
        csr.params.not_after = at(now + behaviour.lifetime.1);
        csr.params.use_authority_key_identifier_extension = true;
        csr.params.serial_number = Some(rand::random::<u64>().into());
        let certificate = csr.signed_by(&self.issuer).map_err(|error| bad(error.to_string()))?;
        order.chain = certificate.pem() + &self.issuer.pem();
        order.status = "valid";
        Ok(())
    }
}

fn decoded(value: &Value) -> Result<Value, Problem> {
    let bytes = BASE64.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|error| (400, "malformed", error.to_string()))
}

fn verify(jws: &Value, x: &str, y: &str) -> Result<(), Problem> {
    let text = |name: &str| jws[name].as_str().unwrap_or_default();
    let point = [&[4][..], &BASE64.decode(x).unwrap_or_default(), &BASE64.decode(y).unwrap_or_default()].concat();
    let signed = format!("{}.{}", text("protected"), text("payload"));
    let tag = BASE64.decode(text("signature")).unwrap_or_default();
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &tag)
        .map_err(|_| (403, "unauthorized", "the signature is not by this key".to_owned()))
}

/// RFC 8555 section 8.3.
async fn fetch(address: SocketAddr, host: &str, path: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: authority\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok((status, bytes[end..].iter().copied().take(length).collect()))
}

/// RFC 8737 section 3: this protocol alone, a certificate for exactly the name with the digest in a critical extension, and
/// nothing after the handshake.
async fn handshake(address: SocketAddr, name: &str, digest: &[u8]) -> Result<(), String> {
    let config = tls_config(&[&rustls::version::TLS12, &rustls::version::TLS13], &["acme-tls/1"]);
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let mut stream =
        TlsConnector::from(config).connect(server, stream).await.map_err(|error| format!("handshake: {error}"))?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("another protocol was chosen".to_owned());
    }
    let der = session.peer_certificates().unwrap()[0].to_vec();
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    if names.is_none_or(|names| !matches!(names.as_slice(), [GeneralName::DNSName(only)] if *only == name)) {
        return Err(format!("the certificate is for {names:?}"));
    }
    let identifier = certificate.extensions().iter().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let identifier = identifier.ok_or("no acmeIdentifier")?;
    if !identifier.critical || identifier.value != [&[4, 32][..], digest].concat() {
        return Err(format!("acmeIdentifier is {:?}", identifier.value));
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    if rest.is_empty() { Ok(()) } else { Err("there was data after the handshake".to_owned()) }
}
