//! The writer: one thread that encodes what waits and appends it to the file.
//!
//! *File.* JSON lines, appended, made with mode 0640. A file that ends in the middle of a line, because a process died
//! there, gets a line end first, so the torn line spoils no other. During a hand-over two processes append to it, each whole
//! batches at a time. A batch that was written in part goes on where it
//! stopped; if the file is opened anew meanwhile, the torn line is cut from the old file and written whole to the new.

use super::encode;
use super::event::Event;
use super::queue::{Queue, Retry, Waiting, Work};
use super::redact::Redactor;
use crate::telemetry::{AuditMetrics, AuditOutcome};
use parking_lot::RwLock;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A batch is written once it has this size.
const BATCH: usize = 256 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the end of a file stands still before it counts as torn.
const TORN: Duration = Duration::from_millis(50);
/// How often a loss is logged.
const LOSS_NOTICE: Duration = Duration::from_secs(10);

/// How events are encoded; replaced on reload.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) redactor: Redactor,
    pub(super) max_event: usize,
}

impl Style {
    /// Appends the event's line; whether that could be done. A fault in encoding one event must not end the recording of
    /// all others, nor the request it is about.
    pub(super) fn encode(&self, event: &Event, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let encoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            encode::line(event, &self.redactor, self.max_event, out).is_ok()
        }));
        if encoded.unwrap_or(false) {
            return true;
        }
        out.truncate(before);
        tracing::error!(id = %event.id, "an audit event could not be encoded");
        false
    }
}

/// Where lines go: a file, or in tests something that fails.
pub(super) trait Sink: Send {
    /// Writes some of `bytes`; how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the last `bytes` off again.
    fn cut(&mut self, bytes: usize) -> io::Result<()>;
    /// Opens the same place anew.
    fn reopen(&mut self) -> io::Result<()>;
    /// Makes what was written last.
    fn sync(&mut self) -> io::Result<()>;
}

/// The audit file.
pub(super) struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        end_torn_line(path, &mut file)?;
        Ok(Self { path: path.into(), file })
    }
}

fn end_torn_line(path: &Path, file: &mut File) -> io::Result<()> {
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() || about.len() == 0 {
        return Ok(());
    }
    // A file that may be appended to but not read cannot be looked at; it is taken as it is.
    let Ok(mut reader) = File::open(path) else { return Ok(()) };
    let mut before = None;
    loop {
        let mut last = [0];
        let end = reader.seek(SeekFrom::End(-1))?;
        reader.read_exact(&mut last)?;
        if last == [b'\n'] {
            return Ok(());
        }
        if before.replace(end) == Some(end) {
            return file.write_all(b"\n");
        }
        // Another process may be in the middle of writing it: torn is what does not move.
        std::thread::sleep(TORN);
    }
}

impl Sink for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn cut(&mut self, bytes: usize) -> io::Result<()> {
        let about = self.file.metadata()?;
        if about.is_file() {
            if self.file.stream_position()? != about.len() {
                // Another process has written behind it: what is torn is ended instead.
                return self.file.write_all(b"\n");
            }
            self.file.set_len(about.len().saturating_sub(u64::try_from(bytes).unwrap_or(0)))?;
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Encoded events that are to be written together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`, and the weight of its event.
    lines: Vec<(usize, usize)>,
    /// Written so far.
    written: usize,
}

impl Batch {
    /// Lines that are written whole, and where the last of them ends.
    fn whole(&self) -> (usize, usize) {
        let lines = self.lines.partition_point(|(end, _)| *end <= self.written);
        let end = lines.checked_sub(1).and_then(|last| self.lines.get(last)).map_or(0, |(end, _)| *end);
        (lines, end)
    }

    fn weight(&self) -> usize {
        self.lines.iter().map(|(_, weight)| weight).sum()
    }
}

/// The writer's own state.
pub(super) struct Writer<S> {
    pub(super) queue: Arc<Queue>,
    pub(super) sink: S,
    pub(super) style: Arc<RwLock<Arc<Style>>>,
    pub(super) metrics: AuditMetrics,
    pub(super) notice: Notice,
}

/// Says now and then that events were lost.
pub(super) struct Notice {
    /// How many the log was told of, and when.
    told: u64,
    at: Option<Instant>,
    /// How many the file was told of, and when.
    noted: u64,
    noted_at: Option<Instant>,
}

impl Notice {
    pub(super) fn new(metrics: &AuditMetrics) -> Self {
        let lost = metrics.events.get(AuditOutcome::Lost);
        Self { told: lost, at: None, noted: lost, noted_at: None }
    }

    /// How many more were lost, for the file.
    fn note(&mut self, metrics: &AuditMetrics, last: bool) -> Option<u64> {
        let lost = metrics.events.get(AuditOutcome::Lost);
        let due = last || self.noted_at.is_none_or(|at| at.elapsed() >= LOSS_NOTICE);
        let more = lost.checked_sub(self.noted).filter(|more| *more > 0 && due)?;
        (self.noted, self.noted_at) = (lost, Some(Instant::now()));
        Some(more)
    }

    fn tell(&mut self, metrics: &AuditMetrics, last: bool) {
        let lost = metrics.events.get(AuditOutcome::Lost);
        let due = last || self.at.is_none_or(|at| at.elapsed() >= LOSS_NOTICE);
        if lost > self.told && due {
            tracing::error!(events = lost - self.told, "audit events were lost");
            self.told = lost;
            self.at = Some(Instant::now());
        }
    }
}

impl<S: Sink> Writer<S> {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            match self.queue.next() {
                Work::Events(events) => {
                    if !self.write(events) {
                        break;
                    }
                }
                Work::Reopen => self.reopen(),
                Work::End => {
                    self.tell_loss(true);
                    break;
                }
            }
            self.tell_loss(false);
        }
        if let Err(error) = self.sink.sync() {
            // Pipes and terminals cannot be synced.
            tracing::debug!(%error, "the audit file could not be synced");
        }
        let rest = self.queue.abandon();
        self.lose(rest.len(), rest.iter().map(Waiting::weight).sum());
        self.notice.tell(&self.metrics, true);
        self.queue.finish();
    }

    /// Encodes and writes; `false` if it had to give up, with what was not written counted as lost.
    fn write(&mut self, mut events: VecDeque<Waiting>) -> bool {
        let style = Arc::clone(&self.style.read());
        while !events.is_empty() {
            let mut batch = Batch::default();
            while batch.bytes.len() < BATCH
                && let Some(waiting) = events.pop_front()
            {
                match waiting {
                    Waiting::Event(event, weight) => self.encode(&event, weight, &style, &mut batch),
                    Waiting::Line(line) => {
                        batch.bytes.extend_from_slice(&line);
                        batch.lines.push((batch.bytes.len(), line.len()));
                    }
                }
            }
            if !self.append(&mut batch) {
                self.lose(events.len(), events.iter().map(Waiting::weight).sum());
                return false;
            }
        }
        true
    }

    fn encode(&self, event: &Event, weight: usize, style: &Style, batch: &mut Batch) {
        let encoded = style.encode(event, &mut batch.bytes);
        self.queue.encoded();
        if encoded {
            batch.lines.push((batch.bytes.len(), weight));
        } else {
            self.lose(1, weight);
        }
    }

    /// Says now and then that events were lost, in the log and in the file.
    fn tell_loss(&mut self, last: bool) {
        self.notice.tell(&self.metrics, last);
        let Some(events) = self.notice.note(&self.metrics, last) else { return };
        let mut batch = Batch::default();
        if encode::loss(events, SystemTime::now(), &mut batch.bytes).is_ok() {
            self.append(&mut batch);
        }
    }

    /// Writes the batch, trying again while it may; `false` if it gave up.
    fn append(&mut self, batch: &mut Batch) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut failing = false;
        while let Some(rest) = batch.bytes.get(batch.written..).filter(|rest| !rest.is_empty()) {
            let error = match self.sink.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    batch.written += n;
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.metrics.errors.inc();
            if !std::mem::replace(&mut failing, true) {
                tracing::error!(%error, "the audit file cannot be written; trying again while the queue holds");
            }
            self.notice.tell(&self.metrics, false);
            match self.queue.pause(Instant::now() + pause) {
                Retry::Again => pause = (pause * 2).min(LONGEST_PAUSE),
                Retry::Reopened => {
                    self.drop_torn_line(batch);
                    self.reopen();
                }
                Retry::GiveUp => {
                    self.drop_torn_line(batch);
                    let (whole, _) = batch.whole();
                    let weights = |lines: &[(usize, usize)]| lines.iter().map(|(_, weight)| weight).sum();
                    let (written, rest) = batch.lines.split_at(whole.min(batch.lines.len()));
                    self.settle(AuditOutcome::Written, written.len(), weights(written));
                    self.lose(rest.len(), weights(rest));
                    return false;
                }
            }
        }
        if failing {
            tracing::info!("the audit file can be written again");
        }
        self.settle(AuditOutcome::Written, batch.lines.len(), batch.weight());
        true
    }

    /// Takes back a line that was written in part.
    fn drop_torn_line(&mut self, batch: &mut Batch) {
        let (_, end) = batch.whole();
        let torn = batch.written.saturating_sub(end);
        if torn > 0 {
            if let Err(error) = self.sink.cut(torn) {
                tracing::error!(%error, "a torn line stays in the audit file");
            }
            batch.written = end;
        }
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(()) => tracing::info!("the audit file was opened anew"),
            Err(error) => {
                self.metrics.errors.inc();
                tracing::error!(%error, "the audit file cannot be opened anew; writing to the old one");
            }
        }
    }

    fn lose(&self, events: usize, bytes: usize) {
        self.settle(AuditOutcome::Lost, events, bytes);
    }

    fn settle(&self, outcome: AuditOutcome, events: usize, bytes: usize) {
        self.metrics.events.add(outcome, u64::try_from(events).unwrap_or(u64::MAX));
        self.queue.done(events, bytes);
    }
}
