//! The types of Homeport's REST API (`/api/v1`), shared by server and clients.
//!
//! Conventions: JSON in and out. Times are milliseconds since 1970-01-01T00:00:00Z in fields that end in `_ms`, and sizes are bytes.
//! Clients ignore unknown fields. Every error is a [`Problem`] (RFC 9457). A client authenticates with `Authorization: Bearer <token>`, the
//! token from [`Session`]; the web page with the cookie of the same name.
//!
//! A list is a [`Page`]: `?limit=` sets the number of items (default 50, at most 200), and `?after=` takes the `next` of the page before.
//!
//! | method and path | in | out |
//! |---|---|---|
//! | `GET /api/v1/health` (no login) | | [`Health`] |
//! | `POST /api/v1/session` (no login) | [`Login`] | [`Session`] |
//! | `GET`, `DELETE /api/v1/session` | | [`User`], 204 |
//! | `PUT /api/v1/session/password` | [`PasswordChange`] | 204 |
//! | `GET`, `POST /api/v1/users` | [`NewUser`] | [`Page`]`<`[`UserInfo`]`>`, [`CreatedUser`] |
//! | `GET`, `PATCH`, `DELETE /api/v1/users/{name}` | [`UserPatch`] | [`UserInfo`], [`UserInfo`], 204 |
//! | `POST /api/v1/users/{name}/password` | | [`CreatedUser`] with a new password |
//! | `POST /api/v1/users/{name}/grants` | [`NewGrant`] | [`Grant`] |
//! | `DELETE /api/v1/users/{name}/grants/{id}` | | 204 |
//! | `GET`, `POST /api/v1/users/{name}/tokens` | [`NewAccessToken`] | [`Page`]`<`[`AccessToken`]`>`, [`CreatedAccessToken`] |
//! | `DELETE /api/v1/users/{name}/tokens/{id}` | | 204 |
//! | `GET`, `POST /api/v1/projects` | [`NewProject`] | [`Page`]`<`[`Project`]`>`, [`Project`] |
//! | `DELETE /api/v1/projects/{path}` | `/` in the path as `%2F` | 204 |
//! | `POST`, `GET /api/v1/pairing-tokens` | [`NewPairingToken`] | [`CreatedPairingToken`], [`Page`]`<`[`PairingTokenInfo`]`>` |
//! | `DELETE /api/v1/pairing-tokens/{id}` | | 204 |
//! | `GET /api/v1/devices` | `?group=&project=`, or `?find=` | [`Page`]`<`[`Device`]`>` |
//! | `GET`, `PATCH`, `DELETE /api/v1/devices/{id}` | [`DevicePatch`] | [`Device`], [`Device`], 204 |
//! | `POST /api/v1/devices/{id}/revoke` | | [`Device`] |
//! | `GET /api/v1/devices/{id}/telemetry` | `?name=&from_ms=&to_ms=&points=` | `[`[`Series`]`]` |
//! | `GET /api/v1/devices/{id}/updates` | | [`Page`]`<`[`DeviceUpdate`]`>` |
//! | `GET /api/v1/devices/{id}/updates/{update}` | | [`UpdateHistory`] |
//! | `GET`, `POST /api/v1/groups` | [`NewGroup`] | [`Page`]`<`[`Group`]`>`, [`Group`] |
//! | `GET`, `DELETE /api/v1/groups/{name}` | `/` in the name as `%2F` | [`Group`], 204 |
//! | `PUT`, `DELETE /api/v1/groups/{name}/devices/{id}` | | 204 |
//! | `GET`, `POST /api/v1/bundles` | the file's bytes, `Content-Length`, optional `?sha256=&project=` | [`Page`]`<`[`Bundle`]`>`, [`Bundle`] |
//! | `GET`, `DELETE /api/v1/bundles/{id}` | `?project=`; `?force=true` deletes a bundle that a deployment still needs | [`Bundle`], 204 |
//! | `GET`, `POST /api/v1/deployments` | [`NewDeployment`] | [`Page`]`<`[`Deployment`]`>`, [`Deployment`] |
//! | `GET /api/v1/deployments/{id}` | | [`Deployment`] |
//! | `GET /api/v1/deployments/{id}/devices` | `?state=` | [`Page`]`<`[`DeviceProgress`]`>` |
//! | `POST /api/v1/deployments/{id}/cancel` | | [`Deployment`] |
//! | `GET /api/v1/command-kinds` | `?device=` | `[`[`CommandKind`]`]` |
//! | `GET`, `POST /api/v1/commands` | [`NewCommand`] | [`Page`]`<`[`Command`]`>`, [`Command`] |
//! | `GET /api/v1/commands/{id}` | | [`Command`] |
//! | `POST /api/v1/commands/{id}/cancel` | | [`Command`] |
//! | `GET /api/v1/commands/{id}/devices` | `?state=` | [`Page`]`<`[`CommandRun`]`>` |
//! | `GET /api/v1/commands/{id}/devices/{device}` | | [`CommandRun`] |
//! | `GET /api/v1/commands/{id}/devices/{device}/output` | `?from=&follow=` | lines of JSON, each an [`OutputLine`] |
//! | `GET /api/v1/devices/{id}/commands` | | [`Page`]`<`[`CommandRun`]`>` |
//! | `GET /api/v1/events` | | server-sent events, each `data:` an [`Event`] |
//! | `GET /api/v1/audit` | | [`Page`]`<`[`AuditEntry`]`>` |
//! | `GET /api/v1/openapi.json` (no login) | | the OpenAPI 3.1 document |

#![forbid(unsafe_code)]

mod access;
mod audit;
mod bundle;
mod command;
mod deployment;
mod device;
mod event;
mod page;
mod pairing;
mod session;
pub mod text;
mod user;

pub use self::{
    access::{Grant, NewGrant, NewProject, Permission, Project, Role},
    audit::AuditEntry,
    bundle::{Bundle, BundleImage},
    command::{Command, CommandKind, CommandRun, NewCommand, OutputLine, RunState},
    deployment::{
        Deployment, DeviceProgress, DeviceUpdate, NewDeployment, StateChange, Target, UpdateHistory,
        UpdateOrigin, Why,
    },
    device::{Device, DevicePatch, DeviceSlot, Group, NewGroup, Point, Series},
    event::Event,
    page::Page,
    pairing::{CreatedPairingToken, NewPairingToken, PairingTokenInfo},
    session::{Health, Login, PasswordChange, Problem, Session, User},
    user::{
        AccessToken, CreatedAccessToken, CreatedUser, NewAccessToken, NewUser, UserInfo, UserKind, UserPatch,
    },
};
