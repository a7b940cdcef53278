//! How a program that checks something ends.

use std::process::ExitCode;

use anyhow::Result;

/// 0 when all is as it must be, 1 when it is not, 2 when that could not be found out: then `program` says why.
#[must_use]
pub fn exit(program: &str, is_good: Result<bool>) -> ExitCode {
    match is_good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::from(2)
        }
    }
}
