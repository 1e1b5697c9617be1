//! Hand-over: a new process takes the listening sockets of a running one, and only then the old one drains.
//!
//! The old process starts the new one with one end of a private socket pair as its standard input, and says so in the
//! environment ([`VARIABLE`]). Nothing else is inherited. Over that socket:
//!
//! ```text
//! old → new   offer    version, what each socket is for; the sockets themselves as SCM_RIGHTS (unix(7))
//! new → old   ready    everything is built and every socket is there     | failed   why
//! old → new   state    what is carried over (see `state`), as it is at this moment
//! new → old   serving  it accepts connections                            | failed   why
//! ```
//!
//! Up to the last message the old process serves as if nothing happened: a new one that fails, ends, or is not ready in
//! time is ended, and nothing else changes. From then on it no longer accepts. The sockets are shared, not closed and
//! opened again, so no connection that the kernel has taken is lost.
//!
//! *Bounds.* A message is at most 1 MiB, the state 128 MiB, the sockets 250. Every wait has a deadline. The new process is
//! the old one's own child on a socket nobody else has, so there is no peer to check; the control socket of
//! [`control`] checks who asks.

pub mod control;
mod new;
mod old;
pub mod service;
pub mod state;
mod wire;

pub use new::{Predecessor, predecessor};
pub use old::{Failure, Plan, Successor};

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Set for a process that finds its predecessor at its standard input.
pub const VARIABLE: &str = "GATEHOUSE_HANDOVER";

/// What this program speaks; another version is refused.
const VERSION: u32 = 1;

/// Sockets that one message can carry; the kernel's bound is 253.
pub const MAX_SOCKETS: usize = 250;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Clients.
    Listener,
    /// The admin listener.
    Admin,
    /// The control socket.
    Control,
}

/// A listening socket that was not opened by this process.
#[derive(Debug)]
pub struct Inherited {
    /// What it was for; `None` where nobody said.
    pub role: Option<Role>,
    /// The address as the configuration wrote it (its port may be 0), or the socket's own. `None` for the control socket.
    pub address: Option<SocketAddr>,
    /// How to name it in a message.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// Listening sockets from a predecessor or a service manager, until a listener asks for them.
#[derive(Debug, Default)]
pub struct Sockets(VecDeque<Inherited>);

impl Sockets {
    /// Takes the first socket for `address` that may be for `role`.
    pub fn take(&mut self, role: Role, address: Option<SocketAddr>) -> Option<OwnedFd> {
        let fits = |one: &Inherited| one.role.is_none_or(|for_| for_ == role) && one.address == address;
        let at = self.0.iter().position(fits)?;
        self.0.remove(at).map(|one| one.socket)
    }

    /// Adds one.
    pub fn add(&mut self, one: Inherited) {
        self.0.push_back(one);
    }

    /// What nobody asked for, by name; the sockets are closed.
    pub fn left(self) -> Vec<String> {
        self.0.into_iter().map(|one| one.name).collect()
    }
}

/// One message of the exchange.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
enum Message {
    Offer { version: u32, sockets: Vec<Label> },
    Ready,
    State { bytes: u64 },
    Serving,
    Failed { why: String },
}

/// What is said of a socket in an offer.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    role: Role,
    address: Option<SocketAddr>,
}

#[cfg(test)]
mod tests;
