//! The last use of access tokens.

use std::collections::HashMap;

use parking_lot::Mutex;

/// How exactly the last use of a token is noted, in milliseconds.
const NOTED_EACH: i64 = 60_000;

/// When each token's use was noted last, so that not every request is a write.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<i64, i64>>);

// === impl Uses ===

impl Uses {
    /// Whether a use is to be noted now.
    pub(crate) fn is_due(&self, id: i64, now_ms: i64) -> bool {
        let mut noted = self.0.lock();
        let last = noted.entry(id).or_insert(i64::MIN);
        if now_ms.saturating_sub(*last) < NOTED_EACH {
            return false;
        }
        *last = now_ms;
        true
    }
}
