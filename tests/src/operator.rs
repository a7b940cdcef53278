//! An operator at the command line: the real `homeport`, logged in to one server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use homeport_api::{
    Bundle, CreatedPairingToken, Deployment, Device, DeviceUpdate, Series, StateChange, UpdateHistory,
};
use homeport_protocol::DeploymentState;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{server::Server, wait::wait_for};

/// More than a test gathers: none are averaged.
const ALL_POINTS: &str = "2000";

/// The command line, with a configuration folder of its own.
#[derive(Debug, Clone)]
pub struct Operator {
    binary: PathBuf,
    home: PathBuf,
    /// Variables of the environment, such as an access token.
    environment: Vec<(&'static str, String)>,
}

/// What `homeport deployment show` tells, as far as tests look at it.
#[derive(Deserialize)]
struct Shown {
    devices: Vec<UpdateHistory>,
}

// === impl Operator ===

impl Operator {
    /// Logs in as the first admin.
    pub fn login(binary: &Path, home: &Path, server: &Server) -> Result<Self> {
        let operator = Self {
            binary: binary.to_owned(),
            home: home.to_owned(),
            environment: Vec::new(),
        };
        let output = operator
            .command(&["login", &server.url(), "--user", "admin", "--ca"])
            .arg(server.data().join("ca-certificate.pem"))
            .env("HOMEPORT_PASSWORD", server.admin_password()?)
            .output()?;
        succeeded(&["login"], output)?;
        Ok(operator)
    }

    /// An operator who has logged in before, to the same server.
    #[must_use]
    pub fn returning(binary: &Path, home: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            home: home.to_owned(),
            environment: Vec::new(),
        }
    }

    /// A pipeline with this access token, which has logged in nowhere.
    #[must_use]
    pub fn pipeline(&self, server: &Server, token: &str) -> Self {
        let ca = server.data().join("ca-certificate.pem");
        Self {
            binary: self.binary.clone(),
            home: self.home.join("nowhere"),
            environment: vec![
                ("HOMEPORT_URL", server.url()),
                ("HOMEPORT_CA", ca.display().to_string()),
                ("HOMEPORT_TOKEN", token.to_owned()),
            ],
        }
    }

    /// Runs the command line; an exit code other than 0 is an error with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        succeeded(arguments, output)
    }

    /// Runs the command line with `--json`.
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let text = self.run(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("homeport {} gave {text}", arguments.join(" ")))
    }

    /// The command line, ready to run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("XDG_CONFIG_HOME", &self.home);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A new one-time token that lives for `ttl`, e.g. `1h`.
    pub fn token(&self, ttl: &str) -> Result<String> {
        Ok(self
            .json::<CreatedPairingToken>(&["token", "create", "--ttl", ttl])?
            .token)
    }

    /// All devices.
    pub fn devices(&self) -> Result<Vec<Device>> {
        self.json(&["devices"])
    }

    /// One device.
    pub fn device(&self, id: &str) -> Result<Device> {
        self.json(&["device", "show", id])
    }

    /// Uploads a bundle.
    pub fn upload(&self, file: &Path) -> Result<Bundle> {
        let file = file.to_str().context("path is not text")?;
        self.json(&["bundle", "upload", file])
    }

    /// Starts a deployment to one device and returns its number.
    pub fn deploy(&self, bundle: &Bundle, device: &str) -> Result<u64> {
        Ok(self
            .json::<Deployment>(&["deploy", &bundle.id, "--device", device])?
            .id)
    }

    /// How the only device of a deployment stands.
    pub fn update(&self, deployment: u64) -> Result<DeviceUpdate> {
        Ok(self.shown(deployment)?.update)
    }

    /// Every state that the only device of a deployment went through.
    pub fn history(&self, deployment: u64) -> Result<Vec<StateChange>> {
        Ok(self.shown(deployment)?.history)
    }

    fn shown(&self, deployment: u64) -> Result<UpdateHistory> {
        let mut shown: Shown = self.json(&["deployment", "show", &deployment.to_string()])?;
        ensure!(shown.devices.len() == 1, "a deployment to one device");
        Ok(shown.devices.remove(0))
    }

    /// Waits until the deployment's device enters `state` or passes it by. Ending in another final state is an error with its reason.
    pub fn wait_state(
        &self,
        deployment: u64,
        state: DeploymentState,
        limit: Duration,
    ) -> Result<DeviceUpdate> {
        let what = format!("deployment {deployment} to be {}", state.as_str());
        let update = wait_for(&what, limit, || {
            let UpdateHistory { update, history } = self.shown(deployment)?;
            let entered = update.state == state || history.iter().any(|change| change.state == state);
            Ok((entered || update.state.is_final()).then_some(update))
        })
        .with_context(|| format!("it stands at {:?}", self.update(deployment)))?;
        if update.state.is_final() && update.state != state && state.is_final() {
            bail!("{what}, but it is {}: {:?}", update.state.as_str(), update.reason);
        }
        Ok(update)
    }

    /// Waits until the deployment has ended, however.
    pub fn wait_end(&self, deployment: u64, limit: Duration) -> Result<DeviceUpdate> {
        wait_for(&format!("deployment {deployment} to end"), limit, || {
            let update = self.update(deployment)?;
            Ok(update.state.is_final().then_some(update))
        })
        .with_context(|| format!("it stands at {:?}", self.update(deployment)))
    }

    /// Waits until the device is connected, or is not.
    pub fn wait_online(&self, device: &str, online: bool, limit: Duration) -> Result<Device> {
        let what = format!("{device} to be {}", if online { "online" } else { "offline" });
        wait_for(&what, limit, || {
            Ok(Some(self.device(device)?).filter(|device| device.online == online))
        })
    }

    /// All samples of one telemetry series.
    pub fn telemetry(&self, device: &str, name: &str) -> Result<Series> {
        let series: Vec<Series> = self.json(&[
            "device",
            "telemetry",
            device,
            "--name",
            name,
            "--points",
            ALL_POINTS,
        ])?;
        series
            .into_iter()
            .next()
            .with_context(|| format!("no telemetry {name} of {device}"))
    }
}

fn succeeded(arguments: &[&str], output: Output) -> Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "homeport {}: {}: {}",
            arguments.first().unwrap_or(&""),
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
