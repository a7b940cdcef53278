//! Databases of their own, when the tests run beside a PostgreSQL: see `scripts/with-postgres`.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use postgres::{Client, NoTls, error::SqlState};

/// Address of the cluster, without a database.
pub const CLUSTER: &str = "HOMEPORT_TEST_POSTGRES";

/// The address of the database that belongs to this data directory, which is made if there is none. `None` if the tests run without
/// PostgreSQL.
pub fn database(data_dir: &Path) -> Option<String> {
    let cluster = env::var(CLUSTER).ok()?;
    let mut hash = DefaultHasher::new();
    data_dir.hash(&mut hash);
    let name = format!("h{:016x}", hash.finish());
    let (admin, create) = (format!("{cluster}/postgres"), format!("CREATE DATABASE {name}"));
    let made = with(&admin, move |client| client.batch_execute(&create));
    if let Err(error) = made {
        assert_eq!(error.code(), Some(&SqlState::DUPLICATE_DATABASE), "{error}");
    }
    Some(format!("{cluster}/{name}"))
}

/// Connects to a database for some work.
pub fn with<T: Send + 'static>(address: &str, work: impl FnOnce(&mut Client) -> T + Send + 'static) -> T {
    let address = address.to_owned();
    // A client blocks on a runtime of its own, which cannot be started on a thread of another one.
    let working = std::thread::spawn(move || {
        let mut client = Client::connect(&address, NoTls).expect("PostgreSQL of the tests answers");
        work(&mut client)
    });
    working.join().unwrap()
}
