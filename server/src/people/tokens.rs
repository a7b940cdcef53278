//! Access tokens: for programs of a person, and for services.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_api::{AccessToken, CreatedAccessToken, NewAccessToken, Page, Permission, UserKind};

use crate::{
    access::{Access, Actor, Credential, named},
    fleet::{Fleet, FleetError, effects::Effect},
    now_ms, random, sha256,
    store::{Paging, Tx},
};

/// Longest life of a token, in days.
const MAX_DAYS: u32 = 366;

/// Longest name of a token, in characters.
const MAX_NAME: usize = 64;

/// Most tokens of one user.
const MAX_TOKENS: usize = 100;

const DAY: i64 = 24 * 60 * 60 * 1000;

// === impl Fleet ===

impl Fleet {
    /// A user's access tokens, newest first.
    pub async fn access_tokens(
        &self,
        actor: &Actor,
        user: String,
        paging: Paging<u64>,
    ) -> Result<Page<AccessToken>, FleetError> {
        let shown = actor.credential;
        self.ask(actor, move |tx, access| {
            let (id, found) = access.find_user(tx, &user)?;
            // A token that is limited does not tell of others, and a role in somebody's project gives no sight of the user's tokens.
            if matches!(shown, Credential::Token(_)) || id != access.id {
                let project = found.project.as_deref().unwrap_or_default();
                access.require_in(Permission::UserRead, project)?;
            }
            Ok(tx.access_tokens(id, &paging)?)
        })
        .await
    }

    /// Makes an access token for oneself, or for a service. Only the answer holds its secret.
    pub async fn create_access_token(
        &self,
        actor: &Actor,
        user: String,
        new: NewAccessToken,
    ) -> Result<CreatedAccessToken, FleetError> {
        let name_is_valid = (1..=MAX_NAME).contains(&new.name.chars().count())
            && !homeport_api::text::characters(&new.name).any(|(_, hidden)| hidden);
        if !name_is_valid {
            return Err(FleetError::Invalid(
                "a token's name is 1 to 64 characters that people can see".into(),
            ));
        }
        if !(1..=MAX_DAYS).contains(&new.days) {
            return Err(FleetError::Invalid(format!("`days` is from 1 to {MAX_DAYS}")));
        }
        let new = NewAccessToken {
            project: named(new.project)?,
            ..new
        };
        // A token that makes others would outlive its own end.
        if let Credential::Token(_) = actor.credential {
            return Err(FleetError::Conflict {
                kind: "no-session",
                detail: "an access token cannot make others: log in with a password to do this".into(),
            });
        }
        if user == actor.user {
            self.take_own(actor.id)?;
        }
        let secret = URL_SAFE_NO_PAD.encode(random::<32>());
        let hash = sha256(secret.as_bytes());
        let token = self
            .act(actor, move |tx, access, _| {
                let (id, project) = owner(tx, access, &user)?;
                let now_ms = now_ms();
                tx.prune_access_tokens(now_ms)?;
                if let Some(limit) = &new.project {
                    access.project(tx, limit, Permission::ProjectRead)?;
                }
                if tx.count_access_tokens(id)? >= MAX_TOKENS {
                    return Err(FleetError::Conflict {
                        kind: "too-many-tokens",
                        detail: format!("`{user}` has {MAX_TOKENS} access tokens already: revoke some first"),
                    });
                }
                let expires_ms = now_ms + i64::from(new.days) * DAY;
                let token = tx.insert_access_token(&hash, id, now_ms, expires_ms, &new)?;
                tx.audit(
                    now_ms,
                    &project,
                    &access.user,
                    "access-token.create",
                    &user,
                    &token.name,
                )?;
                Ok(token)
            })
            .await?;
        Ok(CreatedAccessToken { secret, token })
    }

    /// Revokes an access token: what it opened ends at once.
    pub async fn revoke_access_token(&self, actor: &Actor, user: String, id: u64) -> Result<(), FleetError> {
        let shown = actor.credential;
        self.act(actor, move |tx, access, effects| {
            let (of, found) = access.find_user(tx, &user)?;
            // A token gives itself up, and needs the permission for others.
            let own = match shown {
                Credential::Session(_) => of == access.id,
                Credential::Token(token) => u64::try_from(token).ok() == Some(id),
            };
            if !own {
                access.manage(tx, &user)?;
            }
            let name = tx
                .delete_access_token(of, id)?
                .ok_or_else(|| FleetError::NotFound {
                    what: "access token",
                    id: id.to_string(),
                })?;
            effects.push(Effect::Rights);
            let project = found.project.unwrap_or_default();
            tx.audit(
                now_ms(),
                &project,
                &access.user,
                "access-token.revoke",
                &user,
                &name,
            )?;
            Ok(())
        })
        .await
    }

    /// Notes that an access token was used, once in a while.
    pub(super) fn note_use(&self, actor: &Actor) {
        let Credential::Token(id) = actor.credential else {
            return;
        };
        let now_ms = now_ms();
        if !self.0.uses.is_due(id, now_ms) {
            return;
        }
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(error) = inner
                .store
                .write(move |tx| tx.access_token_used(id, now_ms))
                .await
            {
                tracing::warn!(%error, "cannot note that an access token was used");
            }
        });
    }
}

/// The row of the user who gets a token, and the user's project. Nobody gets a token that acts as another person.
fn owner(tx: &Tx, access: &Access, user: &str) -> Result<(i64, String), FleetError> {
    let (id, found) = access.find_user(tx, user)?;
    if id != access.id {
        access.manage(tx, user)?;
        if found.kind == UserKind::Person {
            return Err(FleetError::Conflict {
                kind: "person",
                detail: format!("only `{user}` makes access tokens for `{user}`: make a service instead"),
            });
        }
    }
    Ok((id, found.project.unwrap_or_default()))
}
