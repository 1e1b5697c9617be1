//! Buffers of transactions that have ended, for the next ones of their thread: what has grown once need not grow again.

use super::run::Workspace;
use super::texts::Texts;
use std::cell::RefCell;

/// Most pairs kept by a thread.
const MOST: usize = 16;
/// Largest pair kept, in bytes: what a large body made grow goes back at once.
const MOST_BYTES: usize = 512 << 10;

thread_local! {
    static SPARE: RefCell<Vec<(Texts, Workspace)>> = const { RefCell::new(Vec::new()) };
}

/// Empty buffers.
pub(super) fn take() -> (Texts, Workspace) {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
    spare.ok().flatten().unwrap_or_default()
}

/// Empties buffers and keeps them, if there is room.
pub(super) fn give_back(mut texts: Texts, mut workspace: Workspace) {
    if texts.footprint() + workspace.screened.footprint() > MOST_BYTES {
        return;
    }
    texts.clear();
    workspace.clear();
    // A thread that is ending keeps nothing.
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < MOST
        {
            spare.push((texts, workspace));
        }
    });
}
