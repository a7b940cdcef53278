//! What can go wrong, what to do next, and the exit code it ends with.

use std::{io, path::PathBuf};

use homeport_api::Problem;

/// Shorthand for everything here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The server's kind of problem for a wrong password.
pub(crate) const WRONG_CREDENTIALS: &str = "wrong-credentials";

/// The server's kind of problem for what the user has no role for.
const FORBIDDEN: &str = "forbidden";

/// An error that ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line cannot be carried out as it is.
    #[error("{0}")]
    Usage(String),
    /// The arguments for a command on a device are not what it takes, which is listed.
    #[error("{what}")]
    Arguments {
        /// What is wrong.
        what: String,
        /// A line for each argument that it takes.
        items: Vec<String>,
    },
    /// Nobody is logged in.
    #[error("you are not logged in")]
    NotLoggedIn,
    /// The server answered with an error.
    #[error("{}", problem_text(.0))]
    Problem(Box<Problem>),
    /// The server does not take the token in `HOMEPORT_TOKEN`.
    #[error("the server does not take the token in HOMEPORT_TOKEN ({}, HTTP {})", .0.kind, .0.status)]
    TokenRefused(Box<Problem>),
    /// The server does not take the password.
    #[error("{}", problem_text(.0))]
    WrongPassword(Box<Problem>),
    /// The server cannot be talked to.
    #[error("the server at {url} cannot be reached: {why}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What the network said.
        why: String,
    },
    /// Something answers, but it does not prove to be the server.
    #[error("the server at {url} is not trusted: {why}")]
    Untrusted {
        /// Its address.
        url: String,
        /// What is wrong.
        why: String,
        /// What to do.
        next: String,
    },
    /// The operation failed.
    #[error("{0}")]
    Failed(String),
    /// The operation failed for what is listed.
    #[error("{what}")]
    Listed {
        /// What failed.
        what: String,
        /// A line for each.
        items: Vec<String>,
    },
    /// A file could not be used.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried, e.g. `cannot read`.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

// === impl Error ===

impl Error {
    /// The process's exit code, as `homeport --help` documents it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Arguments { .. } => 2,
            Self::Unreachable { .. } | Self::Untrusted { .. } => 3,
            Self::NotLoggedIn | Self::TokenRefused(_) | Self::WrongPassword(_) => 4,
            Self::Problem(problem) if matches!(problem.status, 401 | 403) => 4,
            Self::Problem(_)
            | Self::Failed(_)
            | Self::Listed { .. }
            | Self::File { .. }
            | Self::Output(_) => 1,
        }
    }

    /// Lines that go below the error.
    pub(crate) fn details(&self) -> &[String] {
        match self {
            Self::Listed { items, .. } | Self::Arguments { items, .. } => items,
            _ => &[],
        }
    }

    /// What the user can do about it.
    pub(crate) fn next_step(&self) -> Option<String> {
        match self {
            Self::NotLoggedIn => {
                Some("log in with `homeport login <url>`, or set HOMEPORT_URL, HOMEPORT_CA_FINGERPRINT and HOMEPORT_TOKEN".to_owned())
            }
            Self::Problem(problem) if problem.status == 401 => {
                Some("log in again with `homeport login`; sessions end after a while and when the password changes".to_owned())
            }
            Self::TokenRefused(_) => {
                Some("it expired or was revoked, or its user is disabled: make another with `homeport access-token create`, or unset HOMEPORT_TOKEN to use your login".to_owned())
            }
            Self::WrongPassword(_) => {
                Some("check user and password; the server's administrator can set a new one with `homeport-server reset-password`".to_owned())
            }
            Self::Problem(problem) if problem.kind == FORBIDDEN => {
                Some("`homeport whoami` shows your roles; an administrator grants others".to_owned())
            }
            Self::Problem(problem) if problem.status == 429 => Some("wait a little and try again".to_owned()),
            Self::Problem(problem) if problem.status >= 500 => {
                Some("try again; if it stays, the server's log says why".to_owned())
            }
            Self::Unreachable { .. } => {
                Some("check the address, that the server runs, and the network between".to_owned())
            }
            Self::Untrusted { next, .. } => Some(next.clone()),
            _ => None,
        }
    }

    /// Whether the same request may succeed a moment later: the server restarts or is overloaded.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => problem.status == 429 || problem.status >= 500,
            _ => false,
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn problem_text(problem: &Problem) -> String {
    let Problem {
        kind,
        title,
        status,
        detail,
    } = problem;
    let text = if detail.is_empty() { title } else { detail };
    format!("{text} ({kind}, HTTP {status})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16) -> Error {
        Error::Problem(Box::new(Problem {
            kind: "kind".into(),
            title: "Title".into(),
            status,
            detail: "Detail.".into(),
        }))
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let unreachable = Error::Unreachable {
            url: String::new(),
            why: String::new(),
        };
        assert_eq!(Error::Failed(String::new()).exit_code(), 1);
        assert_eq!(problem(409).exit_code(), 1);
        assert_eq!(problem(503).exit_code(), 1);
        assert_eq!(Error::Usage(String::new()).exit_code(), 2);
        assert_eq!(unreachable.exit_code(), 3);
        assert_eq!(problem(401).exit_code(), 4);
        assert_eq!(problem(403).exit_code(), 4);
        assert_eq!(Error::NotLoggedIn.exit_code(), 4);
    }

    #[test]
    fn a_problem_shows_detail_kind_and_status() {
        assert_eq!(problem(409).to_string(), "Detail. (kind, HTTP 409)");
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        assert!(problem(503).is_passing());
        assert!(!problem(401).is_passing());
        assert!(!problem(404).is_passing());
    }
}
