//! How long a replica may take to its response head.
//!
//! The base has one time limit for every read from a replica, fixed before the request is sent. A head may need another
//! limit than the pauses within an event stream, and a replica that probes find dead is not to be waited for at all. So
//! heads are waited for with an alarm: when it is over, the replica's connection is shut down under the base, which then
//! reads its end. [`Alarms::run`] looks every 25 ms; what an alarm costs is one entry in a map.
//!
//! Only connections of one request at a time (HTTP/1) may be given.

use crate::balance::Replica;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(25);

/// A connection that is to be shut down.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    /// Its descriptor, which is the base's to close.
    pub(super) fd: RawFd,
    /// Its two ends: they tell whether the descriptor still means it.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

#[derive(Debug)]
struct Alarm {
    at: Instant,
    wire: Wire,
    /// Whether it goes off when the replica is found dead.
    lives: Option<Arc<Replica>>,
    rung: Arc<AtomicBool>,
}

/// All heads that are waited for.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    next: AtomicU64,
    set: Mutex<HashMap<u64, Alarm>>,
}

/// An alarm that is set, until dropped.
#[derive(Debug)]
pub(super) struct Set {
    alarms: &'static Alarms,
    id: u64,
    rung: Arc<AtomicBool>,
}

impl Set {
    /// Whether it went off.
    pub(super) fn rang(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.alarms.set.lock().remove(&self.id);
    }
}

impl Alarms {
    /// Sets one for `at`; with `lives`, also for when that replica is found dead.
    pub(super) fn set(&'static self, at: Instant, wire: Wire, lives: Option<Arc<Replica>>) -> Set {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let rung = Arc::new(AtomicBool::new(false));
        self.set.lock().insert(id, Alarm { at, wire, lives, rung: rung.clone() });
        Set { alarms: self, id, rung }
    }

    /// Lets alarms go off; ends when dropped.
    pub(super) async fn run(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.ring(Instant::now());
        }
    }

    fn ring(&self, now: Instant) {
        // Under the lock: a head that comes meanwhile finds its alarm rung, or takes it away before.
        self.set.lock().retain(|_, alarm| {
            let over = now >= alarm.at || alarm.lives.as_ref().is_some_and(|replica| !replica.is_alive());
            if over {
                alarm.rung.store(true, Ordering::Release);
                alarm.wire.cut();
            }
            !over
        });
    }
}

impl Wire {
    /// Shuts the connection down, if it still is there.
    fn cut(&self) {
        let Some(copy) = duplicate(self.fd) else { return };
        // What was copied cannot turn into another file any more; only now is it looked at.
        let socket = socket2::Socket::from(copy);
        let is =
            |end: std::io::Result<socket2::SockAddr>, address| end.is_ok_and(|end| end.as_socket() == Some(address));
        if is(socket.local_addr(), self.local) && is(socket.peer_addr(), self.remote) {
            // One that has ended by itself meanwhile cannot be shut down, and need not be.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

#[allow(unsafe_code, reason = "the base owns the socket and lends no more than its number")]
fn duplicate(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: the call takes any number. The base may have closed this one, and another file may have it now: copying
    // changes nothing about that file, and what was copied is looked at before it is used.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: the copy is new, so nobody else owns it.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn alarms() -> &'static Alarms {
        Box::leak(Box::default())
    }

    fn pair() -> (TcpStream, TcpStream, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        let wire = Wire { fd: ours.as_raw_fd(), local: ours.local_addr().unwrap(), remote: ours.peer_addr().unwrap() };
        (ours, theirs, wire)
    }

    #[test]
    fn an_alarm_that_is_over_ends_the_connection() {
        let (alarms, now) = (alarms(), Instant::now());
        let (mut ours, _theirs, wire) = pair();
        let set = alarms.set(now + Duration::from_secs(1), wire, None);
        alarms.ring(now);
        assert!(!set.rang());
        alarms.ring(now + Duration::from_secs(1));
        assert!(set.rang());
        assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn one_that_is_taken_away_does_not_ring() {
        let (alarms, now) = (alarms(), Instant::now());
        let (ours, _theirs, wire) = pair();
        drop(alarms.set(now, wire, None));
        assert!(alarms.set.lock().is_empty());
        alarms.ring(now);
        ours.set_nonblocking(true).unwrap();
        assert_eq!((&ours).read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_number_that_means_another_connection_is_left_alone() {
        let (alarms, now) = (alarms(), Instant::now());
        let (other, _theirs, wire) = pair();
        let (_gone, _, ends) = pair();
        let _set = alarms.set(now, Wire { fd: wire.fd, ..ends }, None);
        let _none = alarms.set(now, Wire { fd: -1, ..wire }, None);
        alarms.ring(now);
        other.set_nonblocking(true).unwrap();
        assert_eq!((&other).read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
