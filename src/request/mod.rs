//! The one normalised view of a request, and the checks that make it the only possible one.
//!
//! Three pure parts, in the order a request meets them; none holds state between requests or does I/O:
//!
//! 1. [`wire`] reads the bytes of an HTTP/1 head before any other parser does and refuses what two parsers could read
//!    in two ways; [`chunk`] does the same for the bytes of the body that follows.
//! 2. [`path`] and [`authority`] turn target and host into one canonical form; the policy is stated in [`path`].
//! 3. [`RequestModel::read`] builds the [`Request`] that router, policy, rules, cache key and balancer share, for
//!    HTTP/1 and HTTP/2 alike. What was judged is what is forwarded: [`Request::forward_target`].
//!
//! [`hop`] says which fields end at the gate when the request is written out again.
//!
//! After: client address and reputation. Out: a [`Request`] or a refusal (400, 405, 414, 431, 501). Fails closed: what
//! is not understood is refused, and such refusals are never detect-only. Memory is bounded by the head's own size;
//! an ordinary request costs one copy of its target and one of its host.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 9113 (HTTP/2), RFC 3986 (URI), RFC 6455 (WebSocket).

pub mod authority;
mod bytes;
pub mod chunk;
pub mod grpc;
pub mod head;
pub mod hop;
mod model;
pub mod path;
pub mod wire;

pub use authority::Authority;
pub use model::{Head, Request, RequestModel};
pub use wire::{Body, Framing, HeadLimits, Malformed, RawHead, Upgrade};
