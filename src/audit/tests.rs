use super::event::tests::full;
use super::*;
use crate::telemetry::Metrics;
use crate::verdict::Action;
use std::io;
use std::os::unix::fs::PermissionsExt;

const SOON: Duration = Duration::from_secs(10);

fn in_dir(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Audit, AuditMetrics) {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new().unwrap().audit;
    let mut settings = Settings::default();
    change(&mut settings);
    let audit = Audit::build(&settings, dir.path(), metrics.clone()).unwrap();
    (dir, audit, metrics)
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn counts(metrics: &AuditMetrics) -> (u64, u64, i64) {
    (metrics.events.get(AuditOutcome::Written), metrics.events.get(AuditOutcome::Lost), metrics.queue.get())
}

#[test]
fn events_are_written_whole_and_counted_from_many_threads() {
    let (dir, audit, metrics) = in_dir(|_| ());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert!(audit.record(full()))));
        }
    });
    assert!(audit.flush(SOON));
    let file = dir.path().join("state/audit.jsonl");
    assert_eq!(lines(&file).len(), 2_000);
    assert_eq!(counts(&metrics), (2_000, 0, 0));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o137, 0, "others may not read it");
}

/// More producers than there are cores, each faster than the writer: nothing is lost, and the lines stay apart.
#[test]
fn no_event_is_lost_because_they_come_faster_than_one_thread_encodes() {
    let (dir, audit, metrics) = in_dir(|s| s.queue = 2048);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..600).for_each(|_| assert!(audit.record(full()))));
        }
    });
    assert!(audit.close(SOON * 3));
    assert_eq!(lines(&dir.path().join("state/audit.jsonl")).len(), 4_800);
    assert_eq!(counts(&metrics), (4_800, 0, 0));
}

#[test]
fn a_loss_is_told_in_the_file() {
    let (dir, audit, metrics) = in_dir(|s| s.queue = 1);
    let taken = (0..200).filter(|_| audit.record(full())).count();
    assert!(audit.close(SOON));
    let lost = 200 - taken as u64;
    assert_eq!(metrics.events.get(AuditOutcome::Lost), lost);
    let lines = lines(&dir.path().join("state/audit.jsonl"));
    let told: u64 = lines.iter().filter_map(|line| line["gatehouse"]["lost"].as_u64()).sum();
    assert!(lost > 0 && told == lost, "{lost} lost, {told} told");
    let events = lines.iter().filter(|line| line["gatehouse"]["lost"].is_null()).count();
    assert_eq!(events, taken);
    let line = lines.iter().find(|line| !line["gatehouse"]["lost"].is_null()).unwrap();
    assert_eq!((&line["action"], &line["status"], &line["request"]["id"]), (&"error".into(), &0.into(), &"".into()));
}

#[test]
fn a_close_loses_nothing_and_what_comes_after_is_lost_and_counted() {
    let (dir, audit, metrics) = in_dir(|_| ());
    (0..1_000).for_each(|_| assert!(audit.record(full())));
    assert!(audit.close(SOON));
    assert_eq!(lines(&dir.path().join("state/audit.jsonl")).len(), 1_000);
    assert!(!audit.record(full()));
    assert_eq!(counts(&metrics), (1_000, 1, 0));
}

#[test]
fn only_relevant_events_are_written_unless_all_are_asked_for() {
    for (relevant_only, expected) in [(true, 2), (false, 3)] {
        let (dir, audit, _) = in_dir(|s| s.relevant_only = relevant_only);
        let mut dull = full();
        (dull.action, dull.findings, dull.rules) = (Action::Pass, Vec::new(), Vec::new());
        // What a candidate would have refused is told although nothing else is.
        let shadowed = dull.clone();
        dull.shadow = None;
        assert_eq!(audit.wants(false), !relevant_only);
        assert!(audit.record(dull) && audit.record(shadowed) && audit.record(full()) && audit.close(SOON));
        assert_eq!(lines(&dir.path().join("state/audit.jsonl")).len(), expected);
    }
}

#[test]
fn switched_off_nothing_is_made_or_wanted() {
    let (dir, audit, metrics) = in_dir(|s| s.enabled = false);
    assert!(!audit.wants(true) && audit.record(full()) && audit.has_room() && audit.close(SOON));
    assert!(!dir.path().join("state").exists());
    assert_eq!(counts(&metrics), (0, 0, 0));
}

#[test]
fn a_rotated_file_is_left_and_a_new_one_begun() {
    let (dir, audit, _) = in_dir(|_| ());
    let (file, old) = (dir.path().join("state/audit.jsonl"), dir.path().join("state/audit.jsonl.1"));
    assert!(audit.record(full()) && audit.flush(SOON));
    std::fs::rename(&file, &old).unwrap();
    audit.reopen();
    assert!(audit.record(full()) && audit.close(SOON));
    assert_eq!((lines(&old).len(), lines(&file).len()), (1, 1));
}

#[test]
fn a_torn_line_of_a_dead_process_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    std::fs::write(&file, "{\"torn\":").unwrap();
    let settings = Settings { file: "a.jsonl".into(), ..Settings::default() };
    let audit = Audit::build(&settings, dir.path(), Metrics::new().unwrap().audit).unwrap();
    assert!(audit.record(full()) && audit.close(SOON));
    let text = std::fs::read_to_string(&file).unwrap();
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"torn\":");
    serde_json::from_str::<serde_json::Value>(rest).unwrap();
}

#[test]
fn faults_name_the_key_and_are_reported_together() {
    let dir = tempfile::tempdir().unwrap();
    let build = |settings: &Settings| {
        let built = Audit::build(settings, dir.path(), Metrics::new().unwrap().audit);
        built.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let faults = build(&Settings {
        queue: 0,
        queue_bytes: ByteSize(1),
        max_event: ByteSize(1),
        file: PathBuf::new(),
        redact: Redact { headers: vec![" ".into()], parameters: vec!["a".into(), String::new()] },
        ..Settings::default()
    });
    let keys = ["queue: ", "queue_bytes: ", "max_event: ", "file: ", "redact.headers[0]: ", "redact.parameters[1]: "];
    assert_eq!(faults.len(), keys.len(), "{faults:?}");
    for (fault, key) in faults.iter().zip(keys) {
        assert!(fault.starts_with(key), "{fault}");
    }
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    std::fs::write(dir.path().join("plain"), "").unwrap();
    for (file, fits) in [("folder", false), ("plain/a.jsonl", false), ("plain", true), ("new/folder/a.jsonl", true)] {
        let settings = Settings { file: file.into(), ..Settings::default() };
        let found = Audit::verify(&settings, dir.path());
        assert_eq!(found.is_empty(), fits, "{file}: {found:?}");
        assert!(!dir.path().join("new").exists(), "verifying makes nothing");
        if !fits {
            let faults = build(&settings);
            assert!(faults[0].starts_with("file: ") && faults[0].contains("cannot be opened"), "{faults:?}");
        }
    }
}

#[test]
fn the_settings_read_back_what_they_write() {
    let settings = Settings { on_full: OnFull::Refuse, ..Settings::default() };
    let text = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    assert!(toml::from_str::<Settings>("fille = \"x\"").is_err());
}

#[test]
fn a_reload_changes_masking_and_bounds_and_names_what_needs_a_restart() {
    let (dir, audit, _) = in_dir(|_| ());
    let mut settings = Settings { relevant_only: false, ..Settings::default() };
    settings.redact.headers.push("accept".into());
    assert_eq!(audit.apply(&settings, dir.path()).unwrap(), Vec::<&str>::new());
    assert!(audit.wants(false) && audit.record(full()) && audit.flush(SOON));
    let written = lines(&dir.path().join("state/audit.jsonl"));
    assert_eq!(written[0]["request"]["headers"]["accept"], serde_json::json!(["***", "***"]));
    settings.file = "other.jsonl".into();
    assert_eq!(audit.apply(&settings, dir.path()).unwrap(), ["file"]);
    settings.queue = 0;
    assert!(audit.apply(&settings, dir.path()).is_err());
}

/// A disk that can be full, that takes few bytes at a time, and remembers what was written to each of its files.
#[derive(Clone, Default)]
struct Disk(Arc<parking_lot::Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    files: Vec<Vec<u8>>,
    /// How many bytes it still takes; `None`: any number.
    room: Option<usize>,
}

impl writer::Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        let n = bytes.len().min(100).min(disk.room.unwrap_or(usize::MAX));
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.room = disk.room.map(|room| room - n);
        if disk.files.is_empty() {
            disk.files.push(Vec::new());
        }
        disk.files.last_mut().unwrap().extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn cut(&mut self, bytes: usize) -> io::Result<()> {
        let mut disk = self.0.lock();
        let file = disk.files.last_mut().unwrap();
        file.truncate(file.len() - bytes);
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.0.lock().files.push(Vec::new());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn on_disk(disk: &Disk, queue: usize, on_full: OnFull) -> (Audit, AuditMetrics) {
    let metrics = Metrics::new().unwrap().audit;
    let settings = Settings { enabled: false, queue, on_full, ..Settings::default() };
    let mut audit = Audit::build(&settings, Path::new(""), metrics.clone()).unwrap();
    audit.start(disk.clone(), settings.limits()).unwrap();
    (audit, metrics)
}

fn whole_lines(file: &[u8]) -> usize {
    let text = std::str::from_utf8(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.filter(|event| event["gatehouse"]["lost"].is_null()).count()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_is_waited_for_and_only_what_the_queue_cannot_hold_is_lost() {
    let disk = Disk::default();
    disk.0.lock().room = Some(500);
    let (audit, metrics) = on_disk(&disk, 8, OnFull::Pass);
    let taken = (0..20).filter(|_| audit.record(full())).count();
    assert_eq!(taken, 8, "what is being written counts too");
    until("the failure is counted", || metrics.errors.get() > 0);
    assert_eq!((counts(&metrics), audit.queued()), ((0, 12, 8), 8));
    assert!(!audit.flush(Duration::ZERO));
    disk.0.lock().room = None;
    assert!(audit.flush(SOON));
    assert_eq!(counts(&metrics), (8, 12, 0));
    assert_eq!(whole_lines(&disk.0.lock().files[0]), 8);
    assert!(audit.record(full()) && audit.close(SOON));
}

#[test]
fn when_told_so_a_filling_queue_refuses_before_it_is_full() {
    let disk = Disk::default();
    disk.0.lock().room = Some(0);
    for (on_full, refuses) in [(OnFull::Refuse, true), (OnFull::Pass, false)] {
        let (audit, _) = on_disk(&disk, 16, on_full);
        (0..13).for_each(|_| assert!(audit.record(full()) && audit.has_room()));
        assert!(audit.record(full()));
        assert_eq!(audit.has_room(), !refuses);
        assert!(audit.record(full()), "who was let in before still finds room");
        assert!(!audit.close(Duration::ZERO));
    }
}

#[test]
fn bytes_bound_the_queue_too() {
    let disk = Disk::default();
    disk.0.lock().room = Some(0);
    let (audit, _) = on_disk(&disk, 1_000, OnFull::Pass);
    let settings = Settings { queue_bytes: ByteSize::kib(64), ..Settings::default() };
    audit.apply(&settings, Path::new("")).unwrap();
    let mut heavy = full();
    heavy.target = vec![b'a'; 30_000].into();
    let taken = (0..10).filter(|_| audit.record(heavy.clone())).count();
    assert_eq!(taken, 2);
    audit.close(Duration::ZERO);
}

#[test]
fn a_close_that_cannot_write_gives_up_in_time_counts_and_leaves_no_torn_line() {
    let disk = Disk::default();
    let mut one = Vec::new();
    encode::line(&full(), &Redactor::default(), 1 << 20, &mut one).unwrap();
    disk.0.lock().room = Some(one.len() + 10);
    let (audit, metrics) = on_disk(&disk, 100, OnFull::Pass);
    (0..5).for_each(|_| assert!(audit.record(full())));
    assert!(!audit.close(Duration::from_millis(20)));
    assert_eq!(counts(&metrics), (1, 4, 0));
    assert_eq!(whole_lines(&disk.0.lock().files[0]), 1);
}

#[test]
fn a_line_torn_by_a_rotation_is_written_whole_to_the_new_file() {
    let disk = Disk::default();
    disk.0.lock().room = Some(150);
    let (audit, metrics) = on_disk(&disk, 100, OnFull::Pass);
    assert!(audit.record(full()));
    until("the disk is full", || metrics.errors.get() > 0);
    audit.reopen();
    until("a new file is begun", || disk.0.lock().files.len() == 2);
    disk.0.lock().room = None;
    assert!(audit.close(SOON));
    let disk = disk.0.lock();
    assert_eq!((whole_lines(&disk.files[0]), whole_lines(&disk.files[1])), (0, 1));
    assert_eq!(counts(&metrics), (1, 0, 0));
}
