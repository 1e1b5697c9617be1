//! A request body on its way to a replica: whole, or fed piece by piece while the client sends it.

use bytes::Bytes;
use std::fmt;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Its sender left before its end, so the replica must not take it for a whole one.
#[derive(Debug, thiserror::Error)]
#[error("the request body ended before its end")]
pub(super) struct Abandoned;

/// The body, as connections take it.
pub(super) enum Outgoing {
    /// All of it.
    Whole(Bytes),
    /// What a [`Feed`] is given.
    Fed {
        /// Pieces; `None`: the end.
        pieces: mpsc::Receiver<Option<Bytes>>,
        /// Whether the end has come.
        ended: bool,
    },
}

/// The other end of [`Outgoing::Fed`]. Dropped before [`Feed::end`], the body breaks off.
#[derive(Debug)]
pub(super) struct Feed(mpsc::Sender<Option<Bytes>>);

impl Outgoing {
    /// A body of pieces; one waits at a time.
    pub(super) fn fed() -> (Feed, Self) {
        let (sender, pieces) = mpsc::channel(1);
        (Feed(sender), Self::Fed { pieces, ended: false })
    }

    /// Whether nothing (more) will come, as far as is known without waiting.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Fed { ended, .. } => *ended,
        }
    }

    /// The next piece.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Abandoned>>> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Fed { ended: true, .. } => Poll::Ready(None),
            Self::Fed { pieces, ended } => match ready!(pieces.poll_recv(cx)) {
                Some(Some(piece)) => Poll::Ready(Some(Ok(piece))),
                Some(None) => {
                    *ended = true;
                    Poll::Ready(None)
                }
                None => Poll::Ready(Some(Err(Abandoned))),
            },
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Whole(_)) { "Whole" } else { "Fed" })
    }
}

impl Feed {
    /// Waits until the next piece is wanted. `false`: nobody wants any more.
    pub(super) async fn room(&self) -> bool {
        match self.0.reserve().await {
            Ok(permit) => {
                drop(permit);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives a piece, for which there was [`room`](Self::room).
    pub(super) fn give(&self, piece: Bytes) {
        // Whoever takes no more has said so, or will, in its answer.
        let _ = self.0.try_send(Some(piece));
    }

    /// Says that the body is whole. Needs room too.
    pub(super) fn end(self) {
        let _ = self.0.try_send(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(body: &mut Outgoing) -> Option<Result<Bytes, Abandoned>> {
        std::future::poll_fn(|cx| body.poll_piece(cx)).await
    }

    #[tokio::test]
    async fn a_body_that_was_fed_ends_only_when_it_is_said_to() {
        let (feed, body) = Outgoing::fed();
        let fed = async {
            for piece in ["one", "two"] {
                assert!(feed.room().await);
                feed.give(Bytes::from_static(piece.as_bytes()));
            }
            assert!(feed.room().await);
            feed.end();
        };
        let read = async {
            let (mut body, mut whole) = (body, Vec::new());
            while let Some(piece) = next(&mut body).await {
                whole.extend_from_slice(&piece.unwrap());
            }
            whole
        };
        let (whole, ()) = tokio::join!(read, fed);
        assert_eq!(whole, b"onetwo");

        let (feed, mut body) = Outgoing::fed();
        feed.give(Bytes::from_static(b"half"));
        drop(feed);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert!(next(&mut body).await.unwrap().is_err(), "not the end");

        let (feed, body) = Outgoing::fed();
        drop(body);
        assert!(!feed.room().await);
    }
}
