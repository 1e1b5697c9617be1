//! The old process's side. Blocking: to be called where that is allowed.

use super::wire::Channel;
use super::{Label, MAX_SOCKETS, Message, Role, VARIABLE, VERSION};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long each short step may take: the offer, and from the state to the new process's "serving".
const STEP: Duration = Duration::from_secs(15);
/// How often the wait for the new process looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process that closed its side may take to end, so that its exit can be told.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// What is started, and how long it may take.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// From its start until it is ready.
    pub timeout: Duration,
}

/// Why a hand-over came to nothing. The old process goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// One is under way.
    #[error("another hand-over is under way")]
    Busy,
    /// This process has handed over already, or is stopping.
    #[error("this process is draining")]
    Draining,
    /// This process cannot be started again as it was.
    #[error("this process was not started by `gatehouse run`")]
    NotRun,
    /// The new process could not be started.
    #[error("{} cannot be started: {error}", binary.display())]
    Start {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// More listeners than can be passed.
    #[error("{0} sockets are more than the {MAX_SOCKETS} that can be passed")]
    TooMany(usize),
    /// The new process says what is wrong.
    #[error("the new process refused: {0}")]
    Refused(String),
    /// The new process ended.
    #[error("the new process ended before it served ({0})")]
    Ended(String),
    /// It was too slow.
    #[error("the new process was not ready within {0:?}")]
    Late(Duration),
    /// The exchange broke off.
    #[error("the new process cannot be talked to: {0}")]
    Broken(#[from] io::Error),
}

/// The new process, until it serves; ended when dropped before.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    channel: Channel,
    started: Instant,
    timeout: Duration,
    serves: bool,
}

impl Successor {
    /// Starts the new process and offers it the sockets.
    ///
    /// # Errors
    /// It cannot be started, or the offer did not reach it.
    pub fn start(plan: &Plan, sockets: &[(Role, Option<SocketAddr>, OwnedFd)]) -> Result<Self, Failure> {
        if sockets.len() > MAX_SOCKETS {
            return Err(Failure::TooMany(sockets.len()));
        }
        let (ours, theirs) = UnixStream::pair()?;
        let spawned = Command::new(&plan.binary)
            .args(&plan.arguments)
            .env(VARIABLE, VERSION.to_string())
            // Meant for this process: the sockets come with the offer, and the watchdog watches whoever is the main process.
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn();
        let child = spawned.map_err(|error| Failure::Start { binary: plan.binary.clone(), error })?;
        let channel = Channel::new(ours);
        let mut successor = Self { child, channel, started: Instant::now(), timeout: plan.timeout, serves: false };
        let labels = sockets.iter().map(|(role, address, _)| Label { role: *role, address: *address }).collect();
        let descriptors: Vec<_> = sockets.iter().map(|(_, _, socket)| socket.as_fd()).collect();
        let offer = Message::Offer { version: VERSION, sockets: labels };
        let until = Instant::now() + STEP;
        match successor.channel.send(&offer, &descriptors, until) {
            Ok(()) => Ok(successor),
            Err(e) => Err(successor.why(e, until)),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has built everything.
    ///
    /// # Errors
    /// It refused, ended, was late, or `wanted` turned false.
    pub fn ready(&mut self, wanted: impl Fn() -> bool) -> Result<(), Failure> {
        let until = self.started + self.timeout;
        while !self.channel.stirs(LOOK)? {
            if !wanted() {
                return Err(Failure::Draining);
            }
            if Instant::now() >= until {
                return Err(Failure::Late(self.timeout));
            }
        }
        match self.answer(Instant::now() + STEP)? {
            Message::Ready => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Gives it the state and waits until it serves. After that it is no longer ours to end.
    ///
    /// # Errors
    /// It refused, ended, or was late.
    pub fn take_over(mut self, state: &[u8]) -> Result<u32, Failure> {
        let until = Instant::now() + STEP;
        let announced = Message::State { bytes: state.len() as u64 };
        let sent = self.channel.send(&announced, &[], until).and_then(|()| self.channel.write(state, until));
        if let Err(e) = sent {
            return Err(self.why(e, until));
        }
        match self.answer(until)? {
            Message::Serving => {
                self.serves = true;
                Ok(self.pid())
            }
            _ => Err(unexpected()),
        }
    }

    /// Why nothing could be sent to it: what it has to say, if anything, or how it ended, tells more than a broken pipe.
    fn why(&mut self, e: io::Error, until: Instant) -> Failure {
        if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return self.answer(until).err().unwrap_or(Failure::Broken(e));
        }
        e.into()
    }

    fn answer(&mut self, until: Instant) -> Result<Message, Failure> {
        match self.channel.receive(until) {
            Ok((Message::Failed { why }, _)) => Err(Failure::Refused(why)),
            Ok((message, _)) => Ok(message),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                Err(Failure::Ended(self.end()))
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(Failure::Late(STEP)),
            Err(e) => Err(e.into()),
        }
    }

    /// How it ended, in words.
    fn end(&mut self) -> String {
        let until = Instant::now() + LAST_BREATH;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                _ => return "no exit status".to_owned(),
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            // It may be gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn unexpected() -> Failure {
    Failure::Broken(io::Error::new(io::ErrorKind::InvalidData, "it answered out of turn"))
}
