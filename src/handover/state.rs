//! What is carried from one process to the next: named sections, each with a version and a checksum.
//!
//! ```text
//! "GHSTATE1"
//! for each section:  name length (1 byte), name, version (2), length (8), SHA-256 of the bytes (32), bytes
//! ```
//! Numbers are big endian. What a section holds is its stage's to say and to check once more; a section that is damaged,
//! unknown, or of another version is dropped with a warning, and the gate starts without it. At most [`MAX_STATE`] bytes.

use sha2::{Digest as _, Sha256};

const MAGIC: &[u8] = b"GHSTATE1";

/// The most that is carried over, in bytes.
pub const MAX_STATE: usize = 128 << 20;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Whose it is: 1 to 255 bytes.
    pub name: String,
    /// The layout of `bytes`.
    pub version: u16,
    /// What the stage wrote.
    pub bytes: Vec<u8>,
}

/// What is carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    sections: Vec<Section>,
    size: usize,
}

impl State {
    /// Adds a section, unless that would be too much; whether it was added.
    pub fn add(&mut self, name: &'static str, version: u16, bytes: Vec<u8>) -> bool {
        let size = self.size + bytes.len() + name.len() + 64;
        if size > MAX_STATE {
            return false;
        }
        self.size = size;
        self.sections.push(Section { name: name.to_owned(), version, bytes });
        true
    }

    /// The bytes of the section `name`, if it has this version.
    pub fn section(&self, name: &str, version: u16) -> Option<&[u8]> {
        let found = self.sections.iter().find(|section| section.name == name && section.version == version)?;
        Some(&found.bytes)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size + MAGIC.len());
        out.extend_from_slice(MAGIC);
        for section in &self.sections {
            let Ok(length) = u8::try_from(section.name.len()) else { continue };
            out.push(length);
            out.extend_from_slice(section.name.as_bytes());
            out.extend_from_slice(&section.version.to_be_bytes());
            out.extend_from_slice(&(section.bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(&Sha256::digest(&section.bytes));
            out.extend_from_slice(&section.bytes);
        }
        out
    }

    /// From bytes, with what had to be dropped in words. Never fails: what is unreadable is not there.
    pub fn decode(bytes: &[u8]) -> (Self, Vec<String>) {
        let (mut state, mut dropped) = (Self::default(), Vec::new());
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
            return (state, vec!["it does not begin as state does".to_owned()]);
        };
        while !rest.is_empty() {
            let Some((section, digest, after)) = section(rest) else {
                dropped.push("a section is cut off".to_owned());
                break;
            };
            rest = after;
            if Sha256::digest(&section.bytes).as_slice() == digest {
                state.size += section.bytes.len();
                state.sections.push(section);
            } else {
                dropped.push(format!("the section {:?} is damaged", section.name));
            }
        }
        (state, dropped)
    }
}

fn section(bytes: &[u8]) -> Option<(Section, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (version, rest) = rest.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_at_checked(32)?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*size)).ok()?)?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some((Section { name, version: u16::from_be_bytes(*version), bytes: bytes.to_vec() }, digest, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> State {
        let mut state = State::default();
        assert!(state.add("limits", 1, b"buckets".to_vec()) && state.add("tickets", 3, vec![0; 100]));
        state
    }

    #[test]
    fn state_reads_back_and_another_version_is_not_there() {
        let (read, dropped) = State::decode(&sample().encode());
        assert_eq!((read.section("limits", 1), dropped), (Some(&b"buckets"[..]), vec![]));
        assert_eq!((read.section("tickets", 2), read.section("other", 1)), (None, None));
        assert!(!State::default().add("limits", 1, vec![0; MAX_STATE]), "there is a bound");
    }

    #[test]
    fn a_damaged_section_is_dropped_and_the_others_stay() {
        let mut bytes = sample().encode();
        let at = bytes.windows(7).position(|w| w == b"buckets").unwrap();
        bytes[at] ^= 1;
        let (read, dropped) = State::decode(&bytes);
        assert_eq!((read.section("limits", 1), dropped.len()), (None, 1));
        assert!(read.section("tickets", 3).is_some());
        bytes.truncate(bytes.len() - 1);
        assert_eq!(State::decode(&bytes).1.len(), 2);
        assert_eq!(State::decode(b"nonsense").1.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            if whole {
                bytes.splice(0..0, MAGIC.iter().copied());
            }
            let (state, _) = State::decode(&bytes);
            prop_assert_eq!(State::decode(&state.encode()), (state, vec![]));
        }
    }
}
