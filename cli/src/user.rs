//! Users and their roles.

use homeport_api::{CreatedUser, Grant, NewGrant, NewUser, UserInfo, UserKind, UserPatch};

use crate::{
    api_path::ApiPath,
    args::{Place, UserCommand},
    ask,
    client::Client,
    error::{Error, Result},
    grant, human,
    output::{Line, Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// `homeport user`
pub(crate) fn run(command: Option<UserCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(UserCommand::List) {
        UserCommand::List => list(&client.list(&users())?, output),
        UserCommand::Show { user } => show(&client.get(&users().join(user))?, output),
        UserCommand::Create {
            user,
            service,
            project,
        } => {
            let kind = if service {
                UserKind::Service
            } else {
                UserKind::Person
            };
            let new = NewUser {
                name: user,
                kind,
                project,
            };
            created(&client.post(&users(), &new)?, output)
        }
        UserCommand::Enable { user } => {
            let user = set_disabled(&client, &user, false)?;
            done(&user, &format!("User {} is let in again.", user.name), output)
        }
        UserCommand::Disable { user } => {
            let user = set_disabled(&client, &user, true)?;
            done(&user, &format!("User {} is shut out.", user.name), output)
        }
        UserCommand::Delete { user, sure } => {
            let question = format!("Delete user {user} with all roles and access tokens?");
            ask::confirm(&question, sure.yes)?;
            client.delete(&users().join(&user))?;
            output.note(format_args!("User {user} is deleted."));
            Ok(())
        }
        UserCommand::ResetPassword { user } => {
            created(&client.post_empty(&users().join(user).join("password"))?, output)
        }
        UserCommand::Grant { user, role, place } => {
            let new = NewGrant {
                role,
                project: place.project,
                group: place.group,
            };
            let granted: Grant = client.post(&users().join(&user).join("grants"), &new)?;
            if output.json {
                return output.json(&granted);
            }
            output.note(format_args!("{user} is {}.", grant::summary(&[granted])));
            Ok(())
        }
        UserCommand::Revoke { user, place } => revoke(&client, &user, &place, output),
    }
}

fn list(users: &[UserInfo], output: Output) -> Result<()> {
    if output.json {
        return output.json(&users);
    }
    let mut table = Table::new(&["NAME", "KIND", "STATE", "PROJECT", "LAST LOGIN", "ROLES"]);
    for user in users {
        table.row([
            (user.name.clone(), Tone::Strong),
            cell(kind(user)),
            state(user),
            cell(user.project.clone().unwrap_or_default()),
            cell(last_login(user)),
            cell(grant::summary(&user.grants)),
        ]);
    }
    output.table(
        &table.without_empty("PROJECT"),
        "No users that you may see. Make one with `homeport user create`.",
    )
}

fn show(user: &UserInfo, output: Output) -> Result<()> {
    if output.json {
        return output.json(user);
    }
    let (state, tone) = state(user);
    output.line(
        Line::default()
            .column(&user.name, Tone::Strong)
            .column(state, tone),
    )?;
    output.pairs(&[
        ("kind", kind(user).to_owned()),
        ("project", user.project.clone().unwrap_or_default()),
        ("made", human::absolute(user.created_ms)),
        ("last login", last_login(user)),
    ])?;
    if !user.grants.is_empty() {
        output.line("")?;
    }
    let none = format!(
        "No roles that you may see. Grant one with `homeport user grant {} ROLE`.",
        user.name
    );
    output.table(&grant::table(&user.grants), &none)
}

/// A user with a password that nobody else knows, or a service without one.
fn created(created: &CreatedUser, output: Output) -> Result<()> {
    if output.json {
        return output.json(created);
    }
    let name = &created.user.name;
    let Some(password) = &created.password else {
        output.note(format_args!(
            "Service {name} is made. `homeport user grant {name} ROLE` lets it do something, and \
             `homeport access-token create --user {name}` makes its token."
        ));
        return Ok(());
    };
    let next = if created.user.grants.is_empty() {
        format!(" `homeport user grant {name} ROLE` lets the user do something.")
    } else {
        String::new()
    };
    output.secret(
        password,
        format_args!(
            "The password of {name}, shown this one time only; `homeport password` changes it.{next}"
        ),
    )
}

fn set_disabled(client: &Client, user: &str, disabled: bool) -> Result<UserInfo> {
    let change = UserPatch {
        disabled: Some(disabled),
    };
    client.patch(&users().join(user), &change)
}

fn revoke(client: &Client, user: &str, place: &Place, output: Output) -> Result<()> {
    let path = users().join(user);
    let UserInfo { grants, .. } = client.get(&path)?;
    let on = grant::place(place.project.as_deref(), place.group.as_deref());
    let granted = grants
        .into_iter()
        .find(|grant| grant.project == place.project && grant.group == place.group);
    let Some(granted) = granted else {
        return Err(Error::Failed(format!(
            "{user} has no role on {on}; `homeport user show {user}` lists the roles"
        )));
    };
    client.delete(&path.join("grants").join(granted.id))?;
    output.note(format_args!("{user} is no longer {} on {on}.", granted.role));
    Ok(())
}

fn done(user: &UserInfo, message: &str, output: Output) -> Result<()> {
    if output.json {
        return output.json(user);
    }
    output.note(message);
    Ok(())
}

fn kind(user: &UserInfo) -> &'static str {
    match user.kind {
        UserKind::Person => "person",
        UserKind::Service => "service",
    }
}

fn state(user: &UserInfo) -> (String, Tone) {
    if user.disabled {
        ("disabled".to_owned(), Tone::Bad)
    } else {
        ("enabled".to_owned(), Tone::Good)
    }
}

/// Services never log in.
fn last_login(user: &UserInfo) -> String {
    match user.kind {
        UserKind::Person => human::relative(user.last_login_ms),
        UserKind::Service => String::new(),
    }
}

fn users() -> ApiPath {
    ApiPath::new("users")
}
