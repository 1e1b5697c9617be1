//! What an authority fetches to see that a name is ours (HTTP-01, RFC 8555 section 8.3).
//!
//! Whoever shares the state directory may be the one that the authority's request reaches, so an answer is a file there as
//! well. A token that is not in memory costs one attempt to open a file, a few at a time.

use super::files;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Where an authority looks.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// Longest token, in bytes; the public authorities' have 43.
const MAX_TOKEN: usize = 128;
/// Longest key authorization that is read from a file, in bytes.
const MAX_ANSWER: u64 = 1024;
/// Files opened at once for tokens that are not in memory.
const READS: usize = 4;

/// Answers to the challenges of orders that are under way.
pub struct Challenges {
    answers: RwLock<HashMap<String, String>>,
    /// Where processes share theirs; none: this gate answers no challenge.
    shared: Mutex<Option<PathBuf>>,
    reads: Semaphore,
}

impl Default for Challenges {
    fn default() -> Self {
        Self { answers: RwLock::default(), shared: Mutex::default(), reads: Semaphore::new(READS) }
    }
}

impl Challenges {
    /// Whether requests below [`PATH`] are the gate's own to answer.
    pub fn on(&self) -> bool {
        self.shared.lock().is_some()
    }

    /// The key authorization for a token, if an order is under way that has it.
    pub async fn answer(&self, token: &[u8]) -> Option<String> {
        let token = std::str::from_utf8(token).ok().filter(|token| is_token(token))?;
        if let Some(answer) = self.answers.read().get(token) {
            return Some(answer.clone());
        }
        let file = self.shared.lock().as_ref()?.join(token);
        let _permit = self.reads.acquire().await.ok()?;
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            std::fs::File::open(file)?.take(MAX_ANSWER).read_to_string(&mut text)?;
            io::Result::Ok(text)
        });
        read.await.ok()?.ok()
    }

    /// Where answers are shared from now on; `None`: nothing is answered.
    pub(super) fn share(&self, folder: Option<PathBuf>) {
        *self.shared.lock() = folder;
    }

    /// Answers for `token` until what is returned is dropped.
    ///
    /// # Errors
    /// A token that is none (RFC 8555 section 8.3 allows base64url alone), or a file that cannot be written.
    pub(super) fn present(self: &Arc<Self>, token: &str, answer: &str) -> io::Result<Presented> {
        if !is_token(token) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the authority sent a token that is none"));
        }
        let file = self.shared.lock().as_ref().map(|folder| folder.join(token));
        if let Some(file) = &file {
            files::write(file, answer)?;
        }
        self.answers.write().insert(token.to_owned(), answer.to_owned());
        Ok(Presented { challenges: self.clone(), token: token.to_owned(), file })
    }
}

/// One answer; withdrawn when dropped.
pub(super) struct Presented {
    challenges: Arc<Challenges>,
    token: String,
    file: Option<PathBuf>,
}

impl Drop for Presented {
    fn drop(&mut self) {
        self.challenges.answers.write().remove(&self.token);
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Whether a text can be a token; such a text is a safe file name, too.
fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_lives_as_long_as_its_order_and_reaches_other_processes() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Arc::new(Challenges::default()), Challenges::default());
        assert!(!one.on());
        for challenges in [&*one, &other] {
            challenges.share(Some(dir.path().to_owned()));
        }
        assert!(one.on());
        let presented = one.present("tok-en_1", "tok-en_1.thumb").unwrap();
        assert_eq!(one.answer(b"tok-en_1").await.as_deref(), Some("tok-en_1.thumb"));
        assert_eq!(other.answer(b"tok-en_1").await.as_deref(), Some("tok-en_1.thumb"));
        drop(presented);
        assert_eq!((one.answer(b"tok-en_1").await, other.answer(b"tok-en_1").await), (None, None));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn no_text_but_a_token_reaches_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let challenges = Arc::new(Challenges::default());
        let folder = dir.path().join("challenges");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        challenges.share(Some(folder));
        let long = "a".repeat(MAX_TOKEN + 1);
        for token in ["", ".", "..", "../secret", "..%2fsecret", "/etc/hostname", "a?b", "a\0", &long] {
            assert_eq!(challenges.answer(token.as_bytes()).await, None, "{token:?}");
            assert!(challenges.present(token, "x").is_err(), "{token:?}");
        }
        assert_eq!(challenges.answer(b"\xff").await, None);
    }
}
