//! Telemetry: one row for a series, one small row for a sample.

use std::collections::{BTreeMap, BTreeSet};

use homeport_api::{Point, Series};
use homeport_protocol::{limits::MAX_SERIES, series::SERVER_DROPPED};

use crate::store::{Param, StoreError, Tx, tuples};

/// Largest absolute value of a sample. The sum of a hundred million of them is still finite.
pub const MAX_VALUE: f64 = 1e300;

/// Smallest absolute value that a graph tells from zero.
const MIN_VALUE: f64 = 1e-290;

/// Silence after which a new series may replace a series, in milliseconds.
const SILENCE: i64 = 24 * 60 * 60 * 1000;

/// Series that one message may replace. Each leaves a row to be pruned.
const REPLACED_AT_ONCE: usize = 16;

/// Samples that one pruning step removes.
const PRUNED_AT_ONCE: u32 = 5_000;

/// Series that one pruning step visits.
const LOOKED_AT_ONCE: u32 = 500;

/// Samples that one statement stores.
const STORED_AT_ONCE: usize = 100;

/// Series of a device by their names: number and unit.
type Known = BTreeMap<String, (i64, String)>;

/// One sample.
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

/// The part of a device's telemetry that a client asks for.
#[derive(Debug, Clone)]
pub struct Range {
    /// One series, or all.
    pub name: Option<String>,
    /// Start, inclusive.
    pub from_ms: i64,
    /// End, exclusive.
    pub to_ms: i64,
    /// Most points in a series.
    pub points: u32,
}

// === impl Tx ===

impl Tx {
    /// Stores samples, and returns how many were dropped because the device has too many series. A series of the device counts these and
    /// the samples that were `refused` before.
    pub fn insert_samples(
        &self,
        now_ms: i64,
        device: &str,
        samples: &[Sample],
        refused: usize,
    ) -> Result<usize, StoreError> {
        let mut known = self.series_of(device, samples)?;
        let (mut silent, mut dropped) = (None, 0);
        // Of two samples at one time, the later one in the message counts.
        let mut values = BTreeMap::new();
        for sample in samples {
            let found = known.get(&sample.name).filter(|(_, unit)| *unit == sample.unit);
            let series = if let Some((id, _)) = found {
                *id
            } else if let Some(id) = self.series(now_ms, device, sample, &known, &mut silent)? {
                known.insert(sample.name.clone(), (id, sample.unit.clone()));
                id
            } else {
                dropped += 1;
                continue;
            };
            values.insert((series, sample.at_ms), sample.value);
        }
        let values: Vec<_> = values.into_iter().collect();
        for values in values.chunks(STORED_AT_ONCE) {
            self.insert_values(values)?;
        }
        if dropped + refused > 0 {
            self.count_dropped(now_ms, device, dropped + refused)?;
        }
        Ok(dropped)
    }

    /// Samples of a device, averaged down to at most [`Range::points`] for each series.
    pub fn samples(&self, device: &str, range: &Range) -> Result<Vec<Series>, StoreError> {
        self.rows(
            "SELECT id, name, unit FROM series WHERE device = ?1 AND (CAST(?2 AS TEXT) IS NULL OR name = \
             ?2) ORDER BY name",
            &[&device, &range.name],
            |row| {
                let points = self.points(row.get(0)?, range)?;
                Ok(Series {
                    name: row.get(1)?,
                    unit: row.get(2)?,
                    points,
                })
            },
        )
    }

    /// Removes some samples that are older than `before_ms` or have lost their device, in series after `after`. Returns where to go on;
    /// `None` at the end.
    pub fn prune_samples(&self, after: i64, before_ms: i64) -> Result<Option<i64>, StoreError> {
        let series: Vec<(i64, bool)> = self.rows(
            "SELECT id, device IS NULL FROM series WHERE id > ?1 ORDER BY id LIMIT ?2",
            &[&after, &LOOKED_AT_ONCE],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut left = PRUNED_AT_ONCE;
        let mut done = None;
        for (id, orphaned) in series {
            let before_ms = if orphaned { i64::MAX } else { before_ms };
            let deleted = self.execute(
                "DELETE FROM samples WHERE series = ?1 AND at_ms IN \
             (SELECT at_ms FROM samples WHERE series = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)",
                &[&id, &before_ms, &left],
            )?;
            left = left.saturating_sub(u32::try_from(deleted).unwrap_or(u32::MAX));
            if left == 0 {
                // This series may have more.
                return Ok(Some(id - 1));
            }
            // A series without samples does not need its place.
            self.execute(
                "DELETE FROM series WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM samples WHERE series = ?1)",
                &[&id],
            )?;
            done = Some(id);
        }
        Ok(done)
    }

    /// Numbers and units of the series that a message names and the device has.
    fn series_of(&self, device: &str, samples: &[Sample]) -> Result<Known, StoreError> {
        let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
        let names = serde_json::to_string(&names)?;
        self.rows(
            "SELECT name, id, unit FROM series WHERE device = ?1 AND name IN (SELECT value FROM \
             json_each(?2, '$'))",
            &[&device, &names],
            |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))),
        )
    }

    fn insert_values(&self, values: &[((i64, i64), f64)]) -> Result<(), StoreError> {
        let statement = format!(
            "INSERT INTO samples (series, at_ms, value) VALUES {} \
             ON CONFLICT (series, at_ms) DO UPDATE SET value = excluded.value",
            tuples(values.len(), 3)
        );
        let params: Vec<&dyn Param> = values
            .iter()
            .flat_map(|((series, at_ms), value)| [series as &dyn Param, at_ms, value])
            .collect();
        self.execute(&statement, &params).map(drop)
    }

    /// The series of `sample`, which is new or has another unit. A new one needs room, or a silent series that it can replace, but none that
    /// is in this message as well. `silent` holds the series that this message may replace, once they have been looked up.
    fn series(
        &self,
        now_ms: i64,
        device: &str,
        sample: &Sample,
        known: &Known,
        silent: &mut Option<Vec<i64>>,
    ) -> Result<Option<i64>, StoreError> {
        if let Some((id, _)) = known.get(&sample.name) {
            self.execute("UPDATE series SET unit = ?1 WHERE id = ?2", &[&sample.unit, id])?;
            return Ok(Some(*id));
        }
        let count: usize = self.value(
            "SELECT count(*) FROM series WHERE device = ?1 AND name <> ?2",
            &[&device, &SERVER_DROPPED],
        )?;
        if count >= MAX_SERIES {
            let silent = match silent {
                Some(silent) => silent,
                None => silent.insert(self.silent_series(now_ms, device, known)?),
            };
            let Some(id) = silent.pop() else {
                return Ok(None);
            };
            // It may have many samples: it loses its device now, and is removed in small steps.
            self.execute("UPDATE series SET device = NULL WHERE id = ?1", &[&id])?;
        }
        Ok(Some(self.insert_series(device, &sample.name, &sample.unit)?))
    }

    fn insert_series(&self, device: &str, name: &str, unit: &str) -> Result<i64, StoreError> {
        self.value(
            "INSERT INTO series (device, name, unit) VALUES (?1, ?2, ?3) RETURNING id",
            &[&device, &name, &unit],
        )
    }

    /// Series of a device that have been silent for [`SILENCE`], the longest silent last. At most [`REPLACED_AT_ONCE`].
    fn silent_series(&self, now_ms: i64, device: &str, known: &Known) -> Result<Vec<i64>, StoreError> {
        let series: Vec<(i64, i64)> = self.rows(
            "SELECT id, coalesce((SELECT max(at_ms) FROM samples WHERE series = id), 0) AS last FROM series \
             WHERE device = ?1 AND name <> ?2 ORDER BY last",
            &[&device, &SERVER_DROPPED],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let used: BTreeSet<i64> = known.values().map(|(id, _)| *id).collect();
        let mut silent: Vec<i64> = series
            .into_iter()
            .filter(|(id, _)| !used.contains(id))
            .take(REPLACED_AT_ONCE)
            .filter(|(_, last)| *last < now_ms.saturating_sub(SILENCE))
            .map(|(id, _)| id)
            .collect();
        silent.reverse();
        Ok(silent)
    }

    /// Adds to the number of samples of a device that were not stored. Its series has a place of its own.
    fn count_dropped(&self, now_ms: i64, device: &str, dropped: usize) -> Result<(), StoreError> {
        let known: Option<i64> = self.row(
            "SELECT id FROM series WHERE device = ?1 AND name = ?2",
            &[&device, &SERVER_DROPPED],
            |row| row.get(0),
        )?;
        let series = match known {
            Some(series) => series,
            None => self.insert_series(device, SERVER_DROPPED, "")?,
        };
        self.execute(
            "INSERT INTO samples (series, at_ms, value) VALUES (?1, ?2, CAST(?3 AS DOUBLE PRECISION) + \
             coalesce( (SELECT value FROM samples WHERE series = ?1 ORDER BY at_ms DESC LIMIT 1), 0)) ON \
             CONFLICT (series, at_ms) DO UPDATE SET value = excluded.value",
            &[&series, &now_ms, &u32::try_from(dropped).unwrap_or(u32::MAX)],
        )?;
        Ok(())
    }

    fn points(&self, series: i64, range: &Range) -> Result<Vec<Point>, StoreError> {
        let span = range.to_ms.saturating_sub(range.from_ms).max(1);
        let bucket = (span / i64::from(range.points.max(1))).max(1);
        // Buckets start at multiples of their width, so that a graph does not flicker as its range moves on.
        self.rows(
            "SELECT min(at_ms) + (max(at_ms) - min(at_ms)) / 2, sum(CASE WHEN value > ?6 THEN ?6 WHEN value \
             < ?7 THEN ?7 WHEN abs(value) < ?8 THEN 0.0 ELSE value END) / count(*) FROM samples WHERE \
             series = ?1 AND at_ms >= ?2 AND at_ms < ?3 GROUP BY at_ms / ?4 ORDER BY 1 LIMIT ?5",
            &[
                &series,
                &range.from_ms,
                &range.to_ms,
                &bucket,
                &range.points.saturating_add(2),
                // Older databases hold larger values: their sum must stay finite.
                &MAX_VALUE,
                &-MAX_VALUE,
                // PostgreSQL refuses a quotient that is too small for a number.
                &MIN_VALUE,
            ],
            |row| {
                Ok(Point {
                    at_ms: row.get(0)?,
                    value: row.get(1)?,
                })
            },
        )
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
                tx.insert_device(0, device, device, None, "")?;
                tx.insert_samples(0, device, &samples, 0)
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
        let store = Store::for_test(directory.path());
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
            .read(|tx| tx.value("SELECT count(*) FROM samples", &[]))
            .await
            .unwrap();
        assert_eq!(left, 1_000);
    }

    #[tokio::test]
    async fn many_samples_are_averaged() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        with_samples(&store, "a", 1_000).await;
        let points = points(&store, "a", 10_000).await;
        assert_eq!(points.len(), 10);
        assert!((points[0].value - 49.5).abs() < 1e-9);
        assert_eq!(points[9].at_ms, 949);
    }

    #[tokio::test]
    async fn values_that_no_sum_can_hold_are_readable() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let stored: Vec<_> = (0..10).map(|at_ms| sample("n", at_ms, f64::MAX)).collect();
        store
            .write(move |tx| {
                tx.insert_device(0, "a", "a", None, "")?;
                tx.insert_samples(0, "a", &stored, 0)
            })
            .await
            .unwrap();
        let points = points(&store, "a", 1).await;
        assert_eq!(points.len(), 1);
        assert!(points[0].value.is_finite(), "{}", points[0].value);
    }

    #[tokio::test]
    async fn values_that_no_average_can_hold_are_readable() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let stored = [5e-324, 0.0].map(|value| sample("n", if value > 0.0 { 1 } else { 2 }, value));
        store
            .write(move |tx| {
                tx.insert_device(0, "a", "a", None, "")?;
                tx.insert_samples(0, "a", &stored, 0)
            })
            .await
            .unwrap();
        let points = points(&store, "a", 1).await;
        assert_eq!(points.len(), 1);
        assert!(points[0].value.abs() < 1e-300, "{}", points[0].value);
    }

    const DAY: i64 = SILENCE;

    /// A database with the device `a`.
    async fn with_device() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let inserted = store.write(|tx| tx.insert_device(0, "a", "a", None, ""));
        inserted.await.unwrap();
        (directory, store)
    }

    async fn insert(
        store: &Store,
        now_ms: i64,
        names: impl Iterator<Item = String> + Send,
        refused: usize,
    ) -> usize {
        let samples: Vec<_> = names.map(|name| sample(&name, now_ms, 1.0)).collect();
        store
            .write(move |tx| tx.insert_samples(now_ms, "a", &samples, refused))
            .await
            .unwrap()
    }

    async fn series_of(store: &Store) -> Vec<Series> {
        let range = Range {
            name: None,
            from_ms: 0,
            to_ms: 100 * DAY,
            points: u32::MAX,
        };
        store.read(move |tx| tx.samples("a", &range)).await.unwrap()
    }

    fn veths(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> + Send {
        numbers.map(|number| format!("network.veth{number:07}.rx"))
    }

    #[tokio::test]
    async fn series_of_a_device_are_limited_and_what_is_dropped_is_counted() {
        let (_directory, store) = with_device().await;
        assert_eq!(insert(&store, DAY, veths(0..MAX_SERIES + 3), 0).await, 3);
        assert_eq!(insert(&store, DAY + 1000, veths(0..MAX_SERIES + 3), 4).await, 3);
        // Everything that fits is there, and one more series counts the rest.
        let series = series_of(&store).await;
        assert_eq!(series.len(), MAX_SERIES + 1);
        let dropped = series
            .iter()
            .find(|series| series.name == SERVER_DROPPED)
            .unwrap();
        let counts: Vec<_> = dropped.points.iter().map(|point| point.value).collect();
        assert_eq!(counts, [3.0, 10.0]);
    }

    #[tokio::test]
    async fn a_series_that_is_silent_gives_its_place_to_a_new_one() {
        let (_directory, store) = with_device().await;
        let wwan = || std::iter::once("network.wwan0.rx".to_owned());
        insert(&store, DAY, veths(0..MAX_SERIES), 0).await;
        // All but the first two go on.
        insert(&store, DAY + 10, veths(2..MAX_SERIES), 0).await;
        assert_eq!(insert(&store, 2 * DAY, wwan(), 0).await, 1);
        assert_eq!(insert(&store, 2 * DAY + 5, wwan(), 0).await, 0);
        let names: Vec<_> = series_of(&store)
            .await
            .into_iter()
            .map(|series| series.name)
            .collect();
        assert!(names.contains(&"network.wwan0.rx".to_owned()));
        assert!(
            !names.contains(&"network.veth0000000.rx".to_owned()),
            "the longest silent"
        );
        assert!(names.contains(&"network.veth0000001.rx".to_owned()));
        // One message replaces only a few, no matter what it holds.
        let many = (0..100).map(|number| format!("new{number}"));
        assert_eq!(insert(&store, 9 * DAY, many, 0).await, 100 - REPLACED_AT_ONCE);
    }

    #[tokio::test]
    async fn a_message_that_fills_up_a_device_keeps_its_own_series() {
        let (_directory, store) = with_device().await;
        insert(&store, DAY, veths(0..MAX_SERIES), 0).await;
        // All are silent by now. The message has the longest silent one, and as many new ones as it may replace.
        let new = (0..REPLACED_AT_ONCE).map(|number| format!("new{number}"));
        let names = veths(0..1).chain(new.clone());
        assert_eq!(insert(&store, 9 * DAY, names, 0).await, 0);
        let series = series_of(&store).await;
        let has = |name: &str| series.iter().any(|series| series.name == name);
        assert!(veths(0..1).chain(new).all(|name| has(&name)));
        assert!(!veths(1..2).any(|name| has(&name)), "the next one gave way");
    }

    #[tokio::test]
    async fn of_two_samples_at_one_time_the_later_counts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let mut samples: Vec<_> = [1.0, 2.0].map(|value| sample("n", 5, value)).into();
        samples.push(Sample {
            unit: "Cel".to_owned(),
            ..sample("n", 6, 3.0)
        });
        store
            .write(move |tx| {
                tx.insert_device(0, "a", "a", None, "")?;
                tx.insert_samples(0, "a", &samples, 0)
            })
            .await
            .unwrap();
        let series = series_of(&store).await;
        assert_eq!(series[0].unit, "Cel");
        let values: Vec<_> = series[0].points.iter().map(|point| point.value).collect();
        assert_eq!(values, [2.0, 3.0]);
    }

    #[tokio::test]
    async fn a_series_without_samples_ends() {
        let (_directory, store) = with_device().await;
        insert(&store, 5, veths(0..2), 0).await;
        insert(&store, 9, veths(1..3), 0).await;
        store.write(|tx| tx.prune_samples(0, 9)).await.unwrap();
        let names: Vec<_> = series_of(&store)
            .await
            .into_iter()
            .map(|series| series.name)
            .collect();
        assert_eq!(names, veths(1..3).collect::<Vec<_>>());
    }
}
