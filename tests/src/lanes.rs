//! A few things at a time, while more are being made ready.

use std::{
    sync::{Mutex, mpsc},
    thread,
};

use anyhow::{Context as _, Result};

/// Where what is ready for the lanes goes.
pub type Queue<T> = mpsc::Sender<T>;

/// Calls `work` in so many lanes with all that `make` puts into the queue; answers with the results, in the order in
/// which they were done. An error of `make` comes after what was in the queue has been done.
pub fn run<T: Send, R: Send>(
    lanes: usize,
    make: impl FnOnce(Queue<T>) -> Result<()>,
    work: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let (queue, next) = mpsc::channel();
    let next = Mutex::new(next);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..lanes.max(1) {
            scope.spawn(|| {
                while let Some(task) = next.lock().ok().and_then(|next| next.recv().ok()) {
                    let result = work(task);
                    if let Ok(mut done) = done.lock() {
                        done.push(result);
                    }
                }
            });
        }
        // The lanes end when the queue has gone.
        make(queue)
    })?;
    done.into_inner().ok().context("a lane broke down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_made_is_done_once() {
        let make = |queue: Queue<u32>| Ok((0..100).try_for_each(|number| queue.send(number))?);
        let mut done = run(3, make, |number| number * 2).unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).map(|number| number * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_in_the_making_is_told() {
        let make = |queue: Queue<u32>| {
            queue.send(1)?;
            anyhow::bail!("no more")
        };
        assert_eq!(run(2, make, |_| ()).unwrap_err().to_string(), "no more");
    }
}
