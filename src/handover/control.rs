//! The control socket: how `gatehouse upgrade` asks a running gate for a hand-over.
//!
//! `control.sock` in the state directory, for the gate's own user and root alone: the socket's mode is 0600, and the
//! kernel's word on who connects is checked besides. One request and one answer a connection, each a line of JSON of at
//! most [`MAX_LINE`] bytes; [`MAX_OPEN`] connections at a time.

use serde::{Deserialize, Serialize};
use std::fs::Permissions;
use std::future::Future;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

/// The longest line.
const MAX_LINE: u64 = 1 << 20;
/// Connections at a time.
const MAX_OPEN: usize = 8;
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The configuration the new process is to run on.
    pub config: PathBuf,
    /// The program to start; `None`: the one that runs, as it now is on disk.
    pub binary: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The new process serves; the one that answers drains.
    Done {
        /// Of the new process.
        pid: u32,
        /// Of the old one.
        old: u32,
    },
    /// Nothing has changed.
    Failed {
        /// Why.
        why: String,
    },
}

/// Where the control socket of a gate stands.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Opens the control socket, in place of one that a dead process left.
///
/// # Errors
/// Another gate answers there, or the system's.
pub fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    let path = path(state_dir);
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(state_dir)?;
    if UnixStream::connect(&path).is_ok() {
        let what = format!("another gate uses the state directory {}", state_dir.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    }
    // Made beside and moved into place, so that it never stands there with another mode.
    let fresh = state_dir.join(format!("control.{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&fresh, &path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&fresh);
        })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers requests for ever; `act` is asked for each, and what it gives beside the answer is kept until that is sent.
///
/// # Errors
/// The socket cannot be waited on.
pub async fn serve<F, G>(listener: UnixListener, act: impl Fn(Request) -> F + Send + Sync + 'static) -> io::Result<()>
where
    F: Future<Output = (Reply, G)> + Send + 'static,
    G: Send + 'static,
{
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (act, places) = (Arc::new(act), Arc::new(Semaphore::new(MAX_OPEN)));
    loop {
        // Never closed; were it, nothing would be accepted.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let act = act.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &*act).await {
                tracing::warn!(%error, "a request on the control socket was not answered");
            }
            drop(place);
        });
    }
}

async fn answer<G, F: Future<Output = (Reply, G)>>(
    mut stream: tokio::net::UnixStream,
    act: &(impl Fn(Request) -> F + Sync),
) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {user} may not ask")));
    }
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(read).take(MAX_LINE);
    tokio::time::timeout(REQUEST_TIME, reader.read_until(b'\n', &mut line)).await??;
    let (reply, _until_sent) = act(serde_json::from_slice(&line)?).await;
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Asks the gate with this state directory, and waits for what came of it for at most `patience`.
///
/// # Errors
/// No gate answers there, or it gave no answer.
pub fn ask(state_dir: &Path, request: &Request, patience: Duration) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(path(state_dir))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
