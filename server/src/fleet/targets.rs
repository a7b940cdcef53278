//! Targets: the devices that an update or a command is for.

use homeport_api::Target;

use super::FleetError;
use crate::store::Tx;

/// The devices of a target that have, or may get, a certificate. The server resolves a group once, when somebody asks for something.
pub(crate) fn able(tx: &Tx, target: &Target) -> Result<Vec<String>, FleetError> {
    match target {
        Target::Device(id) => {
            let device = tx.device(id)?.ok_or_else(|| FleetError::no_device(id))?;
            if device.revoked {
                return Err(FleetError::Conflict {
                    kind: "device-revoked",
                    detail: format!(
                        "the certificate of `{}` was revoked: pair it again first",
                        device.name
                    ),
                });
            }
            Ok(vec![device.id])
        }
        Target::Group(name) => {
            tx.group(name)?.ok_or_else(|| FleetError::no_group(name))?;
            let able = tx.able_group_devices(name)?;
            if able.is_empty() {
                return Err(FleetError::Conflict {
                    kind: "group-empty",
                    detail: format!(
                        "no device in the group `{name}` can be reached: put devices into it first"
                    ),
                });
            }
            Ok(able)
        }
    }
}
