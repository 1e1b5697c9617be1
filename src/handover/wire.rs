//! Messages over a Unix stream socket: four bytes of length (big endian), then that many bytes of JSON. Descriptors travel
//! with the length.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::MAX_SOCKETS;

/// The largest message.
const MAX_MESSAGE: usize = 1 << 20;

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

/// The kernel says "would block" for a time that ran out.
fn in_words(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::WouldBlock { timed_out() } else { e }
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Sends `message` with `descriptors`, at most [`MAX_SOCKETS`].
    pub(super) fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_MESSAGE);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
        if descriptors.len() > MAX_SOCKETS {
            let what = format!("{} sockets are more than the {MAX_SOCKETS} that can be passed", descriptors.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.0.set_write_timeout(Some(left(until)?))?;
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        let head = length.to_be_bytes();
        // Four bytes of a stream socket with room are sent whole or not at all.
        let sent = sendmsg(&self.0, &[IoSlice::new(&head)], &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent != head.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.write(&body, until)
    }

    /// Sends bytes as they are.
    pub(super) fn write(&self, bytes: &[u8], until: Instant) -> io::Result<()> {
        self.0.set_write_timeout(Some(left(until)?))?;
        (&self.0).write_all(bytes).map_err(in_words)
    }

    /// Receives a message and what descriptors came with it.
    ///
    /// # Errors
    /// The other side ended ([`io::ErrorKind::UnexpectedEof`]), did not answer in time ([`io::ErrorKind::TimedOut`]), or
    /// said something else.
    pub(super) fn receive<T: DeserializeOwned>(&self, until: Instant) -> io::Result<(T, Vec<OwnedFd>)> {
        let mut head = [0; 4];
        let mut descriptors = Vec::new();
        let mut read = 0;
        while read < head.len() {
            self.0.set_read_timeout(Some(left(until)?))?;
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let rest = head.get_mut(read..).unwrap_or_default();
            let got = recvmsg(&self.0, &mut [IoSliceMut::new(rest)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
            let got = match got {
                Err(rustix::io::Errno::INTR) => continue,
                got => got.map_err(|e| in_words(e.into()))?,
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            if got.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read += got.bytes;
        }
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
        }
        let body = self.read(length, until)?;
        Ok((serde_json::from_slice(&body)?, descriptors))
    }

    /// Receives this many bytes as they are.
    pub(super) fn read(&self, length: usize, until: Instant) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Grows with what arrives, not with what was announced.
        let mut piece = [0; 16 * 1024];
        while bytes.len() < length {
            self.0.set_read_timeout(Some(left(until)?))?;
            let room = piece.get_mut(..piece_length(length - bytes.len())).unwrap_or_default();
            match (&self.0).read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(in_words(e)),
            }
        }
        Ok(bytes)
    }

    /// Whether something can be read within `wait`: a message, or the other side's end.
    pub(super) fn stirs(&self, wait: Duration) -> io::Result<bool> {
        self.0.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let peeked = rustix::net::recv(&self.0, &mut [0_u8; 1][..], RecvFlags::PEEK);
        match peeked {
            // Ended with something unread is an end, too.
            Ok(_) | Err(rustix::io::Errno::CONNRESET) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

fn piece_length(left: usize) -> usize {
    left.min(16 * 1024)
}
