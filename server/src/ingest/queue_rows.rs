//! The last message that was stored of each queue of a device. Delivery is at least once, storing is exactly once.

use crate::store::{StoreError, Tx};

/// Queues that are remembered for a device and channel. A device starts a new queue only when it lost its state. Then the last messages of
/// the old queue may still be on their way.
const REMEMBERED: u32 = 4;

// === impl Tx ===

impl Tx {
    /// Returns whether this message is new, and remembers it.
    pub fn advance_queue(
        &self,
        now_ms: i64,
        device: &str,
        channel: &str,
        queue: u64,
        sequence: u64,
    ) -> Result<bool, StoreError> {
        let queue = i64::from_ne_bytes(queue.to_ne_bytes());
        let last: Option<u64> = self.row(
            "SELECT sequence FROM queues WHERE device = ?1 AND channel = ?2 AND queue = ?3",
            &[&device, &channel, &queue],
            |row| row.get(0),
        )?;
        if last.is_some_and(|last| sequence <= last) {
            return Ok(false);
        }
        self.execute(
            "INSERT INTO queues (device, channel, queue, sequence, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (device, channel, queue) DO UPDATE SET sequence = excluded.sequence, updated_ms = \
             excluded.updated_ms",
            &[&device, &channel, &queue, &sequence, &now_ms],
        )?;
        if last.is_none() {
            self.execute(
                "DELETE FROM queues WHERE device = ?1 AND channel = ?2 AND queue NOT IN (SELECT queue FROM \
                 queues WHERE device = ?1 AND channel = ?2 ORDER BY updated_ms DESC, queue = ?4 DESC LIMIT \
                 ?3)",
                &[&device, &channel, &REMEMBERED, &queue],
            )?;
        }
        Ok(true)
    }
}
