//! What tests need of the world outside.

use homeport_testkit::PATIENCE;

mod server;

pub(crate) use self::server::{Seen, Server};

/// Runs a test, which ends in time.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, test).await })
        .expect("in time");
}
