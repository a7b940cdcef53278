//! The real server as a process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::wait::wait_for;

/// Where boards in QEMU find the host.
pub const HOST: &str = "10.0.2.2";

/// How long the server may take to listen. It makes its CA at the first start.
const START_LIMIT: Duration = Duration::from_secs(180);

/// How long it may take to stop when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// A server on loopback. Dies with this value, and with this process.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    host: String,
    listening: Listening,
    /// Address of a PostgreSQL, in place of the file.
    database: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Listening {
    /// Page, API, EST, bundles.
    pub https: SocketAddr,
    /// Devices.
    pub mqtt: SocketAddr,
}

// === impl Server ===

impl Server {
    /// Starts the server on the given HTTPS port, 0 for any free one. `folder` gets its data and log.
    pub fn start(binary: &Path, folder: &Path, https_port: u16) -> Result<Self> {
        Self::start_as(HOST, binary, folder, https_port)
    }

    /// The same, where boards know it by this name or address.
    pub fn start_as(host: &str, binary: &Path, folder: &Path, https_port: u16) -> Result<Self> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let listening = Listening {
            https: loopback(https_port),
            mqtt: loopback(0),
        };
        Self::run(host, binary, folder, listening)
    }

    /// Starts a server with the data that another one left in `folder`, at the other one's addresses.
    pub fn restore(binary: &Path, folder: &Path, listening: Listening) -> Result<Self> {
        Self::run(HOST, binary, folder, listening)
    }

    fn run(host: &str, binary: &Path, folder: &Path, listening: Listening) -> Result<Self> {
        let mut server = Self {
            binary: binary.to_owned(),
            data: folder.join("data"),
            log: folder.join("server.log"),
            child: None,
            host: host.to_owned(),
            listening,
            database: None,
        };
        server.resume()?;
        Ok(server)
    }

    /// Starts it again on the ports it had.
    pub fn resume(&mut self) -> Result<()> {
        let announcement = self.data.join("listening.json");
        fs::create_dir_all(&self.data)?;
        let _ = fs::remove_file(&announcement);
        let log = File::options().create(true).append(true).open(&self.log)?;
        // The kernel ends the server when the thread that started it is gone: nothing outlives a killed test.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.binary)
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--https-listen", &self.listening.https.to_string()])
            .args(["--mqtt-listen", &self.listening.mqtt.to_string()])
            .args(["--host-name", &self.host])
            .args(["--host-name", "localhost", "--host-name", "127.0.0.1"])
            .args(self.database.iter().flat_map(|address| ["--database", address]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.child = Some(child);
        self.listening = wait_for("the server to listen", START_LIMIT, || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                return Err(anyhow::anyhow!(
                    "the server ended with {}: see {}",
                    status?,
                    self.log.display()
                ));
            }
            let Ok(text) = fs::read(&announcement) else {
                return Ok(None);
            };
            Ok(serde_json::from_slice(&text).ok())
        })?;
        Ok(())
    }

    /// The next start uses this PostgreSQL.
    pub fn use_database(&mut self, address: String) {
        self.database = Some(address);
    }

    /// Ends it at once, as a power cut or the kernel's out-of-memory killer would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let asked = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()?;
        ensure!(asked.success(), "cannot signal the server");
        let status = wait_for("the server to stop", STOP_LIMIT, || Ok(child.try_wait()?))?;
        ensure!(
            status.success(),
            "the server stopped with {status}: see {}",
            self.log.display()
        );
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Its address for people on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.listening.https.port())
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The password of the first admin.
    pub fn admin_password(&self) -> Result<String> {
        let file = self.data.join("first-admin-password");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
