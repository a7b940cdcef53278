//! Waiting for something to become true, with a limit and a name for the report.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(300);

/// Looks until `probe` gives a value. The error says what was waited for and what the last look found.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let last = probe();
        if let Ok(Some(value)) = last {
            return Ok(value);
        }
        if Instant::now() >= end {
            let seconds = limit.as_secs();
            match last {
                Err(error) => return Err(error).with_context(|| format!("waited {seconds} s for {what}")),
                Ok(_) => bail!("waited {seconds} s for {what}"),
            }
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_returned() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn the_error_names_what_was_waited_for() {
        let error = wait_for::<()>("godot", Duration::ZERO, || bail!("nobody here")).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0 s for godot: nobody here");
    }
}
