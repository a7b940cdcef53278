//! Pairing tokens.

use homeport_api::{CreatedPairingToken, NewPairingToken, PairingTokenInfo};

use crate::{
    api_path::ApiPath,
    args::TokenCommand,
    error::Result,
    find, human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// `homeport token`
pub(crate) fn run(command: Option<TokenCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(TokenCommand::List) {
        TokenCommand::Create {
            ttl,
            name,
            device,
            project,
        } => {
            let device = device
                .map(|device| find::device(&client, &device))
                .transpose()?
                .map(|device| device.id);
            let created: CreatedPairingToken = client.post(
                &tokens(),
                &NewPairingToken {
                    ttl_seconds: Some(ttl.as_secs()),
                    device_name: name,
                    device,
                    project,
                },
            )?;
            if output.json {
                return output.json(&created);
            }
            output.secret(
                &created.token,
                format_args!(
                    "Pairs one device, expires {}. On the device: homeport-agent pair <token>",
                    human::relative(Some(created.info.expires_ms))
                ),
            )
        }
        TokenCommand::List => {
            let tokens: Vec<PairingTokenInfo> = client.list(&tokens())?;
            if output.json {
                return output.json(&tokens);
            }
            let mut table = Table::new(&[
                "ID",
                "STATE",
                "EXPIRES",
                "PROJECT",
                "DEVICE NAME",
                "CREATED",
                "BY",
            ]);
            for token in tokens {
                let state = match &token.used_by {
                    Some(device) => (format!("used by {device}"), Tone::Faint),
                    None if token.expires_ms <= human::now_ms() => ("expired".to_owned(), Tone::Faint),
                    None => ("open".to_owned(), Tone::Good),
                };
                table.row([
                    cell(token.id.to_string()),
                    state,
                    cell(human::relative(Some(token.expires_ms))),
                    cell(token.project.unwrap_or_default()),
                    cell(token.device_name.unwrap_or_default()),
                    cell(human::relative(Some(token.created_ms))),
                    cell(token.created_by),
                ]);
            }
            output.table(
                &table.without_empty("PROJECT"),
                "No tokens. Make one with `homeport token create`.",
            )
        }
        TokenCommand::Delete { id } => {
            client.delete(&tokens().join(id))?;
            output.note(format_args!("Token {id} is deleted."));
            Ok(())
        }
    }
}

fn tokens() -> ApiPath {
    ApiPath::new("pairing-tokens")
}
