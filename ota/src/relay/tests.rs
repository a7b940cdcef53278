use std::{path::Path, sync::atomic::Ordering, time::Duration};

use http::StatusCode;

use super::*;
use crate::testing::{Faults, Server, eventually, get};

const SIZE: usize = 3 * 1024 * 1024 + 4321;

fn config(dir: &Path) -> RelayConfig {
    RelayConfig {
        dir: dir.join("cache"),
        cache_limit: 1 << 30,
        reserve: 0,
        patience: Duration::from_secs(60),
        max_backoff: Duration::from_millis(20),
    }
}

async fn open(server: &Server, config: RelayConfig) -> Relay {
    Relay::open(config, server.offer.clone(), server.upstream.subscribe(), None)
        .await
        .unwrap()
}

#[tokio::test]
async fn serves_all_and_parts_and_fetches_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    let relay = open(&server, config(dir.path())).await;
    let url = relay.url();
    let (status, magic) = get(&url, Some("bytes=0-3")).await.unwrap();
    assert_eq!(
        (status, &magic[..]),
        (StatusCode::PARTIAL_CONTENT, &server.bundle[..4])
    );
    let (_, tail) = get(&url, Some("bytes=-100")).await.unwrap();
    assert_eq!(tail, server.bundle[SIZE - 100..]);
    let ranges = (0..8).map(|n| (n * 300_000, n * 300_000 + 400_000));
    let reads = ranges.map(|(first, last)| {
        let (url, wanted) = (url.clone(), server.bundle[first..=last].to_vec());
        tokio::spawn(async move {
            let (_, part) = get(&url, Some(&format!("bytes={first}-{last}"))).await.unwrap();
            assert_eq!(part, wanted);
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    let (status, everything) = get(&url, None).await.unwrap();
    assert_eq!((status, &everything[..]), (StatusCode::OK, &server.bundle[..]));
    assert_eq!(server.seen.bytes.load(Ordering::Relaxed), SIZE as u64);
    assert_eq!(relay.bytes_fetched(), SIZE as u64);
    assert_eq!(
        server.seen.connections.load(Ordering::Relaxed),
        1,
        "the connection is kept"
    );
    assert_eq!(
        get(&url, Some("bytes=99999999-")).await.unwrap().0,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
    let elsewhere = url.replace(&relay.address().secret, "guess");
    assert_eq!(get(&elsewhere, None).await.unwrap().0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_that_breaks_all_the_time_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    server.set(Faults {
        cut_after: Some(200_000),
        ..Faults::default()
    });
    let relay = open(&server, config(dir.path())).await;
    let (_, everything) = get(&relay.url(), None).await.unwrap();
    assert_eq!(everything, server.bundle[..]);
    assert!(relay.troubles() > 5);
    let bytes = relay.bytes_fetched();
    assert!(bytes * 10 <= SIZE as u64 * 11, "{bytes} bytes for {SIZE}");
}

#[tokio::test]
async fn an_outage_is_a_long_response() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    server.set(Faults {
        status: Some(StatusCode::BAD_GATEWAY),
        ..Faults::default()
    });
    let relay = open(&server, config(dir.path())).await;
    let url = relay.url();
    let read = tokio::spawn(async move { get(&url, Some("bytes=0-99999")).await.unwrap() });
    eventually("trouble", async || {
        relay.trouble().is_some_and(|trouble| trouble.contains("502"))
    })
    .await;
    server.set(Faults::default());
    assert_eq!(read.await.unwrap().1, server.bundle[..100_000]);
    assert_eq!(relay.trouble(), None);
}

#[tokio::test]
async fn the_cache_survives_a_restart_and_damage() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    let relay = open(&server, config(dir.path())).await;
    get(&relay.url(), Some("bytes=0-999999")).await.unwrap();
    let address = relay.address().clone();
    let before = relay.bytes_fetched();
    drop(relay);

    // Power cut: the blocks of the second half of what was written are gone, and the index knows nothing of it.
    let blocks = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("cache/bundle.blocks"))
        .unwrap();
    blocks.set_len(500_000).unwrap();
    blocks.set_len(SIZE as u64).unwrap();
    let mut reopened = None;
    for _ in 0..500 {
        // The old listener is closed by a task of its own.
        let relay = Relay::open(
            config(dir.path()),
            server.offer.clone(),
            server.upstream.subscribe(),
            Some(address.clone()),
        );
        let relay = relay.await.unwrap();
        if *relay.address() == address {
            reopened = Some(relay);
            break;
        }
    }
    let relay = reopened.expect("the same address again");
    let (_, everything) = get(&relay.url(), None).await.unwrap();
    assert_eq!(everything, server.bundle[..]);
    let bytes = server.seen.bytes.load(Ordering::Relaxed);
    assert!(
        bytes > SIZE as u64 && bytes <= SIZE as u64 + before - 450_000,
        "{bytes}"
    );
}

#[tokio::test]
async fn what_never_gets_better_ends_with_its_reason() {
    let cases = [
        (
            Faults {
                status: Some(StatusCode::NOT_FOUND),
                ..Faults::default()
            },
            FailureCode::BundleGone,
        ),
        (
            Faults {
                status: Some(StatusCode::GONE),
                ..Faults::default()
            },
            FailureCode::BundleGone,
        ),
        (
            Faults {
                etag: Some("\"other\"".into()),
                ..Faults::default()
            },
            FailureCode::Corrupt,
        ),
        (
            Faults {
                status: Some(StatusCode::OK),
                ..Faults::default()
            },
            FailureCode::Corrupt,
        ),
        (
            Faults {
                size: Some(1000),
                ..Faults::default()
            },
            FailureCode::Truncated,
        ),
        (
            Faults {
                status: Some(StatusCode::RANGE_NOT_SATISFIABLE),
                ..Faults::default()
            },
            FailureCode::Truncated,
        ),
    ];
    for (faults, code) in cases {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(SIZE).await;
        server.set(faults.clone());
        let relay = open(&server, config(dir.path())).await;
        assert_eq!(relay.prefetch().await.unwrap_err().code, code, "{faults:?}");
        assert_eq!(
            get(&relay.url(), Some("bytes=0-3")).await.unwrap().0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(relay.fatal().unwrap().code, code);
    }
}

#[tokio::test]
async fn patience_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    server.set(Faults {
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        ..Faults::default()
    });
    let config = RelayConfig {
        patience: Duration::from_millis(300),
        ..config(dir.path())
    };
    let relay = open(&server, config).await;
    let reason = relay.prefetch().await.unwrap_err();
    assert_eq!(reason.code, FailureCode::Network);
    assert!(reason.detail.contains("503"), "{}", reason.detail);
}

#[tokio::test]
async fn a_full_disk_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    let small = RelayConfig {
        cache_limit: 500_000,
        ..config(dir.path())
    };
    let relay = open(&server, small).await;
    relay.prefetch().await.unwrap();
    assert_eq!(get(&relay.url(), None).await.unwrap().0, StatusCode::NOT_FOUND);
    assert_eq!(relay.fatal().unwrap().code, FailureCode::DiskFull);
    drop(relay);

    let crowded = RelayConfig {
        reserve: u64::MAX / 2,
        ..config(dir.path())
    };
    let relay = open(&server, crowded).await;
    assert_eq!(
        relay.shared.ensure(20, 20).await.unwrap_err().code,
        FailureCode::DiskFull
    );
    assert_eq!(
        relay.check_space_for_all().unwrap_err().code,
        FailureCode::DiskFull
    );
}

#[tokio::test]
async fn enospc_is_a_full_disk() {
    let error = io::Error::from(io::ErrorKind::StorageFull);
    assert_eq!(cache_reason(&error).code, FailureCode::DiskFull);
    let error = io::Error::from_raw_os_error(nix::errno::Errno::EDQUOT as i32);
    assert_eq!(cache_reason(&error).code, FailureCode::DiskFull);
}

#[tokio::test]
async fn a_refusal_ends_a_waiting_response() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    server.upstream.send_replace(None);
    let relay = open(&server, config(dir.path())).await;
    let url = relay.url();
    let read = tokio::spawn(async move { get(&url, Some("bytes=0-3")).await.unwrap().0 });
    eventually("waiting", async || {
        relay
            .trouble()
            .is_some_and(|trouble| trouble.contains("not paired"))
    })
    .await;
    relay.refuse(&Reason::new(FailureCode::Cancelled, "test"));
    assert_eq!(read.await.unwrap(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_identity_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(SIZE).await;
    let right = server.upstream.borrow().clone();
    let stranger = Server::start(SIZE).await.upstream.borrow().clone().unwrap();
    let wrong = right.clone().map(|right| Upstream {
        tls: stranger.tls,
        ..right
    });
    server.upstream.send_replace(wrong);
    let relay = open(&server, config(dir.path())).await;
    let url = relay.url();
    let read = tokio::spawn(async move { get(&url, Some("bytes=0-3")).await.unwrap().0 });
    eventually("refused", async || {
        relay
            .trouble()
            .is_some_and(|trouble| trouble.contains("certificate"))
    })
    .await;
    assert_eq!(
        relay.bytes_fetched(),
        0,
        "a server that cannot be verified is not listened to"
    );
    server.upstream.send_replace(right);
    assert_eq!(read.await.unwrap(), StatusCode::PARTIAL_CONTENT);
}
