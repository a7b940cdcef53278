use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GENEROUS: Limits = Limits {
    size: 64 << 20,
    age: Duration::from_secs(3600),
};

fn sequenced(payload: &[u8]) -> Sequenced<String> {
    Sequenced::decode(payload).unwrap()
}

fn drain(queue: &mut Queue, lane: Lane) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let mut after = 0;
    while let Some((sequence, payload)) = queue.peek(lane, after) {
        let message = sequenced(&payload);
        assert_eq!(message.sequence, sequence);
        found.push((sequence, message.message));
        after = sequence;
    }
    found
}

fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
        })
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect()
}

#[test]
fn reports_survive_and_keep_their_order_and_queue() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    for message in ["a", "b", "c"] {
        queue.push(Lane::Report, message).sync().unwrap();
    }
    let number = sequenced(&queue.peek(Lane::Report, 0).unwrap().1).queue;
    queue.acknowledge(Lane::Report, 1);
    drop(queue);

    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    let found = drain(&mut queue, Lane::Report);
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    // "a" comes again: its file still holds others. The server drops it.
    assert!(texts == ["a", "b", "c"] || texts == ["b", "c"], "{texts:?}");
    queue.push(Lane::Report, "d").sync().unwrap();
    let (sequence, payload) = queue.peek(Lane::Report, 3).unwrap();
    assert!(sequence > 3);
    assert_eq!(sequenced(&payload).queue, number);
}

#[test]
fn what_may_be_lost_is_safe_with_the_next_report_or_flush() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    for message in ["a", "b"] {
        queue.push_unhurried(Lane::Report, message);
    }
    // The file is new, and was never synced: neither it nor its name is safe yet.
    let unsynced = queue.push(Lane::Report, "c");
    assert_eq!(unsynced.directory.as_deref(), Some(folder.path()));
    assert_eq!(unsynced.files.len(), 1);
    assert!(queue.flush().is_empty());
    queue.push_unhurried(Lane::Report, "d");
    assert_eq!(queue.flush().files.len(), 1);
    assert_eq!(drain(&mut queue, Lane::Report).len(), 4);
}

#[test]
fn what_is_acknowledged_is_gone_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    for _ in 0..100 {
        queue.push(Lane::Report, "x".repeat(2000)).sync().unwrap();
    }
    assert!(files(folder.path()).len() > 2);
    queue.acknowledge(Lane::Report, 100);
    assert_eq!(files(folder.path()).values().sum::<u64>(), 0);
    assert_eq!(queue.status().bytes, 0);
    queue.push(Lane::Report, "y").sync().unwrap();
    drop(queue);
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    let found = drain(&mut queue, Lane::Report);
    assert_eq!(found, [(101, "y".to_owned())]);
}

#[test]
fn telemetry_that_is_acknowledged_in_time_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    for sequence in 1..=50 {
        assert!(queue.push(Lane::Telemetry, "sample").is_empty());
        assert!(queue.peek(Lane::Telemetry, sequence - 1).is_some());
        queue.acknowledge(Lane::Telemetry, sequence);
    }
    assert!(queue.flush().is_empty());
    assert_eq!(files(folder.path()).len(), 0);
}

#[test]
fn sequence_numbers_are_not_reused_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut highest = 0;
    for _ in 0..3 {
        // Dropped without `close`, as in a crash; nothing of it was written.
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        for _ in 0..RESERVED_BLOCK + 3 {
            queue.push(Lane::Telemetry, "t");
        }
        let found = drain(&mut queue, Lane::Telemetry);
        assert!(found[0].0 > highest);
        highest = found.last().unwrap().0;
    }
}

#[test]
fn a_clean_end_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3u64 {
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        queue.push(Lane::Telemetry, "t");
        queue.close().unwrap();
        let found = drain(&mut queue, Lane::Telemetry);
        assert_eq!(found.last().unwrap().0, round + 1);
    }
}

#[test]
fn the_oldest_telemetry_makes_room_and_reports_stay() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        size: 400 << 10,
        ..GENEROUS
    };
    let mut queue = Queue::open(folder.path(), limits).unwrap();
    queue.push(Lane::Report, "keep me").sync().unwrap();
    for number in 0..1000 {
        queue.push(Lane::Telemetry, format!("{number} {}", "x".repeat(1000)));
        assert!(queue.status().bytes <= limits.size);
    }
    let status = queue.status();
    let found = drain(&mut queue, Lane::Telemetry);
    assert_eq!(status.dropped_telemetry, 1000 - found.len() as u64);
    assert!(found.len() > 200, "{}", found.len());
    assert!(found.last().unwrap().1.starts_with("999 "));
    assert_eq!(drain(&mut queue, Lane::Report).len(), 1);
    assert_eq!(status.dropped_reports, 0);
}

#[test]
fn old_telemetry_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        age: Duration::ZERO,
        ..GENEROUS
    };
    let mut queue = Queue::open(folder.path(), limits).unwrap();
    queue.push(Lane::Report, "r").sync().unwrap();
    queue.push(Lane::Telemetry, "t");
    let start = now_ms();
    while now_ms() <= start {
        std::hint::spin_loop();
    }
    assert!(queue.peek(Lane::Telemetry, 0).is_none());
    assert!(queue.peek(Lane::Report, 0).is_some());
    assert_eq!(queue.status().dropped_telemetry, 1);
}

#[test]
fn what_the_server_cannot_take_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    let large = "x".repeat(MAX_PAYLOAD);
    assert!(queue.push(Lane::Report, &large).is_empty());
    queue.push_volatile(Lane::Report, &large);
    queue.push(Lane::Telemetry, &large);
    assert!(queue.peek(Lane::Report, 0).is_none() && queue.peek(Lane::Telemetry, 0).is_none());
    queue.push(Lane::Telemetry, "one");
    queue.push(Lane::Telemetry, "two");
    let (sequence, _) = queue.peek(Lane::Telemetry, 0).unwrap();
    queue.refuse(Lane::Telemetry, sequence);
    let status = queue.status();
    assert_eq!((status.dropped_reports, status.dropped_telemetry), (2, 2));
    assert_eq!(drain(&mut queue, Lane::Telemetry).len(), 1);
}

#[test]
fn volatile_messages_go_with_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    queue.push(Lane::Report, "a").sync().unwrap();
    queue.push_volatile(Lane::Report, "inventory");
    queue.push(Lane::Report, "b").sync().unwrap();
    let sequences: Vec<u64> = drain(&mut queue, Lane::Report).iter().map(|(n, _)| *n).collect();
    assert_eq!(sequences, [1, 2, 3]);
    queue.drop_volatile();
    let sequences: Vec<u64> = drain(&mut queue, Lane::Report).iter().map(|(n, _)| *n).collect();
    assert_eq!(sequences, [1, 3]);
}

#[test]
fn a_disk_that_takes_nothing_leaves_messages_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (place, elsewhere) = (folder.path().join("queue"), folder.path().join("gone"));
    let mut queue = Queue::open(&place, GENEROUS).unwrap();
    fs::rename(&place, &elsewhere).unwrap();
    queue.push(Lane::Report, "a");
    queue.push(Lane::Report, "b");
    assert!(queue.status().fault.is_some());
    assert_eq!(drain(&mut queue, Lane::Report).len(), 2);

    for _ in 0..1000 {
        queue.push(Lane::Report, "x".repeat(1000));
    }
    assert!(queue.status().bytes < 256 << 10 && queue.status().dropped_reports > 0);

    fs::rename(&elsewhere, &place).unwrap();
    queue.flush().sync().unwrap();
    assert_eq!(queue.status().fault, None);
    let kept = drain(&mut queue, Lane::Report);
    drop(queue);
    let mut queue = Queue::open(&place, GENEROUS).unwrap();
    assert_eq!(drain(&mut queue, Lane::Report), kept);
}

#[test]
fn an_agent_on_a_full_disk_starts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // What would be renamed to `queue.json` cannot be written.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("queue.new")).unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    queue.push(Lane::Telemetry, "t");
    assert!(queue.status().fault.is_some());
    assert!(queue.peek(Lane::Telemetry, 0).is_some());

    fs::remove_file(folder.path().join("queue.new")).unwrap();
    queue.push(Lane::Telemetry, "t");
    assert_eq!(
        queue.status().fault,
        None,
        "one message later, not one flush later"
    );
}

#[test]
fn a_damaged_own_file_starts_a_new_queue_and_keeps_the_messages() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    queue.push(Lane::Report, "a").sync().unwrap();
    let old = sequenced(&queue.peek(Lane::Report, 0).unwrap().1).queue;
    drop(queue);
    fs::write(meta_path(folder.path()), "{").unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    queue.push(Lane::Report, "b").sync().unwrap();
    let (first, payload) = queue.peek(Lane::Report, 0).unwrap();
    assert_eq!(sequenced(&payload).queue, old);
    let (_, payload) = queue.peek(Lane::Report, first).unwrap();
    assert_ne!(sequenced(&payload).queue, old);
}

#[test]
fn the_own_file_of_older_agents_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let content = r#"{"queue":5,"reports":64,"telemetry":128}"#;
    fs::write(meta_path(folder.path()), content).unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    for (lane, next) in [(Lane::Report, 65), (Lane::Telemetry, 129)] {
        queue.push(lane, "a");
        let (sequence, payload) = queue.peek(lane, 0).unwrap();
        assert_eq!((sequence, sequenced(&payload).queue), (next, 5));
    }
    queue.close().unwrap();
    let content = fs::read_to_string(meta_path(folder.path())).unwrap();
    assert_eq!(content, r#"{"queue":5,"reports":65,"telemetry":129}"#);
    drop(queue);

    // Without the numbers of a lane it cannot be told which of them were used.
    fs::write(meta_path(folder.path()), r#"{"queue":5,"reports":65}"#).unwrap();
    let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
    queue.push(Lane::Telemetry, "b");
    let (_, payload) = queue.peek(Lane::Telemetry, 129).unwrap();
    assert_ne!(sequenced(&payload).queue, 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a power cut leaves of the newest file, what was whole is found again, in order, and no more.
    #[test]
    fn a_torn_file_keeps_what_was_whole(
        lengths in prop::collection::vec(0usize..3000, 1..60),
        acknowledged in 0usize..60,
        cut in 0.0f64..=1.0,
        garbage in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        // Length of the newest file after each message: what a sync at that moment has made safe.
        let mut safe = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            queue.push(Lane::Report, format!("{number} {}", "x".repeat(*length))).sync().unwrap();
            let (path, end) = files(folder.path()).pop_last().unwrap();
            safe.push((path, end));
        }
        let acknowledged = acknowledged.min(lengths.len() - 1);
        queue.acknowledge(Lane::Report, acknowledged as u64);
        drop(queue);

        let (newest, length) = files(folder.path()).pop_last().unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a share of a short file")]
        let left = (length as f64 * cut) as u64;
        let mut content = fs::read(&newest).unwrap();
        content.truncate(usize::try_from(left).unwrap());
        content.extend(&garbage);
        fs::write(&newest, &content).unwrap();

        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        let found = drain(&mut queue, Lane::Report);
        let numbers: Vec<usize> =
            found.iter().map(|(_, text)| text.split(' ').next().unwrap().parse().unwrap()).collect();
        let must_live: Vec<usize> = (acknowledged..lengths.len())
            .filter(|number| safe[*number].0 != newest || safe[*number].1 <= left)
            .collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", numbers);
        for number in must_live {
            prop_assert!(numbers.contains(&number), "{} of {:?}", number, numbers);
        }

        // And it goes on: nothing new is hidden by the torn end, and no number is used twice.
        queue.push(Lane::Report, "new".to_owned()).sync().unwrap();
        drop(queue);
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        let last = drain(&mut queue, Lane::Report).pop().unwrap();
        prop_assert_eq!(last.1, "new");
        prop_assert!(last.0 > lengths.len() as u64);
    }

    /// Damage anywhere costs messages, but never order, and never the agent.
    #[test]
    fn flipped_bits_are_noticed(at in 0usize..10_000, bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        for number in 0..20 {
            queue.push(Lane::Report, format!("{number} {}", "x".repeat(400))).sync().unwrap();
        }
        drop(queue);
        let (path, _) = files(folder.path()).pop_last().unwrap();
        let mut content = fs::read(&path).unwrap();
        let at = at % content.len();
        content[at] ^= 1 << bit;
        fs::write(&path, &content).unwrap();
        let mut queue = Queue::open(folder.path(), GENEROUS).unwrap();
        let found = drain(&mut queue, Lane::Report);
        prop_assert!(found.len() < 20);
        for (index, (_, text)) in found.iter().enumerate() {
            prop_assert_eq!(text, &format!("{index} {}", "x".repeat(400)));
        }
    }
}
