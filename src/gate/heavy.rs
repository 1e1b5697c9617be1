//! Long inspections, out of the way of other connections.
//!
//! A worker thread runs many connections; one that spends tens of milliseconds in the rules would hold up the others. So
//! an inspection of more than [`LONG`] bytes gives its thread's other work to another thread first. As many run at once as
//! there are cores; the others wait, for more would only make all of them slow, small requests too.

use parking_lot::{Condvar, Mutex};
use std::sync::LazyLock;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Bytes of a body from which an inspection is long: some milliseconds.
const LONG: usize = 16 << 10;

/// Runs `inspect`, which has so many bytes to read.
pub(super) fn run<T>(bytes: usize, inspect: impl FnOnce() -> T) -> T {
    let threads = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes < LONG || !threads {
        return inspect();
    }
    tokio::task::block_in_place(|| {
        let _seat = SEATS.take();
        inspect()
    })
}

/// Shared by all listeners, for they share the cores.
static SEATS: LazyLock<Seats> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Seats { free: Mutex::new(cores), given_back: Condvar::new() }
});

struct Seats {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Seats {
    fn take(&self) -> Seat<'_> {
        let mut free = self.free.lock();
        self.given_back.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Seat(self)
    }
}

/// Given back when dropped, in a panic as well.
struct Seat<'a>(&'a Seats);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_at_once_than_there_are_seats() {
        let seats = Seats { free: Mutex::new(2), given_back: Condvar::new() };
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _seat = seats.take();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(*seats.free.lock(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_meanwhile() {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let long = tokio::spawn(async move { run(LONG, || receive.recv().is_ok()) });
        // The only worker thread would be blocked for ever, had it not been replaced.
        tokio::spawn(async move { send.send(()) }).await.unwrap().unwrap();
        assert!(long.await.unwrap());
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_inspects_in_place() {
        assert_eq!(run(LONG, || 7), 7);
    }
}
