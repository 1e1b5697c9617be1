//! The new process's side. Blocking: before anything else runs.

use super::state::{MAX_STATE, State};
use super::wire::Channel;
use super::{Inherited, Message, Role, Sockets, VARIABLE, VERSION};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The offer is sent right after the start.
const OFFER: Duration = Duration::from_secs(15);
/// From "ready" to the state: the old process gathers it.
const STATE: Duration = Duration::from_secs(60);
const SEND: Duration = Duration::from_secs(5);

/// The process that hands over.
#[derive(Debug)]
pub struct Predecessor(Channel);

/// The predecessor and its sockets, if this process was started by one.
///
/// # Errors
/// What stands at the standard input does not hand over, or in another version.
pub fn predecessor() -> io::Result<Option<(Predecessor, Sockets)>> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Its place is taken, so that the socket ends with the exchange.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    take_offer(Channel::new(stream)).map(Some)
}

pub(super) fn take_offer(channel: Channel) -> io::Result<(Predecessor, Sockets)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (message, descriptors) = channel.receive(Instant::now() + OFFER)?;
    let predecessor = Predecessor(channel);
    let refuse = |what: &str| {
        predecessor.failed(what);
        invalid(what)
    };
    let Message::Offer { version, sockets: labels } = message else { return Err(refuse("no offer came")) };
    if version != VERSION {
        return Err(refuse(&format!("it speaks version {version} of the hand-over, not {VERSION}; restart instead")));
    }
    if labels.len() != descriptors.len() {
        return Err(refuse("not every socket of the offer arrived"));
    }
    let mut sockets = Sockets::default();
    for (label, socket) in labels.into_iter().zip(descriptors) {
        let name = match (label.role, label.address) {
            (Role::Control, _) => "the control socket".to_owned(),
            (_, Some(address)) => address.to_string(),
            (_, None) => "a socket without an address".to_owned(),
        };
        sockets.add(Inherited { role: Some(label.role), address: label.address, name, socket });
    }
    Ok((predecessor, sockets))
}

impl Predecessor {
    /// Says that everything is built, and waits for the state.
    ///
    /// # Errors
    /// The old process went away, or broke off the hand-over.
    pub fn ready(&self) -> io::Result<(State, Vec<String>)> {
        self.0.send(&Message::Ready, &[], Instant::now() + SEND)?;
        let until = Instant::now() + STATE;
        let (message, _) = self.0.receive(until)?;
        let Message::State { bytes } = message else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no state came"));
        };
        let length = usize::try_from(bytes).ok().filter(|length| *length <= MAX_STATE + 1024);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "too much state"))?;
        Ok(State::decode(&self.0.read(length, until)?))
    }

    /// Says that connections are accepted: the old process stops accepting.
    ///
    /// # Errors
    /// The old process went away. It then no longer serves, so there is nothing to go back to.
    pub fn serving(&self) -> io::Result<()> {
        self.0.send(&Message::Serving, &[], Instant::now() + SEND)
    }

    /// Says what is wrong: the old process goes on.
    pub fn failed(&self, why: &str) {
        // Long enough for every fault; an old process that is gone needs no reason.
        let why: String = why.chars().take(100_000).collect();
        let _ = self.0.send(&Message::Failed { why }, &[], Instant::now() + SEND);
    }
}
