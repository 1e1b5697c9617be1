//! The order of things, without the base: how a request comes in ([`admit`]), how its body is held ([`hold`]), how a
//! response goes out ([`release`]), and what is kept of both ([`record`]).

mod admit;
mod exchange;
mod heavy;
mod hold;
mod record;
mod release;
mod shadow;

pub use admit::{Admitted, admit, note};
pub use exchange::{Durations, Exchange, RequestLine};
pub use hold::{Body, Held, PAGE, pace};
pub use release::{Judging, body as release_body, head as release_head, streams};
pub use shadow::{Difference, Shadow, Verdict};

use crate::snapshot::{Built, Kept, Snapshot};
use crate::telemetry::Metrics;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The running generation and what outlives it.
pub struct Gate {
    current: ArcSwap<Snapshot>,
    kept: Kept,
    shadow: Arc<Shadow>,
}

impl Gate {
    /// Starts with a first generation.
    pub fn new(first: Snapshot, kept: Kept) -> Self {
        let shadow = Shadow::start(kept.metrics.clone(), kept.audit.clone());
        Self { current: ArcSwap::from_pointee(first), kept, shadow }
    }

    /// The generation that new requests begin with.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a new generation in place; requests in flight end on theirs.
    pub fn swap(&self, built: Built) -> Arc<Snapshot> {
        self.kept.resolver.swap(built.certificates);
        let snapshot = Arc::new(built.snapshot);
        self.current.store(snapshot.clone());
        snapshot
    }

    /// What outlives generations.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// What candidates of rules said.
    pub fn shadow(&self) -> &Shadow {
        &self.shadow
    }

    /// All metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.kept.metrics
    }
}
