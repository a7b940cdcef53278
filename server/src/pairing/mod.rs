//! Pairing tokens.

use homeport_api::{CreatedPairingToken, NewPairingToken, Page, PairingTokenInfo, Permission};
use homeport_protocol::PairingToken;

mod certificate_rows;
mod enrolment;
pub(crate) mod http;
pub(crate) mod readmission;
mod rows;

pub use self::{readmission::readmit, rows::Token};
use crate::{
    access::Actor,
    devices,
    fleet::{Fleet, FleetError},
    now_ms, random, sha256,
    store::Paging,
};

/// Life of a token if the request sets none, in seconds.
const DEFAULT_LIFE: u64 = 60 * 60;

/// Longest life of a token, in seconds.
const MAX_LIFE: u64 = 30 * 24 * 60 * 60;

/// Most tokens of one project, or of none, that wait to be used.
const MAX_UNUSED: usize = 100_000;

// === impl Fleet ===

impl Fleet {
    /// Makes a token. Only the answer holds its secret.
    pub async fn create_token(
        &self,
        actor: &Actor,
        new: NewPairingToken,
    ) -> Result<CreatedPairingToken, FleetError> {
        let life = new.ttl_seconds.unwrap_or(DEFAULT_LIFE);
        if !(1..=MAX_LIFE).contains(&life) {
            return Err(FleetError::Invalid(format!(
                "`ttl_seconds` is from 1 to {MAX_LIFE} (30 days)"
            )));
        }
        if let Some(name) = &new.device_name {
            devices::check_name(name)?;
        }
        let token = PairingToken {
            authority: self.0.addresses.https_authority.clone(),
            ca_fingerprint: self.0.addresses.ca_fingerprint,
            secret: random(),
        };
        let hash = sha256(&token.secret);
        let info = self
            .act(actor, move |tx, access, _| {
                let project = match (&new.device, new.project.as_deref()) {
                    (Some(device), _) => access.device(tx, device, Permission::DeviceRead)?.project,
                    (None, Some(project)) => project.to_owned(),
                    (None, None) => access.default_project(Permission::PairingChange)?,
                };
                if new.device.is_none() {
                    access.project(tx, &project, Permission::PairingChange)?;
                }
                access.require_in(Permission::PairingChange, &project)?;
                let now_ms = now_ms();
                if tx.count_unused_tokens(&project, now_ms)? >= MAX_UNUSED {
                    return Err(FleetError::Conflict {
                        kind: "too-many-tokens",
                        detail: format!(
                            "{MAX_UNUSED} pairing tokens wait to be used already: use or revoke some first"
                        ),
                    });
                }
                let expires_ms = now_ms.saturating_add(i64::try_from(life * 1000).unwrap_or(i64::MAX));
                let info = tx.insert_token(
                    &hash,
                    now_ms,
                    expires_ms,
                    &access.user,
                    &new,
                    (access.id, &project),
                )?;
                let detail = new.device.as_deref().unwrap_or_default();
                let number = info.id.to_string();
                tx.audit(now_ms, &project, &access.user, "token.create", &number, detail)?;
                Ok(info)
            })
            .await?;
        Ok(CreatedPairingToken {
            token: token.to_string(),
            info,
        })
    }

    /// Tokens that were not revoked, newest first.
    pub async fn tokens(
        &self,
        actor: &Actor,
        paging: Paging<u64>,
    ) -> Result<Page<PairingTokenInfo>, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(tx.tokens(&access.scope(Permission::PairingRead), &paging)?)
        })
        .await
    }

    /// Revokes a token: a device that uses it learns that it has expired.
    pub async fn revoke_token(&self, actor: &Actor, id: u64) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, _| {
            let project = tx
                .token_project(id)?
                .filter(|project| access.allows_in(Permission::PairingRead, project));
            let project = project.ok_or_else(|| FleetError::NotFound {
                what: "pairing token",
                id: id.to_string(),
            })?;
            access.require_in(Permission::PairingChange, &project)?;
            tx.revoke_token(id)?;
            tx.audit(
                now_ms(),
                &project,
                &access.user,
                "token.revoke",
                &id.to_string(),
                "",
            )?;
            Ok(())
        })
        .await
    }
}
