//! Access tokens: a user's or service's way in without a password.

use homeport_api::{AccessToken, CreatedAccessToken, NewAccessToken, User};

use crate::{
    api_path::ApiPath,
    args::{AccessTokenCommand, Owner},
    client::Client,
    error::Result,
    grant, human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// `homeport access-token`
pub(crate) fn run(command: Option<AccessTokenCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let own = AccessTokenCommand::List {
        owner: Owner { user: None },
    };
    match command.unwrap_or(own) {
        AccessTokenCommand::List { owner } => {
            let user = owned_by(&client, owner)?;
            list(&client.list(&tokens(&user))?, output)
        }
        AccessTokenCommand::Create {
            owner,
            name,
            role,
            days,
            project,
        } => {
            let new = NewAccessToken {
                name,
                role,
                project,
                days,
            };
            let user = owned_by(&client, owner)?;
            let created: CreatedAccessToken = client.post(&tokens(&user), &new)?;
            if output.json {
                return output.json(&created);
            }
            let token = &created.token;
            output.secret(
                &created.secret,
                format_args!(
                    "Access token {} ({}) is at most {} on {}, expires {}, and is shown this one time only. Use: HOMEPORT_TOKEN=<token> homeport ...",
                    token.id,
                    token.name,
                    token.role,
                    grant::place(token.project.as_deref(), None),
                    human::relative(Some(token.expires_ms))
                ),
            )
        }
        AccessTokenCommand::Revoke { id, owner } => {
            let user = owned_by(&client, owner)?;
            client.delete(&tokens(&user).join(id))?;
            output.note(format_args!("Access token {id} of {user} is revoked."));
            Ok(())
        }
    }
}

fn list(tokens: &[AccessToken], output: Output) -> Result<()> {
    if output.json {
        return output.json(&tokens);
    }
    let mut table = Table::new(&["ID", "NAME", "ROLE", "ON", "EXPIRES", "LAST USED", "CREATED"]);
    for token in tokens {
        let end = if token.expires_ms <= human::now_ms() {
            ("expired".to_owned(), Tone::Faint)
        } else {
            cell(human::relative(Some(token.expires_ms)))
        };
        table.row([
            cell(token.id.to_string()),
            (token.name.clone(), Tone::Strong),
            cell(token.role.as_str()),
            cell(grant::place(token.project.as_deref(), None)),
            end,
            cell(human::relative(token.last_used_ms)),
            cell(human::relative(Some(token.created_ms))),
        ]);
    }
    output.table(
        &table,
        "No access tokens. Make one with `homeport access-token create`.",
    )
}

/// The service that is named, or oneself.
fn owned_by(client: &Client, owner: Owner) -> Result<String> {
    match owner.user {
        Some(user) => Ok(user),
        None => Ok(client.get::<User>(&ApiPath::new("session"))?.name),
    }
}

fn tokens(user: &str) -> ApiPath {
    ApiPath::new("users").join(user).join("tokens")
}
