//! Logging in and out.

use homeport_api::{Health, Login, PasswordChange, Session, User};
use serde_json::json;

use crate::{
    api_path::ApiPath,
    args, ask,
    client::{Client, Credential},
    error::{Error, Result, WRONG_CREDENTIALS},
    grant, human,
    output::Output,
    server_url::ServerUrl,
    stored_login::{StoredLogin, TOKEN_VARIABLE, read_roots, variable},
    trust::Roots,
};

/// `homeport login`
pub(crate) fn login(login: args::Login, output: Output) -> Result<()> {
    let stored = StoredLogin::load()?;
    let url = login
        .url
        .or_else(|| std::env::var("HOMEPORT_URL").ok())
        .or_else(|| stored.as_ref().map(|stored| stored.url.clone()))
        .ok_or_else(|| {
            Error::Usage("say which server: homeport login https://fleet.example.com:8443".to_owned())
        })?;
    let url: ServerUrl = url.parse().map_err(Error::Usage)?;
    let pinned = stored.filter(|stored| stored.url == url.to_string());
    let roots = match (&login.ca, &login.ca_fingerprint, &pinned) {
        (Some(file), _, _) => read_roots(file)?,
        (None, Some(fingerprint), _) => Roots::with_fingerprint(&url, fingerprint)?,
        (None, None, Some(pinned)) => Roots::from_pem(pinned.ca.as_bytes()).map_err(|e| {
            Error::Failed(format!(
                "the stored CA certificate cannot be used: {e}; give --ca"
            ))
        })?,
        (None, None, None) => ca_on_first_use(&url, output)?,
    };
    let client = Client::new(url.clone(), &roots, Credential::None);
    // An address that cannot be used is said before the password is asked for.
    let health = client.health()?;
    if let Some(trouble) = trouble(&health) {
        output.note(trouble);
    }
    let password = ask::password(
        &format!("Password of {} at {url}: ", login.user),
        login.password_file.as_deref(),
    )?;
    let session: Session = client
        .post(
            &session(),
            &Login {
                user: login.user,
                password,
            },
        )
        .map_err(wrong_password)?;
    let login = StoredLogin {
        url: url.to_string(),
        ca: roots.to_pem(),
        token: Some(session.token),
    };
    login.save()?;
    if output.json {
        return output
            .json(&json!({ "url": login.url, "user": session.user, "expires_ms": session.expires_ms }));
    }
    output.note(format_args!(
        "Logged in to {url} as {}; the session ends {}.",
        session.user.name,
        human::relative(Some(session.expires_ms))
    ));
    if variable(TOKEN_VARIABLE)?.is_some() {
        output.note(format_args!(
            "{TOKEN_VARIABLE} is set: its token is used, not this login."
        ));
    }
    Ok(())
}

/// `homeport logout`
pub(crate) fn logout(output: Output) -> Result<()> {
    let Some(mut login) = StoredLogin::load()? else {
        output.note("You were not logged in.");
        return Ok(());
    };
    let Some(token) = login.token.take() else {
        output.note("You were not logged in.");
        return Ok(());
    };
    // Forgotten here in any case, also when the server cannot be told.
    login.save()?;
    let url: ServerUrl = login.url.parse().map_err(Error::Failed)?;
    let roots = Roots::from_pem(login.ca.as_bytes()).map_err(Error::Failed)?;
    match Client::new(url.clone(), &roots, Credential::Session(token)).delete(&session()) {
        Ok(()) => {}
        Err(Error::Problem(problem)) if problem.status == 401 => {}
        Err(error) => output.note(format_args!(
            "The token is deleted here, but the server could not be told, so the session lasts until it expires: {error}"
        )),
    }
    output.note(format_args!("Logged out of {url}."));
    Ok(())
}

/// What keeps the server from taking all that it should, and what to do.
fn trouble(health: &Health) -> Option<&'static str> {
    match health.status.as_str() {
        "ok" => None,
        "disk-low" => {
            Some("the server's disk is nearly full, telemetry waits on the devices: free some space on it")
        }
        "disk-full" => {
            Some("the server's disk is full, devices keep what they have to say: free some space on it soon")
        }
        _ => Some("the server cannot write its database: its log says why"),
    }
}

/// `homeport whoami`
pub(crate) fn whoami(output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let user: User = client.get(&session())?;
    let health = client.health()?;
    if output.json {
        return output.json(&json!({
            "url": client.url().to_string(),
            "user": user,
            "server_version": health.version,
            "server_status": health.status,
        }));
    }
    let token = match client.credential() {
        Credential::Environment(_) => format!("from {TOKEN_VARIABLE}"),
        Credential::None | Credential::Session(_) => String::new(),
    };
    output.pairs(&[
        ("user", user.name.clone()),
        ("token", token),
        ("server", client.url().to_string()),
        ("trouble", trouble(&health).unwrap_or_default().to_owned()),
        ("server version", health.version),
    ])?;
    if !user.grants.is_empty() {
        output.line("")?;
    }
    output.table(
        &grant::table(&user.grants),
        "You have no role yet. An administrator grants one with `homeport user grant`.",
    )
}

/// `homeport password`
pub(crate) fn change_password(change: &args::PasswordChange, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let (current, new) = if let Some(file) = &change.password_file {
        let [current, new] = ask::first_lines(file)?;
        (current, new)
    } else {
        let current = ask::hidden("Present password: ")?;
        let new = ask::hidden("New password (12 characters or more): ")?;
        if ask::hidden("New password again: ")? != new {
            return Err(Error::Failed(
                "the two new passwords differ; nothing was changed".to_owned(),
            ));
        }
        (current, new)
    };
    client
        .put(&session().join("password"), &PasswordChange { current, new })
        .map_err(wrong_password)?;
    output.note("The password is changed.");
    Ok(())
}

fn ca_on_first_use(url: &ServerUrl, output: Output) -> Result<Roots> {
    let presented = Roots::presented_by(url)?;
    let fingerprint = presented
        .fingerprint()
        .map_or_else(String::new, |fingerprint| fingerprint.to_string());
    if !ask::is_interactive() {
        return Err(Error::Usage(format!(
            "{url} is not known yet and nobody can be asked here; give --ca FILE or --ca-fingerprint HEX \
             (its CA shows {fingerprint}; compare before you trust it)"
        )));
    }
    output.note(format_args!(
        "{url} is not known yet. Its CA certificate has the SHA-256 fingerprint"
    ));
    output.note("");
    output.note(format_args!("  {fingerprint}"));
    output.note("");
    output.note("Compare it with what the server's administrator gives you.");
    if ask::yes_to("Trust this CA for this server?")? {
        Ok(presented)
    } else {
        Err(Error::Failed(
            "the server is not trusted; nothing was sent to it".to_owned(),
        ))
    }
}

fn session() -> ApiPath {
    ApiPath::new("session")
}

fn wrong_password(error: Error) -> Error {
    match error {
        Error::Problem(problem) if problem.kind == WRONG_CREDENTIALS => Error::WrongPassword(problem),
        error => error,
    }
}
