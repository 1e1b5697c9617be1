//! The service manager's side (systemd): state notifications, the watchdog, and sockets it has opened (sd_notify(3),
//! sd_listen_fds(3)). Without a manager, which the environment tells, nothing here does anything.

use super::{Inherited, Sockets};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a message may wait for a manager that does not read.
const WAIT: Duration = Duration::from_secs(2);

/// Takes the sockets the manager passed. To be called once, before any thread is started: it clears the environment.
///
/// # Errors
/// A descriptor that is no listening TCP socket, in words.
pub fn sockets() -> Result<Sockets, String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let (mut passed, mut sockets) = (ListenFd::from_env(), Sockets::default());
    for index in 0..passed.len() {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
        let wrong = |e: std::io::Error| format!("the socket {name:?} that was passed is of no use: {e}");
        let Some(socket) = passed.take_tcp_listener(index).map_err(wrong)? else { continue };
        let address = socket.local_addr().map_err(wrong)?;
        let name = format!("{name} ({address})");
        sockets.add(Inherited { role: None, address: Some(address), name, socket: OwnedFd::from(socket) });
    }
    Ok(sockets)
}

/// Sends one message. Never waits long, as the crate's own sending would: a manager that does not read must not stop a gate.
fn tell(states: &[NotifyState<'_>], wait: Duration) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let sent = (|| {
        let datagram = UnixDatagram::unbound()?;
        datagram.set_write_timeout(Some(wait))?;
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&socket)?,
        };
        datagram.send_to_addr(lines.join("\n").as_bytes(), &address)
    })();
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Connections are accepted; or, after [`reloading`], are again as they were.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)], WAIT);
}

/// A reload begins; [`ready`] ends it, whatever came of it.
pub fn reloading() {
    // Without the moment the manager would wait for a reload that began after its signal.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now], WAIT);
    }
}

/// The drain begins.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")], WAIT);
}

/// Another process is the service from now on.
pub fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)], WAIT);
}

/// Says, for as long as it runs, that the runtime does: twice in the time the manager waits. Ends at once without a
/// watchdog.
pub async fn watchdog() {
    let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else { return };
    let pause = (time / 2).max(Duration::from_millis(10));
    loop {
        tell(&[NotifyState::Watchdog], pause.min(Duration::from_millis(50)));
        tokio::time::sleep(pause).await;
    }
}
