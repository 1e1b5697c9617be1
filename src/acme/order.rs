//! One order, from the account to the file (RFC 8555 section 7).
//!
//! ```text
//! account (stored, else made) → order → each name: challenge shown → ready → new key, CSR → chain → checked → renamed
//! ```

use super::challenges::{Challenges, Presented};
use super::http::Http;
use super::schedule::{self, Advice};
use super::{Plan, blocking, files};
use crate::fault::Fault;
use crate::telemetry::AcmeOutcome;
use crate::tls::{self, Challenge, KeyType, Resolver, Stored, Wanted};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long an authority may take to look at challenges, and to sign; it is asked again less and less often.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(Duration::from_secs(180));
/// How often an authority is asked when to renew, at most and at least.
const ADVICE: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(86_400));

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the metrics.
    pub(super) outcome: AcmeOutcome,
    /// In words, without secrets.
    pub(super) what: String,
    /// No order before.
    pub(super) retry_after: Option<SystemTime>,
}

impl Failure {
    pub(super) fn new(outcome: AcmeOutcome, what: impl Into<String>) -> Self {
        Self { outcome, what: what.into(), retry_after: None }
    }

    fn ours(what: impl std::fmt::Display) -> Self {
        Self::new(AcmeOutcome::Failed, what.to_string())
    }
}

/// An account as it is stored. The credentials hold its private key.
#[derive(Serialize, Deserialize)]
struct AccountFile {
    contact: Vec<String>,
    credentials: serde_json::Value,
}

/// An order to be carried out.
pub(super) struct Order<'a> {
    pub(super) plan: &'a Plan,
    pub(super) wanted: &'a Wanted,
    /// The certificate that it takes the place of, DER.
    pub(super) replaces: Option<&'a [u8]>,
    pub(super) challenges: &'a Arc<Challenges>,
    pub(super) resolver: &'a Arc<Resolver>,
}

impl Order<'_> {
    /// Carries it out. The certificate is in its place when this returns; until then nothing that serves was touched.
    pub(super) async fn run(&self) -> Result<Stored, Failure> {
        let http = Http::new(&self.plan.settings, &self.plan.base).map_err(Failure::ours)?;
        let pem = match self.issue(&http).await {
            Ok(pem) => pem,
            Err(Fail::Ours(what)) => return Err(Failure::ours(what)),
            Err(Fail::Challenge(what)) => return Err(Failure::new(AcmeOutcome::ChallengeFailed, what)),
            Err(Fail::Acme(error)) => {
                let kind = problem(&error).to_owned();
                if kind == "accountDoesNotExist" {
                    // Another is made with the next attempt.
                    let file = self.plan.settings.account_file(&self.plan.state_dir);
                    let _ = std::fs::rename(&file, file.with_extension("json.unknown"));
                }
                let limited = kind == "rateLimited";
                let outcome = if limited { AcmeOutcome::RateLimited } else { AcmeOutcome::Failed };
                let mend = match kind.as_str() {
                    "externalAccountRequired" => "; write tls.acme.eab with what the authority gave you",
                    "userActionRequired" => "; the authority's terms changed: read and accept them",
                    _ => "",
                };
                let what = format!("{error}{mend}");
                return Err(Failure { outcome, what, retry_after: http.retry_after() });
            }
        };
        let wanted = self.wanted.clone();
        let stored = blocking(move || {
            let aside = files::aside(&wanted.file, &pem)?;
            // By the same reader that the gate uses, before it takes the place of one that serves.
            let checked = tls::check(&aside, &wanted.names, SystemTime::now());
            match checked {
                Ok(stored) => files::settle(&aside, &wanted.file).map(|()| Ok(stored)),
                Err(faults) => {
                    std::fs::remove_file(&aside)?;
                    Ok(Err(faults))
                }
            }
        });
        match stored.await {
            Ok(Ok(stored)) => Ok(stored),
            Ok(Err(faults)) => {
                let faults: Vec<_> = faults.iter().map(|fault| fault.what.as_str()).collect();
                Err(Failure::ours(format!("what the authority issued cannot be used: {}", faults.join("; "))))
            }
            Err(error) => Err(Failure::ours(format!("the certificate cannot be stored: {error}"))),
        }
    }

    /// A private key and its chain, in one PEM text.
    async fn issue(&self, http: &Http) -> Result<String, Fail> {
        let account = account(self.plan, http).await?;
        let names: Vec<_> = self.wanted.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let replaced = self.replaces.map(CertificateDer::from);
        let replaces = replaced.as_ref().and_then(|der| CertificateIdentifier::try_from(der).ok());
        let mut order = match replaces {
            Some(replaces) => match account.new_order(&NewOrder::new(&names).replaces(replaces)).await {
                // An authority that knows no replacing, or not of this one, is asked without.
                Err(Error::Unsupported(_)) => account.new_order(&NewOrder::new(&names)).await?,
                Err(error) if ["alreadyReplaced", "malformed"].contains(&problem(&error)) => {
                    account.new_order(&NewOrder::new(&names)).await?
                }
                other => other?,
            },
            None => account.new_order(&NewOrder::new(&names)).await?,
        };
        let shown = self.show(&mut order).await?;
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(Error::Api(_)) => return Err(Fail::Challenge(reasons(&mut order).await)),
            Err(error) => return Err(error.into()),
        }
        drop(shown);
        let (names, key_type) = (self.wanted.names.clone(), self.plan.settings.key_type);
        let made = tokio::task::spawn_blocking(move || request(&names, key_type)).await;
        let (key, csr) = made.map_err(|error| Fail::Ours(error.to_string()))??;
        order.finalize_csr(&csr).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(format!("{key}{chain}"))
    }

    /// Shows the authority what it asks to see for each name, until what is returned is dropped.
    async fn show(&self, order: &mut instant_acme::Order) -> Result<Vec<Shown>, Fail> {
        let kind = match self.plan.settings.challenge {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Fail::Challenge(format!("{name}: the authorization is {other:?}"))),
            }
            let Some(mut challenge) = authorization.challenge(kind.clone()) else {
                return Err(Fail::Challenge(format!("{name}: the authority does not offer {}", text(&kind))));
            };
            shown.push(self.present(&name, &challenge)?);
            challenge.set_ready().await?;
        }
        Ok(shown)
    }

    fn present(&self, name: &str, challenge: &ChallengeHandle<'_>) -> Result<Shown, Fail> {
        let key = challenge.key_authorization();
        match self.plan.settings.challenge {
            Challenge::Http01 => {
                let presented = self.challenges.present(&challenge.token, key.as_str());
                let presented = presented.map_err(|error| Fail::Ours(format!("{name}: {error}")))?;
                Ok(Shown::Http(presented))
            }
            Challenge::TlsAlpn01 => {
                let mut params = CertificateParams::new([name.to_owned()])?;
                params.distinguished_name = DistinguishedName::new();
                params.custom_extensions = vec![CustomExtension::new_acme_identifier(key.digest().as_ref())];
                let key = KeyPair::generate()?;
                let certificate = params.self_signed(&key)?;
                let shown = tls::certified(certificate.der(), key.serialize_der()).map_err(Fail::from_tls)?;
                self.resolver.challenge(name, Some(shown));
                Ok(Shown::Tls(self.resolver.clone(), name.to_owned()))
            }
        }
    }
}

/// What an authority is shown; withdrawn when dropped.
enum Shown {
    /// The answer to a request.
    Http(#[expect(dead_code, reason = "kept for its end")] Presented),
    /// A certificate.
    Tls(Arc<Resolver>, String),
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::Tls(resolver, name) = self {
            resolver.challenge(name, None);
        }
    }
}

/// Why an order went no further.
enum Fail {
    Acme(Error),
    Challenge(String),
    Ours(String),
}

impl Fail {
    fn from_tls(error: rustls::Error) -> Self {
        Self::Ours(error.to_string())
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Acme(error)
    }
}

impl From<rcgen::Error> for Fail {
    fn from(error: rcgen::Error) -> Self {
        Self::Ours(error.to_string())
    }
}

/// The last part of a problem's type (RFC 8555 section 6.7); empty where the error is none.
fn problem(error: &Error) -> &str {
    let Error::Api(problem) = error else { return "" };
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:")).unwrap_or_default()
}

fn text(kind: &ChallengeType) -> &'static str {
    if *kind == ChallengeType::Http01 { "http-01" } else { "tls-alpn-01" }
}

/// Why the authority does not believe that the names are ours.
async fn reasons(order: &mut instant_acme::Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        for challenge in &authorization.challenges {
            if let Some(problem) = &challenge.error {
                reasons.push(format!("{name}: {problem}"));
            }
        }
    }
    if reasons.is_empty() {
        return "the authority gave the order up without a reason".to_owned();
    }
    reasons.join("; ")
}

/// A new private key, PEM, and the request for a certificate, DER.
fn request(names: &[String], key_type: KeyType) -> Result<(String, Vec<u8>), Fail> {
    let algorithm = match key_type {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    };
    let key = KeyPair::generate_for(algorithm)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), csr.der().to_vec()))
}

/// The account at the authority: the stored one, else a new one, stored before it is used.
async fn account(plan: &Plan, http: &Http) -> Result<Account, Fail> {
    let (settings, file) = (&plan.settings, plan.settings.account_file(&plan.state_dir));
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    if let Some(mut stored) = stored_account(plan).await? {
        let account = open(&stored, http).await?;
        if stored.contact != settings.contact {
            account.update_contacts(&contact).await?;
            stored.contact.clone_from(&settings.contact);
            save(&file, &stored).await?;
        }
        return Ok(account);
    }
    let external = match &settings.eab {
        Some(eab) => {
            let key =
                eab.key(&plan.base).map_err(|fault: Fault| Fail::Ours(fault.under("tls.acme.eab").to_string()))?;
            Some(ExternalAccountKey::new(eab.kid.clone(), &key))
        }
        None => None,
    };
    let new =
        NewAccount { contact: &contact, terms_of_service_agreed: settings.terms_agreed, only_return_existing: false };
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let (account, credentials) = builder.create(&new, settings.directory.clone(), external.as_ref()).await?;
    let credentials = serde_json::to_value(credentials).map_err(Error::from)?;
    save(&file, &AccountFile { contact: settings.contact.clone(), credentials }).await?;
    tracing::info!(account = account.id(), "an account was made at the authority");
    Ok(account)
}

async fn stored_account(plan: &Plan) -> Result<Option<AccountFile>, Fail> {
    let file = plan.settings.account_file(&plan.state_dir);
    let path = file.clone();
    let read = blocking(move || match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    });
    let fault = |what: String| {
        Fail::Ours(format!("the account in {} {what}; restore it, or move it away to have a new one", file.display()))
    };
    match read.await {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(stored) => Ok(Some(stored)),
            // What serde says may repeat what it read.
            Err(_) => Err(fault("is damaged".to_owned())),
        },
        Err(error) => Err(fault(format!("cannot be read: {error}"))),
    }
}

async fn open(stored: &AccountFile, http: &Http) -> Result<Account, Fail> {
    let credentials: AccountCredentials = serde_json::from_value(stored.credentials.clone())
        .map_err(|_| Fail::Ours("the stored account is damaged; move it away to have a new one".to_owned()))?;
    Ok(Account::builder_with_http(Box::new(http.clone())).from_credentials(credentials).await?)
}

async fn save(file: &std::path::Path, account: &AccountFile) -> Result<(), Fail> {
    let (path, text) = (file.to_owned(), serde_json::to_string(account).map_err(Error::from)?);
    let saved = blocking(move || files::write(&path, &text)).await;
    saved.map_err(|error| Fail::Ours(format!("the account cannot be stored in {}: {error}", file.display())))
}

/// Asks the authority when it would have a certificate renewed (RFC 9773). Whatever goes wrong is no advice.
pub(super) async fn advice(plan: &Plan, stored: &Stored) -> Advice {
    let none = |wait| Advice { renew_at: None, ask_again: SystemTime::now() + wait };
    let asked = async {
        let account = match stored_account(plan).await {
            Ok(Some(account)) => account,
            _ => return none(ADVICE.0),
        };
        let der = CertificateDer::from(stored.der.as_slice());
        let Ok(identifier) = CertificateIdentifier::try_from(&der) else { return none(ADVICE.1) };
        let Ok(http) = Http::new(&plan.settings, &plan.base) else { return none(ADVICE.1) };
        let Ok(account) = open(&account, &http).await else { return none(ADVICE.0) };
        match account.renewal_info(&identifier).await {
            Ok((info, wait)) => {
                let seconds = |at: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or(0));
                let window = info.suggested_window;
                let (start, end) = (seconds(window.start.unix_timestamp()), seconds(window.end.unix_timestamp()));
                // A point within the window by chance (section 4.2), but always the same for this certificate.
                let length = end.duration_since(start).unwrap_or_default();
                let at = start + length.mul_f64(schedule::fraction(&stored.der));
                Advice { renew_at: Some(at), ..none(wait.clamp(ADVICE.0, ADVICE.1)) }
            }
            Err(Error::Unsupported(_)) => none(ADVICE.1),
            Err(_) => none(ADVICE.0),
        }
    };
    Box::pin(asked).await
}
