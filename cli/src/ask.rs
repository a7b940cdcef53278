//! Questions to the person at the terminal.

use std::{
    env,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::Path,
};

use crate::{
    error::{Error, Result},
    output::{self, Line},
    stored_login::read_limited,
};

/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 4096;

/// Goes on only after a yes.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !is_interactive() {
        return Err(Error::Usage(format!(
            "{question} Nobody can be asked here; say --yes if you are sure"
        )));
    }
    if yes_to(question)? {
        Ok(())
    } else {
        Err(Error::Failed("nothing was changed".to_owned()))
    }
}

/// Asks a yes-or-no question; anything but a yes is a no.
pub(crate) fn yes_to(question: &str) -> Result<bool> {
    let failed = |e: io::Error| Error::Failed(format!("cannot ask: {e}"));
    output::ask(format_args!("{question} [y/N]")).map_err(failed)?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(MAX_ANSWER)
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whether there is somebody to ask.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && console::user_attended_stderr()
}

/// A password from the file, else from `HOMEPORT_PASSWORD`, else from the terminal without echo.
pub(crate) fn password(prompt: &str, file: Option<&Path>) -> Result<String> {
    if let Some(file) = file {
        return first_lines::<1>(file).map(|[password]| password);
    }
    if let Some(password) = env::var("HOMEPORT_PASSWORD").ok().filter(|p| !p.is_empty()) {
        return Ok(password);
    }
    hidden(prompt)
}

/// Asks without echo.
pub(crate) fn hidden(prompt: &str) -> Result<String> {
    if !is_interactive() {
        return Err(Error::Usage(
            "nobody can be asked for the password here; use --password-file".to_owned(),
        ));
    }
    rpassword::prompt_password(Line::from(prompt).render(false))
        .map_err(|e| Error::Failed(format!("cannot ask for the password: {e}")))
}

/// The first lines of a file that holds secrets.
pub(crate) fn first_lines<const N: usize>(path: &Path) -> Result<[String; N]> {
    let unusable = |source| Error::File {
        what: "cannot read",
        path: path.to_owned(),
        source,
    };
    let content = read_limited(path).map_err(unusable)?;
    let content = String::from_utf8(content)
        .map_err(|_| unusable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
    let lines: Vec<String> = content.lines().take(N).map(str::to_owned).collect();
    lines
        .try_into()
        .ok()
        .filter(|lines: &[String; N]| lines.iter().all(|line| !line.is_empty()))
        .ok_or_else(|| Error::Usage(format!("{} does not have {N} filled line(s)", path.display())))
}
