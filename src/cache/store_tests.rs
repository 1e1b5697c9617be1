use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn key(n: u8) -> Key {
    Key { primary: [n; 16], variant: None }
}

fn write(store: &Arc<Store>, n: u8, body: &[u8]) -> Result<usize, Rejected> {
    let mut write = store.begin(key(n), &[n], store.ticket(), None)?;
    write.push(body)?;
    write.publish(b"meta")
}

fn read(body: &Body, start: usize, end: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut at = start;
    while let Some(piece) = body.read(at, end) {
        assert!(!piece.is_empty());
        at += piece.len();
        all.extend_from_slice(&piece);
    }
    all
}

#[test]
fn a_written_entry_is_read_back_whole_and_in_ranges() {
    let store = Store::new(4 << 20, 1 << 20, 4);
    for len in [0, 1, 4095, 4096, 4097, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7] {
        let body: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for piece in [1.max(len / 3), 1000, usize::MAX] {
            for expected in [None, Some(len as u64)] {
                let mut write = store.begin(key(1), b"k", store.ticket(), expected).unwrap();
                for part in body.chunks(piece) {
                    write.push(part).unwrap();
                }
                let cost = write.publish(b"meta").unwrap();
                assert_eq!(cost, len + len.div_ceil(BLOCK) * BLOCK_OVERHEAD + 1 + 4 + ENTRY_OVERHEAD);
                assert_eq!(store.stats().bytes, cost as u64, "{len}: exact, with nothing left of the entry before");
                let entry = store.get(&key(1), b"k").unwrap();
                assert_eq!(entry.meta(), b"meta");
                assert_eq!(read(entry.body(), 0, len), body, "{len}");
                let (from, to) = (len / 3, len - len / 4);
                assert_eq!(read(entry.body(), from, to), body[from..to], "{len}");
                assert!(entry.body().read(len, len + 5).is_none());
                assert!(entry.body().read(5, 4).is_none());
            }
        }
    }
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let store = Store::new(1 << 20, 1 << 17, 1);
    let mut one = store.begin(key(1), b"k", store.ticket(), None).unwrap();
    one.push(b"half").unwrap();
    assert!(store.get(&key(1), b"k").is_none());
    assert!(store.stats().writing_bytes > 0);
    drop(one);
    assert!(store.get(&key(1), b"k").is_none());
    let stats = store.stats();
    assert_eq!((stats.bytes, stats.writing_bytes, stats.entries, stats.rejected), (0, 0, 0, 1));
}

#[test]
fn an_incomplete_body_is_not_published() {
    let store = Store::new(1 << 20, 1 << 17, 1);
    let mut short = store.begin(key(1), b"k", store.ticket(), Some(5)).unwrap();
    short.push(b"1234").unwrap();
    assert_eq!(short.publish(b""), Err(Rejected::Incomplete));
    let mut long = store.begin(key(1), b"k", store.ticket(), Some(5)).unwrap();
    assert_eq!(long.push(b"123456"), Err(Rejected::Incomplete));
    drop(long);
    assert_eq!(store.stats().entries, 0);
}

#[test]
fn too_large_is_refused_at_once_or_on_the_way() {
    let store = Store::new(1 << 20, 1000, 1);
    assert_eq!(store.begin(key(1), b"k", store.ticket(), Some(1001)).unwrap_err(), Rejected::TooLarge);
    assert_eq!(store.begin(key(1), b"k", store.ticket(), Some(u64::MAX)).unwrap_err(), Rejected::TooLarge);
    let mut write = store.begin(key(1), b"k", store.ticket(), None).unwrap();
    write.push(&[0; 1000]).unwrap();
    assert_eq!(write.push(&[0]), Err(Rejected::TooLarge));
    let write = store.begin(key(1), b"k", store.ticket(), None).unwrap();
    assert_eq!(write.publish(&vec![0; MAX_META + 1]), Err(Rejected::TooLarge));
}

#[test]
fn a_colliding_key_is_a_miss() {
    let store = Store::new(1 << 20, 1000, 1);
    write(&store, 1, b"x").unwrap();
    assert!(store.get(&key(1), &[1]).is_some());
    assert!(store.get(&key(1), b"another").is_none());
}

#[test]
fn a_purge_voids_what_was_asked_for_before_it() {
    let store = Store::new(1 << 20, 1000, 1);
    let begin = |ticket| store.begin(key(1), b"k", ticket, None).unwrap();
    let early = store.ticket();
    let running = begin(early);
    assert!(!store.purge(key(1).primary), "nothing was there");
    let late = begin(early);
    let fresh = begin(store.ticket());
    let other = store.begin(key(2), b"k", early, None).unwrap();
    assert_eq!(running.publish(b""), Err(Rejected::Purged));
    assert_eq!(late.publish(b""), Err(Rejected::Purged));
    assert!(fresh.publish(b"").is_ok());
    assert!(other.publish(b"").is_ok(), "other targets are not touched");
    assert!(store.purge(key(1).primary));
    assert!(store.get(&key(1), b"k").is_none());

    let ticket = store.ticket();
    let variant = Key { variant: Some([9; 16]), ..key(3) };
    let running = store.begin(variant, b"k", ticket, None).unwrap();
    store.purge(key(3).primary);
    assert_eq!(running.publish(b""), Err(Rejected::Purged), "variants share the fate of their primary key");

    let running = begin(store.ticket());
    assert_eq!(store.purge_all(), 1);
    assert_eq!(running.publish(b""), Err(Rejected::Purged));
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn purges_too_old_to_remember_void_all_older_writes() {
    let store = Store::new(1 << 20, 1000, 1);
    let running = store.begin(key(1), b"k", store.ticket(), None).unwrap();
    for n in 0..2000_u32 {
        let mut primary = [0; 16];
        primary[..4].copy_from_slice(&n.to_le_bytes());
        store.purge(primary);
    }
    assert_eq!(running.publish(b""), Err(Rejected::Purged));
    assert!(write(&store, 1, b"x").is_ok());
}

#[test]
fn new_metadata_goes_only_with_the_body_it_was_made_for() {
    let store = Store::new(1 << 20, 1000, 1);
    write(&store, 1, b"first").unwrap();
    let first = store.get(&key(1), &[1]).unwrap();
    assert_eq!(store.replace_meta(&key(1), first.body(), b"newer"), Ok(true));
    let second = store.get(&key(1), &[1]).unwrap();
    assert_eq!((second.meta(), read(second.body(), 0, 9)), (&b"newer"[..], b"first".to_vec()));
    write(&store, 1, b"other").unwrap();
    assert_eq!(store.replace_meta(&key(1), first.body(), b"newest"), Ok(false));
    assert_eq!(store.get(&key(1), &[1]).unwrap().meta(), b"meta");
    store.purge(key(1).primary);
    assert_eq!(store.replace_meta(&key(1), first.body(), b"newest"), Ok(false));
    drop((first, second));
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn what_is_read_stays_charged_and_is_not_evicted_first() {
    let store = Store::new(100_000, 10_000, 1);
    write(&store, 0, &[0; 5000]).unwrap();
    let reader = store.get(&key(0), &[0]).unwrap();
    for n in 1..100 {
        write(&store, n, &[0; 5000]).unwrap();
        assert!(store.stats().bytes <= 100_000);
    }
    assert!(store.get(&key(0), &[0]).is_some(), "evicting it would have freed nothing");
    store.purge(key(0).primary);
    let with_reader = store.stats().bytes;
    drop(reader);
    assert!(store.stats().bytes < with_reader, "given back with the last reader");
}

#[test]
fn writers_cannot_drive_out_what_is_stored() {
    let store = Store::new(1_000_000, 100_000, 1);
    for n in 0..5 {
        write(&store, n, &[0; 100_000]).unwrap();
    }
    let mut open = Vec::new();
    let refused = (0..50).find(|n| {
        let result = store.begin(key(100 + n), b"k", store.ticket(), Some(60_000)).and_then(|mut write| {
            write.push(&[0; 60_000])?;
            open.push(write);
            Ok(())
        });
        result == Err(Rejected::Full)
    });
    assert_eq!(refused, Some(4), "a quarter of a million bytes holds four writes of 60,000");
    assert!(store.stats().writing_bytes <= 250_000);
    assert!((0..5).all(|n| store.get(&key(n), &[n]).is_some()));
}

#[test]
fn a_scan_does_not_flush_what_is_used_again() {
    let store = Store::new(200_000, 10_000, 1);
    for n in 0..20 {
        write(&store, n, &[0; 1000]).unwrap();
    }
    for n in 0..20 {
        assert!(store.get(&key(n), &[n]).is_some());
    }
    for n in 0..5000_u16 {
        let key = Key { primary: [0; 16], variant: Some([1; 16]) };
        let mut primary = key.primary;
        primary[..2].copy_from_slice(&n.to_le_bytes());
        let mut write = store.begin(Key { primary, ..key }, b"scan", store.ticket(), None).unwrap();
        write.push(&[0; 1000]).unwrap();
        write.publish(b"meta").unwrap();
    }
    let kept = (0..20).filter(|n| store.get(&key(*n), &[*n]).is_some()).count();
    assert_eq!(kept, 20);
    assert!(store.stats().evicted > 4000);
}

#[test]
fn resizing_evicts_down_to_the_new_bound() {
    let store = Store::new(1 << 20, 10_000, 4);
    for n in 0..100 {
        write(&store, n, &[0; 5000]).unwrap();
    }
    store.resize(100_000, 2000);
    let stats = store.stats();
    assert!(stats.bytes <= 100_000 && stats.entries > 5, "{stats:?}");
    assert_eq!(write(&store, 1, &[0; 2001]), Err(Rejected::TooLarge));
}

#[derive(Debug, Clone)]
enum Step {
    Write { key: u8, len: usize, known: bool },
    Leave { key: u8, len: usize },
    Get(u8),
    Meta { key: u8, len: usize },
    Purge(u8),
    Hold(u8),
    Release,
    Clear,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), 0_usize..90_000, any::<bool>()).prop_map(|(key, len, known)| Step::Write { key: key % 40, len, known }),
        2 => (any::<u8>(), 0_usize..90_000).prop_map(|(key, len)| Step::Leave { key: key % 40, len }),
        6 => any::<u8>().prop_map(|key| Step::Get(key % 40)),
        2 => (any::<u8>(), 0_usize..3000).prop_map(|(key, len)| Step::Meta { key: key % 40, len }),
        1 => any::<u8>().prop_map(|key| Step::Purge(key % 40)),
        1 => any::<u8>().prop_map(|key| Step::Hold(key % 40)),
        1 => Just(Step::Release),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Against a model that knows what was last published under each key: what is found is that, never anything else;
    /// the bound is never passed; and at the end nothing is lost of the account.
    #[test]
    fn the_store_keeps_its_bound_and_never_answers_wrongly(
        all in proptest::collection::vec(steps(), 1..200),
        capacity in 50_000_usize..600_000,
        shards in 1_usize..4,
    ) {
        let store = Store::new(capacity, capacity / 4, shards);
        let mut model: HashMap<u8, (Vec<u8>, Vec<u8>)> = HashMap::new();
        let mut held = Vec::new();
        let mut open = Vec::new();
        for (i, step) in all.into_iter().enumerate() {
            let fill = |len: usize| vec![u8::try_from(i % 256).unwrap(); len];
            match step {
                Step::Write { key: n, len, known } => {
                    let body = fill(len);
                    let label = [n];
                    let begun = store.begin(key(n), &label, store.ticket(), known.then_some(len as u64));
                    let done = begun.and_then(|mut write| {
                        body.chunks(7000).try_for_each(|part| write.push(part))?;
                        write.publish(&i.to_le_bytes())
                    });
                    if done.is_ok() {
                        model.insert(n, (i.to_le_bytes().to_vec(), body));
                    }
                }
                Step::Leave { key: n, len } => {
                    if let Ok(mut write) = store.begin(key(n), &[n], store.ticket(), None)
                        && write.push(&fill(len)).is_ok()
                    {
                        open.push(write);
                    }
                }
                Step::Get(n) => {
                    if let Some(entry) = store.get(&key(n), &[n]) {
                        let (meta, body) = model.get(&n).expect("found what was never published");
                        prop_assert_eq!(entry.meta(), &meta[..]);
                        prop_assert_eq!(&read(entry.body(), 0, entry.body().len()), body);
                    }
                }
                Step::Meta { key: n, len } => {
                    if let Some(entry) = store.get(&key(n), &[n])
                        && store.replace_meta(&key(n), entry.body(), &fill(len)) == Ok(true)
                    {
                        model.get_mut(&n).expect("found what was never published").0 = fill(len);
                    }
                }
                Step::Purge(n) => {
                    store.purge(key(n).primary);
                    prop_assert!(store.get(&key(n), &[n]).is_none());
                    model.remove(&n);
                }
                Step::Hold(n) => held.extend(store.get(&key(n), &[n])),
                Step::Release => {
                    held.clear();
                    open.clear();
                }
                Step::Clear => {
                    store.purge_all();
                    model.clear();
                }
            }
            let stats = store.stats();
            prop_assert!(stats.bytes <= capacity as u64, "{:?}", stats);
            prop_assert!(stats.writing_bytes <= capacity as u64 / 4, "{:?}", stats);
            prop_assert!(stats.entries <= model.len() as u64);
        }
        drop((held, open));
        store.purge_all();
        let stats = store.stats();
        prop_assert_eq!((stats.bytes, stats.writing_bytes, stats.entries), (0, 0, 0));
    }
}

#[test]
fn many_threads_keep_the_bound_and_never_see_a_torn_entry() {
    let store = Store::new(2_000_000, 200_000, 4);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let store = &store;
            scope.spawn(move || {
                let mut random = u64::from(thread) + 1;
                let mut next = || {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random
                };
                let mut held = Vec::new();
                for _ in 0..3000 {
                    let n = u8::try_from(next() % 50).unwrap();
                    match next() % 10 {
                        0..3 => {
                            // The body repeats one byte, which the metadata names, as long as the metadata says.
                            let byte = u8::try_from(next() % 256).unwrap();
                            let len = usize::try_from(next() % 150_000).unwrap();
                            let meta = [&[byte][..], &len.to_le_bytes()].concat();
                            if let Ok(mut write) = store.begin(key(n), &[n], store.ticket(), None)
                                && vec![byte; len].chunks(50_000).all(|part| write.push(part).is_ok())
                                && next() % 5 > 0
                            {
                                let _ = write.publish(&meta);
                            }
                        }
                        3..9 => {
                            if let Some(entry) = store.get(&key(n), &[n]) {
                                let (byte, len) = entry.meta().split_first().unwrap();
                                assert_eq!(len, entry.body().len().to_le_bytes());
                                let piece = entry.body().read(0, entry.body().len()).unwrap_or_default();
                                assert!(piece.iter().all(|b| b == byte));
                                held.push(entry);
                                if held.len() > 5 {
                                    held.clear();
                                }
                            }
                        }
                        _ => {
                            store.purge(key(n).primary);
                        }
                    }
                    assert!(store.stats().bytes <= 2_000_000);
                }
            });
        }
    });
    store.purge_all();
    let stats = store.stats();
    assert_eq!((stats.bytes, stats.writing_bytes, stats.entries), (0, 0, 0));
    assert!(stats.published > 0 && stats.hits > 0 && stats.evicted > 0, "{stats:?}");
}
