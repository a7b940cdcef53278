//! File descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Limits;

/// Descriptors for the database, bundles and everything else that is not a connection.
const OTHER: u64 = 256;

/// Devices that should at least fit.
const DEVICES: u64 = 1024;

/// Raises the limit of open files as far as the system allows, and warns if strangers could use it up.
pub(crate) fn raise_limit(limits: &Limits) {
    let (_, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(both) => both,
        Err(error) => {
            tracing::warn!(%error, "cannot read the limit of open files");
            return;
        }
    };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let needed = 2 * limits.strangers as u64 + OTHER + DEVICES;
    if hard < needed {
        tracing::warn!(
            limit = hard,
            needed,
            "few files may be open: raise LimitNOFILE= in the service's unit"
        );
    }
}
