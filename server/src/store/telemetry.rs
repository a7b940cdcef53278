//! Telemetry: one row for a series, one small row for a sample.

use homeport_api::{Point, Series};
use rusqlite::{OptionalExtension as _, params};

use super::{StoreError, Tx};

/// Series that a device may have. Samples of further ones are dropped: each costs a row that lives as long as the device.
const SERIES_OF_DEVICE: u32 = 512;

/// Samples that one pruning step removes.
const PRUNED_AT_ONCE: u32 = 5_000;

/// Series that one pruning step looks at.
const LOOKED_AT_ONCE: u32 = 500;

/// A number at a time.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name of its series.
    pub name: String,
    /// SenML unit.
    pub unit: String,
    /// When.
    pub at_ms: i64,
    /// Value.
    pub value: f64,
}

/// What part of a device's telemetry is asked for.
#[derive(Debug, Clone)]
pub struct Range {
    /// One series, or all.
    pub name: Option<String>,
    /// From then on.
    pub from_ms: i64,
    /// Until before then.
    pub to_ms: i64,
    /// Most points in a series.
    pub points: u32,
}

// === impl Tx ===

impl Tx {
    /// Stores samples; how many were dropped because the device has too many series.
    pub fn insert_samples(&self, device: &str, samples: &[Sample]) -> Result<usize, StoreError> {
        let mut insert = self
            .0
            .prepare_cached("INSERT OR REPLACE INTO samples (series, at_ms, value) VALUES (?, ?, ?)")?;
        let mut dropped = 0;
        for sample in samples {
            match self.series(device, sample)? {
                Some(series) => {
                    insert.execute(params![series, sample.at_ms, sample.value])?;
                }
                None => dropped += 1,
            }
        }
        Ok(dropped)
    }

    /// Samples of a device, averaged down to at most [`Range::points`] for each series.
    pub fn samples(&self, device: &str, range: &Range) -> Result<Vec<Series>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, name, unit FROM series WHERE device = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY name",
        )?;
        let mut rows = statement.query(params![device, range.name])?;
        let mut series = Vec::new();
        while let Some(row) = rows.next()? {
            let points = self.points(row.get(0)?, range)?;
            series.push(Series {
                name: row.get(1)?,
                unit: row.get(2)?,
                points,
            });
        }
        Ok(series)
    }

    /// Removes some of what is older than `before_ms` or has lost its device, in series after `after`. Where to go on; `None` at the end.
    pub fn prune_samples(&self, after: i64, before_ms: i64) -> Result<Option<i64>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT id, device IS NULL FROM series WHERE id > ? ORDER BY id LIMIT ?")?;
        let series: Vec<(i64, bool)> = statement
            .query_map(params![after, LOOKED_AT_ONCE], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut delete = self.0.prepare_cached(
            "DELETE FROM samples WHERE series = ?1 AND at_ms IN \
             (SELECT at_ms FROM samples WHERE series = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)",
        )?;
        let mut left = PRUNED_AT_ONCE;
        let mut done = None;
        for (id, orphaned) in series {
            let before_ms = if orphaned { i64::MAX } else { before_ms };
            let deleted = delete.execute(params![id, before_ms, left])?;
            left = left.saturating_sub(u32::try_from(deleted).unwrap_or(u32::MAX));
            if left == 0 {
                // There may be more of this one.
                return Ok(Some(id - 1));
            }
            if orphaned {
                self.0
                    .prepare_cached("DELETE FROM series WHERE id = ?")?
                    .execute([id])?;
            }
            done = Some(id);
        }
        Ok(done)
    }

    fn series(&self, device: &str, sample: &Sample) -> Result<Option<i64>, StoreError> {
        let known: Option<(i64, String)> = self
            .0
            .prepare_cached("SELECT id, unit FROM series WHERE device = ? AND name = ?")?
            .query_row([device, &sample.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((id, unit)) = known {
            if unit != sample.unit {
                self.0
                    .prepare_cached("UPDATE series SET unit = ? WHERE id = ?")?
                    .execute(params![sample.unit, id])?;
            }
            return Ok(Some(id));
        }
        let count: u32 = self
            .0
            .prepare_cached("SELECT count(*) FROM series WHERE device = ?")?
            .query_row([device], |row| row.get(0))?;
        if count >= SERIES_OF_DEVICE {
            return Ok(None);
        }
        self.0
            .prepare_cached("INSERT INTO series (device, name, unit) VALUES (?, ?, ?)")?
            .execute([device, &sample.name, &sample.unit])?;
        Ok(Some(self.0.last_insert_rowid()))
    }

    fn points(&self, series: i64, range: &Range) -> Result<Vec<Point>, StoreError> {
        let span = range.to_ms.saturating_sub(range.from_ms).max(1);
        let bucket = (span / i64::from(range.points.max(1))).max(1);
        // Buckets start at multiples of their width, so that a graph does not flicker as its range moves on.
        let mut statement = self.0.prepare_cached(
            "SELECT CAST(avg(at_ms) AS INTEGER), avg(value) FROM samples \
             WHERE series = ?1 AND at_ms >= ?2 AND at_ms < ?3 GROUP BY at_ms / ?4 ORDER BY 1 LIMIT ?5",
        )?;
        let values = params![
            series,
            range.from_ms,
            range.to_ms,
            bucket,
            range.points.saturating_add(2)
        ];
        let rows = statement.query_map(values, |row| {
            Ok(Point {
                at_ms: row.get(0)?,
                value: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn sample(name: &str, at_ms: i64, value: f64) -> Sample {
        Sample {
            name: name.to_owned(),
            unit: String::new(),
            at_ms,
            value,
        }
    }

    async fn with_samples(store: &Store, device: &'static str, count: i64) {
        let samples: Vec<_> = (0..count)
            .map(|at_ms| sample("n", at_ms, f64::from(i32::try_from(at_ms).unwrap())))
            .collect();
        store
            .write(move |tx| {
                tx.insert_device(0, device, device, None)?;
                tx.insert_samples(device, &samples)
            })
            .await
            .unwrap();
    }

    async fn points(store: &Store, device: &'static str, points: u32) -> Vec<Point> {
        let range = Range {
            name: None,
            from_ms: 0,
            to_ms: 1_000_000,
            points,
        };
        let series = store.read(move |tx| tx.samples(device, &range)).await.unwrap();
        series.into_iter().flat_map(|series| series.points).collect()
    }

    #[tokio::test]
    async fn old_samples_go_in_steps() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        with_samples(&store, "a", 12_000).await;
        with_samples(&store, "b", 10).await;
        store.write(|tx| tx.delete_device("b")).await.unwrap();
        let (mut steps, mut after) = (0, 0);
        while let Some(next) = store
            .write(move |tx| tx.prune_samples(after, 11_000))
            .await
            .unwrap()
        {
            (steps, after) = (steps + 1, next);
        }
        assert_eq!(steps, 3);
        assert_eq!(points(&store, "a", 1_000_000).await.len(), 1_000);
        let left: i64 = store
            .read(|tx| {
                Ok::<_, StoreError>(tx.0.query_row("SELECT count(*) FROM samples", [], |row| row.get(0))?)
            })
            .await
            .unwrap();
        assert_eq!(left, 1_000);
    }

    #[tokio::test]
    async fn many_samples_are_averaged() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        with_samples(&store, "a", 1_000).await;
        let points = points(&store, "a", 10_000).await;
        assert_eq!(points.len(), 10);
        assert!((points[0].value - 49.5).abs() < 1e-9);
        assert_eq!(points[9].at_ms, 949);
    }

    #[tokio::test]
    async fn series_of_a_device_are_limited() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let samples: Vec<_> = (0..SERIES_OF_DEVICE + 3)
            .map(|number| sample(&number.to_string(), 0, 0.0))
            .collect();
        let dropped = store
            .write(move |tx| {
                tx.insert_device(0, "a", "a", None)?;
                tx.insert_samples("a", &samples)
            })
            .await
            .unwrap();
        assert_eq!(dropped, 3);
    }
}
