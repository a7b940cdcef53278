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
        let is_recent = |last: i64| now_ms.saturating_sub(last) < NOTED_EACH;
        if noted.get(&id).is_some_and(|last| is_recent(*last)) {
            return false;
        }
        // The others are due whether they are remembered or not.
        noted.retain(|_, last| is_recent(*last));
        noted.insert(id, now_ms);
        true
    }
}
