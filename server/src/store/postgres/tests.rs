//! Against a real PostgreSQL: `scripts/with-postgres`.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Address, AddressError};
use crate::store::{Database, Paging, Store, StoreError, Tx, copy, schema};

const NEEDS: &str = "needs a PostgreSQL: scripts/with-postgres";

fn variable(name: &str) -> String {
    env::var(name).expect(NEEDS)
}

/// Address of the database of this directory.
fn socket(directory: &Path) -> String {
    homeport_testkit::postgres::database(directory).expect(NEEDS)
}

/// The same by TCP.
fn network(directory: &Path) -> String {
    let address = socket(directory);
    let (_, name) = address.rsplit_once('/').unwrap();
    format!("{}/{name}", variable("HOMEPORT_TEST_POSTGRES_TLS"))
}

fn password_file() -> PathBuf {
    variable("HOMEPORT_TEST_POSTGRES_PASSWORD_FILE").into()
}

fn open(address: &str, directory: &Path) -> Result<Store, StoreError> {
    let address = Address::parse(address, Some(&password_file()), None).unwrap();
    Store::open(&Database::Postgres(address), directory)
}

async fn groups(store: &Store) -> Vec<String> {
    let read = store.read(|tx| tx.groups(crate::access::EVERYTHING, &Paging::first(100)));
    let groups = read.await.unwrap().items;
    groups.into_iter().map(|group| group.name).collect()
}

/// Opens a database whose last server says goodbye in its own time.
fn open_when_free(address: &str, directory: &Path) -> Store {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match open(address, directory) {
            Ok(store) => return store,
            Err(error) => assert!(
                matches!(error, StoreError::InUse | StoreError::Locked(_)) && Instant::now() < end,
                "{error}"
            ),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a proxy does with the next commit that passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Never,
    /// The database does not get to know of it.
    Before,
    /// The server does not get the answer.
    After,
}

/// A way to the database that can be cut.
struct Proxy {
    port: u16,
    cut: Arc<Mutex<Cut>>,
}

impl Proxy {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(Mutex::new(Cut::Never));
        let shared = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = TcpStream::connect(("localhost", to)).unwrap();
                Self::pass(&client.unwrap(), &server, &shared);
            }
        });
        Self { port, cut }
    }

    fn pass(client: &TcpStream, server: &TcpStream, cut: &Arc<Mutex<Cut>>) {
        let close = |one: &TcpStream, other: &TcpStream| {
            let _ = (one.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
        };
        let deaf = Arc::new(Mutex::new(false));
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (cut, heard) = (Arc::clone(cut), Arc::clone(&deaf));
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let is_commit = buffer[..length].windows(6).any(|window| window == b"COMMIT");
                let now = if is_commit {
                    std::mem::replace(&mut *cut.lock(), Cut::Never)
                } else {
                    Cut::Never
                };
                if now == Cut::Before {
                    break;
                }
                *heard.lock() = now == Cut::After;
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            close(&from, &to);
        });
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if *deaf.lock() || to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            close(&from, &to);
        });
    }

    /// A store that reaches its database through this.
    fn open(directory: &Path) -> (Self, Store) {
        let address = network(directory);
        let (cluster, name) = address.rsplit_once('/').unwrap();
        let (_, port) = cluster.rsplit_once(':').unwrap();
        let proxy = Self::start(port.parse().unwrap());
        let address = format!(
            "postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable",
            proxy.port
        );
        let store = open(&address, directory).unwrap();
        (proxy, store)
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn who_loses_a_race_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let address = socket(directory.path());
    let store = Store::for_test(directory.path());
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let job = move |tx: &Tx| {
        let count: i64 = tx.value("SELECT count(*) FROM groups", &[])?;
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            // Somebody who counts too, and was quicker.
            homeport_testkit::postgres::with(&address, |client| {
                client.batch_execute(
                    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM groups; \
                     INSERT INTO groups (name) VALUES ('other'); COMMIT",
                )
            })
            .unwrap();
        }
        tx.create_group(&format!("group-{count}"), "")
    };
    assert!(store.write(job).await.unwrap());
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(groups(&store).await, ["group-1", "other"]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn a_lost_connection_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, store) = Proxy::open(directory.path());
    for (number, cut, expected) in [(1_u32, Cut::Before, 2), (2, Cut::After, 1), (3, Cut::Never, 1)] {
        *proxy.cut.lock() = cut;
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let job = move |tx: &Tx| {
            counted.fetch_add(1, Ordering::Relaxed);
            tx.audit(i64::from(number), "", "a", "test", "b", "")
        };
        store.write(job).await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), expected, "{cut:?}");
        let count: u32 = store
            .read(|tx| tx.value("SELECT count(*) FROM audit", &[]))
            .await
            .unwrap();
        assert_eq!(count, number, "{cut:?}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn a_connection_that_is_lost_in_a_job_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    let first = Mutex::new(true);
    let job = move |tx: &Tx| {
        if std::mem::take(&mut *first.lock()) {
            tx.value::<bool>("SELECT pg_terminate_backend(pg_backend_pid())", &[])?;
        }
        tx.create_group("a", "")
    };
    assert!(store.write(job).await.unwrap());
    // Those that read were lost as well.
    assert_eq!(groups(&store).await, ["a"]);
    homeport_testkit::postgres::with(&socket(directory.path()), |client| {
        client.batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
    })
    .unwrap();
    assert_eq!(groups(&store).await, ["a"]);
    assert!(store.write(|tx| tx.create_group("b", "")).await.unwrap());
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn one_job_that_fails_hurts_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    // Keeps the writer busy, so that the others are one batch.
    let busy = store.write(move |_| Ok::<_, StoreError>(released.lock().recv().is_ok()));
    let others = (0..20).map(|number| {
        store.write(move |tx| {
            tx.create_group(&format!("{number:02}"), "")?;
            if number % 3 == 0 {
                // The transaction is broken from here on.
                tx.execute(
                    "INSERT INTO group_devices (name, device) VALUES ('none', 'none')",
                    &[],
                )?;
            }
            Ok::<_, StoreError>(())
        })
    });
    let others = futures_util::future::join_all(others);
    let release = async move {
        release.send(()).unwrap();
    };
    let (busy, others, ()) = tokio::join!(busy, others, release);
    busy.unwrap();
    let failed: Vec<_> = others.iter().map(Result::is_err).collect();
    assert_eq!(failed, (0..20).map(|number| number % 3 == 0).collect::<Vec<_>>());
    assert_eq!(groups(&store).await.len(), 13);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn one_server_uses_a_database() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = socket(directory.path());
    let store = open(&address, directory.path()).unwrap();
    assert!(matches!(open(&address, other.path()), Err(StoreError::InUse)));
    drop(store);
    open_when_free(&address, other.path());
}

/// What this server has in memory is older than what another one wrote while the connection was lost.
#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn a_server_ends_when_another_has_written_meanwhile() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = socket(directory.path());
    let store = open(&address, directory.path()).unwrap();
    assert!(store.write(|tx| tx.create_group("mine", "")).await.unwrap());
    homeport_testkit::postgres::with(&address, |client| {
        client.batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
    })
    .unwrap();
    let second = open(&address, other.path()).unwrap();
    assert!(second.write(|tx| tx.create_group("theirs", "")).await.unwrap());
    drop(second);
    let refused = store.write(|tx| tx.create_group("late", "")).await;
    assert!(matches!(refused, Err(StoreError::Superseded)), "{refused:?}");
    store.closed().await;
    let third = open_when_free(&address, other.path());
    assert_eq!(groups(&third).await, ["mine", "theirs"]);
}

/// A listener that takes connections and says nothing keeps nobody.
#[test]
#[ignore = "needs a PostgreSQL"]
fn a_silent_host_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = format!("postgres://me@127.0.0.1:{port}/name?sslmode=disable");
    let address = Address::parse(&address, None, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open(&Database::Postgres(address), directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn a_newer_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let address = socket(directory.path());
    homeport_testkit::postgres::with(&address, |client| {
        client.batch_execute(
            "CREATE TABLE homeport (version BIGINT NOT NULL, batch BIGINT NOT NULL); INSERT INTO homeport VALUES (1000, 0)",
        )
    })
    .unwrap();
    let error = open(&address, directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 1000, .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn an_older_database_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let address = socket(directory.path());
    homeport_testkit::postgres::with(&address, |client| {
        client.batch_execute(include_str!("../schema/postgres/5.sql"))?;
        client.batch_execute(
            "CREATE TABLE homeport (version BIGINT NOT NULL, batch BIGINT NOT NULL); INSERT INTO homeport VALUES (5, 7);
             INSERT INTO groups (name) VALUES ('old')",
        )
    })
    .unwrap();
    let store = open(&address, directory.path()).unwrap();
    assert_eq!(groups(&store).await, ["old"]);
    let commands = store.read(|tx| tx.value::<i64>("SELECT count(*) FROM commands", &[]));
    assert_eq!(commands.await.unwrap(), 0);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn a_read_that_nobody_waits_for_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    let active = || {
        homeport_testkit::postgres::with(&socket(directory.path()), |client| {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' \
                         AND state = 'active' AND pid <> pg_backend_pid()";
            client.query_one(query, &[]).unwrap().get::<_, i64>(0)
        })
    };
    let sleeping: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let slept: Result<bool, StoreError> = store
                    .read_long(|tx| tx.value("SELECT pg_sleep(3600) IS NULL", &[]))
                    .await;
                slept
            })
        })
        .collect();
    while active() < 2 {
        tokio::task::yield_now().await;
    }
    for task in sleeping {
        task.abort();
    }
    while active() > 0 {
        tokio::task::yield_now().await;
    }
    // Their places are free, and no late message ends what comes next.
    for _ in 0..20 {
        let one: i64 = store
            .read_long(|tx| tx.value("SELECT CAST(1 AS BIGINT)", &[]))
            .await
            .unwrap();
        assert_eq!(one, 1);
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn readers_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    assert!(store.read(|tx| tx.create_group("a", "")).await.is_err());
    assert!(groups(&store).await.is_empty());
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn text_without_a_place_in_postgresql_is_changed_and_not_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    let found = store.write(|tx| {
        tx.insert_device(0, "a", "n\0me", None, "")?;
        tx.device_name("a")
    });
    assert_eq!(found.await.unwrap().unwrap(), "n\u{fffd}me");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn over_a_network_the_database_proves_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let address = network(directory.path());
    let authority = PathBuf::from(variable("HOMEPORT_TEST_POSTGRES_CA"));
    let password = password_file();
    let open = |address: &str, authority: &Path| {
        let address = Address::parse(address, Some(&password), Some(authority)).unwrap();
        Store::open(&Database::Postgres(address), directory.path())
    };
    let store = open(&address, &authority).unwrap();
    let read =
        store.read(|tx| tx.value::<bool>("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]));
    assert!(read.await.unwrap(), "the connection is TLS");
    drop(store);
    let other = homeport_testkit::Authority::new("other").pem();
    let file = directory.path().join("other.pem");
    std::fs::write(&file, other).unwrap();
    let error = open(&address, &file).unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    let error = open(&address.replace("localhost", "127.0.0.1"), &authority)
        .unwrap_err()
        .to_string();
    assert!(error.contains("NotValidForName"), "{error}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn of_several_hosts_one_that_takes_writes_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let address = network(directory.path());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let several = address.replace("@localhost", &format!("@127.0.0.1:{closed},localhost"));
    let store = open(&format!("{several}?sslmode=disable"), directory.path()).unwrap();
    assert!(store.write(|tx| tx.create_group("a", "")).await.unwrap());
    drop(store);
    // As on a standby.
    let (_, name) = address.rsplit_once('/').unwrap();
    let readonly = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    homeport_testkit::postgres::with(&socket(directory.path()), move |client| {
        client.batch_execute(&readonly)
    })
    .unwrap();
    let error = open(&format!("{address}?sslmode=disable"), directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error}");
}

/// As `schema::tests` asks of SQLite: a query scans a large table only where it may.
#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn every_query_finds_its_rows_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::for_test(directory.path()));
    let slow = homeport_testkit::postgres::with(&socket(directory.path()), |client| {
        // Empty tables are scanned otherwise.
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET plan_cache_mode = force_generic_plan",
            )
            .unwrap();
        let mut slow = Vec::new();
        for query in schema::tests::all_queries() {
            // It looks at all certificates, every ten minutes.
            let prunes = query.starts_with("DELETE FROM certificates WHERE hash IN ( SELECT old.hash");
            let mut whole = schema::tests::WHOLE.iter();
            if prunes || whole.any(|(start, _)| query.starts_with(start)) {
                continue;
            }
            let count = (1..50)
                .take_while(|number| query.contains(&format!("?{number}")))
                .count();
            let prepared = query.replace('?', "$");
            client.batch_execute(&format!("PREPARE q AS {prepared}")).unwrap();
            let params = vec!["NULL"; count].join(", ");
            let params = if count == 0 {
                String::new()
            } else {
                format!("({params})")
            };
            let plan: Vec<String> = client
                .query(&format!("EXPLAIN EXECUTE q{params}"), &[])
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            client.batch_execute("DEALLOCATE q").unwrap();
            // A node of the plan begins with its table; a condition of the index is among the lines that follow.
            let plan = plan.join("\n");
            let scans = plan.split("->").any(|node| {
                let table = node
                    .split_once(" on ")
                    .and_then(|(_, rest)| rest.split_whitespace().next());
                table.is_some_and(|table| schema::tests::LARGE.contains(&table))
                    && node.contains("Scan")
                    && !node.contains("Cond:")
            });
            if scans {
                slow.push(format!("{query}\n{plan}"));
            }
        }
        slow
    });
    assert!(slow.is_empty(), "{}", slow.join("\n\n"));
}

/// Every table has the same columns in both databases, and the copy knows each of them.
#[tokio::test]
#[ignore = "needs a PostgreSQL"]
async fn both_databases_have_the_same_tables() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::for_test(directory.path());
    let mut embedded = rusqlite::Connection::open_in_memory().unwrap();
    schema::migrate(&mut embedded).unwrap();
    let embedded = Tx::embedded(embedded);
    let tables =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let tables: Vec<String> = embedded.rows(tables, &[], |row| row.get(0)).unwrap();
    let columns: Vec<_> = tables
        .iter()
        .map(|table| (table.clone(), embedded.0.columns(table).unwrap()))
        .collect();
    let remote = store.read(move |tx| {
        let tables: Vec<String> = tx.rows(
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema() \
             AND table_name <> 'homeport' ORDER BY CAST(table_name AS TEXT) COLLATE \"C\"",
            &[],
            |row| row.get(0),
        )?;
        tables
            .into_iter()
            .map(|table| Ok((table.clone(), tx.0.columns(&table)?)))
            .collect::<Result<Vec<_>, StoreError>>()
    });
    assert_eq!(remote.await.unwrap(), columns);
    let mut known: Vec<_> = copy::TABLES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(known, tables, "a new table is copied too");
}

#[test]
fn addresses_that_are_unsafe_or_wrong_are_refused() {
    let parse = |address: &str| Address::parse(address, None, None);
    assert!(matches!(parse("mysql://a/b"), Err(AddressError::Syntax(_))));
    assert!(matches!(parse("postgres://host"), Err(AddressError::Syntax(_))));
    assert!(matches!(parse("postgres:///name"), Err(AddressError::Syntax(_))));
    assert!(matches!(
        parse("postgres://me:secret@host/name"),
        Err(AddressError::Password)
    ));
    for mode in ["allow", "prefer"] {
        let refused = parse(&format!("postgres://me@host/name?sslmode={mode}"));
        assert!(matches!(refused, Err(AddressError::SslMode(found)) if found == mode));
    }
    assert!(parse("postgres://me@host:1,other:2/name?sslmode=disable&connect_timeout=3").is_ok());
    assert!(parse("postgres://me@%2Frun%2Fpostgresql/name").is_ok());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let refused = Address::parse("postgres://me@host/name?sslmode=disable", Some(&file), None);
    assert!(matches!(refused, Err(AddressError::Open(_))));
}
