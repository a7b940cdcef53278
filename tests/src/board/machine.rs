//! A QEMU process in the toolbox, and the three sockets through which a board is driven.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::TempDir;

use super::facts::{Facts, repository};

/// QEMU connects as soon as it starts; the first start on a machine may have to build the toolbox before.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(900);
const CONNECT_POLL: Duration = Duration::from_millis(10);

/// What QEMU is started with, beyond the facts of the board.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    pub(crate) facts: Facts,
    pub(crate) memory_mib: u32,
    /// The board's own qcow2 file.
    pub(crate) disk: PathBuf,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) conditions: Conditions,
}

/// What a board has to live with: by default a quick disk and a clock that is right.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// What the board's clock says when it is switched on, as QEMU takes it (`1970-01-01T00:00:00`), if not the time.
    pub clock: Option<String>,
    /// How slow the disk is.
    pub throttle: Option<Throttle>,
    /// A file that gets all that the board writes and when it flushes, in the format of Linux' dm-log-writes.
    pub write_log: Option<PathBuf>,
}

/// The most that a disk does, reading and writing together.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// Bytes in a second.
    pub bytes_per_second: u64,
    /// Requests in a second.
    pub requests_per_second: u64,
}

/// A TCP port of this machine's loopback interface that leads to a port of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Port on this machine.
    pub host: u16,
    /// Port on the board.
    pub board: u16,
}

/// A running QEMU. It is killed when this is dropped, and by the kernel when this process dies.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    /// Dropping it lets the thread end that started QEMU.
    _launcher: mpsc::Sender<()>,
    /// Where the sockets were; kept as long as QEMU runs.
    _sockets: TempDir,
}

/// The connections of a running QEMU.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) serial: UnixStream,
    pub(crate) shell: UnixStream,
    pub(crate) monitor: UnixStream,
}

// === impl Hardware ===

impl Hardware {
    /// Program and arguments, but for the character devices `serial` and `shell` and the monitor.
    pub(crate) fn command(&self) -> Vec<String> {
        let forwards = self
            .forwards
            .iter()
            .map(|Forward { host, board }| format!("hostfwd=tcp:127.0.0.1:{host}-:{board}"));
        let network = ["user,id=net".to_owned()]
            .into_iter()
            .chain(forwards)
            .collect::<Vec<_>>()
            .join(",");
        let drive = self.drive();
        let clock = format!("base={}", self.conditions.clock.as_deref().unwrap_or("utc"));
        let memory = self.memory_mib.to_string();
        let common = [
            "-nodefaults",
            "-display",
            "none",
            "-accel",
            "tcg",
            "-smp",
            "1",
            "-m",
            &memory,
        ];
        let wiring = ["-rtc", &clock, "-drive", &drive, "-netdev", &network];
        let own = self.facts.qemu.arguments.iter().cloned();
        let shared = common.into_iter().chain(wiring).map(str::to_owned);
        [self.facts.qemu.program.clone()]
            .into_iter()
            .chain(shared)
            .chain(own)
            .collect()
    }

    fn drive(&self) -> String {
        let disk = self.disk.display();
        // Written back when the board flushes, and only then is it safe from a power cut: as on a real disk.
        let mut drive = vec!["if=none,id=disk,cache=writeback,discard=unmap".to_owned()];
        drive.push(match &self.conditions.write_log {
            None => format!("format=qcow2,file={disk}"),
            Some(log) => format!(
                "driver=blklogwrites,log-super-update-interval=1,log.driver=file,log.filename={},\
                 file.driver=qcow2,file.file.driver=file,file.file.filename={disk}",
                log.display()
            ),
        });
        if let Some(throttle) = self.conditions.throttle {
            drive.push(format!(
                "throttling.bps-total={},throttling.iops-total={}",
                throttle.bytes_per_second, throttle.requests_per_second
            ));
        }
        drive.join(",")
    }
}

// === impl Machine ===

impl Machine {
    /// Starts QEMU. Its messages go to `log`; `extra` arguments are appended.
    pub(crate) fn start(hardware: &Hardware, extra: &[String], log: &Path) -> Result<(Self, Sockets)> {
        // Not in the artefacts' folder: a socket's path has at most 107 bytes.
        let sockets = tempfile::Builder::new()
            .prefix("board-")
            .tempdir()
            .context("no temporary folder")?;
        let listeners = ["serial", "shell", "monitor"].map(|name| listen(&sockets.path().join(name)));
        let [serial, shell, monitor] = listeners;
        let (serial, shell, monitor) = (serial?, shell?, monitor?);

        let mut arguments = hardware.command();
        for name in ["serial", "shell", "monitor"] {
            let path = sockets.path().join(name);
            arguments.extend([
                "-chardev".to_owned(),
                format!("socket,id={name},path={}", path.display()),
            ]);
        }
        let uses = [
            "-serial",
            "chardev:serial",
            "-mon",
            "chardev=monitor,mode=control",
        ];
        arguments.extend(uses.map(str::to_owned));
        arguments.extend_from_slice(extra);

        let (child, launcher) = launch(arguments, log)?;
        let mut machine = Self {
            child,
            _launcher: launcher,
            _sockets: sockets,
        };
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let connections = Sockets {
            serial: machine.accept(&serial, deadline, log)?,
            shell: machine.accept(&shell, deadline, log)?,
            monitor: machine.accept(&monitor, deadline, log)?,
        };
        Ok((machine, connections))
    }

    /// Cuts the power: QEMU gets no chance to write anything.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill QEMU")?;
        self.wait()
    }

    /// Waits for QEMU to end after it was told to.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.child.wait().context("QEMU cannot be waited for").map(drop)
    }

    /// Process id of QEMU, for measurements.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn accept(&mut self, listener: &UnixListener, deadline: Instant, log: &Path) -> Result<UnixStream> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream
                        .set_nonblocking(false)
                        .context("cannot configure a socket")?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot accept QEMU's connection"),
            }
            if let Some(status) = self.child.try_wait().context("QEMU cannot be waited for")? {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("QEMU did not start ({status}):\n{said}");
            }
            if Instant::now() > deadline {
                bail!("QEMU did not connect within {CONNECT_TIMEOUT:?}");
            }
            thread::sleep(CONNECT_POLL);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    listener
        .set_nonblocking(true)
        .context("cannot configure a socket")?;
    Ok(listener)
}

/// A command that runs in the toolbox and dies with the thread that starts it.
pub(crate) fn toolbox() -> Command {
    let mut command = Command::new("setpriv");
    // Every program on the way to QEMU becomes the next one, so the setting and the process id last.
    command
        .args(["--pdeathsig", "KILL"])
        .arg(repository().join("qemu/toolbox"));
    command
}

/// Starts QEMU from a thread that lives as long as the sender: the kernel ends a child when the *thread* that started
/// it ends, and a test may hand its board to another thread.
fn launch(arguments: Vec<String>, log: &Path) -> Result<(Child, mpsc::Sender<()>)> {
    let log_file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = log_file.try_clone().context("cannot duplicate a file")?;
    let (keep, kept) = mpsc::channel::<()>();
    let (started, starting) = mpsc::channel();
    thread::spawn(move || {
        let child = toolbox()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log_file)
            .stderr(errors)
            .spawn();
        // The receiver waits for exactly this; when it is gone the child dies with this thread.
        let _ = started.send(child);
        let _ = kept.recv();
    });
    let child = starting
        .recv()
        .map_err(|_| anyhow!("the thread that starts QEMU ended"))?;
    Ok((child.context("cannot run setpriv and the toolbox")?, keep))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_wires_disk_and_ports() {
        let hardware = Hardware {
            facts: Facts::load("x86_64").unwrap(),
            memory_mib: 192,
            disk: PathBuf::from("/cache/overlay.qcow2"),
            forwards: vec![Forward {
                host: 2222,
                board: 22,
            }],
            conditions: Conditions {
                clock: Some("1970-01-01T00:00:00".to_owned()),
                throttle: Some(Throttle {
                    bytes_per_second: 4_000_000,
                    requests_per_second: 400,
                }),
                write_log: None,
            },
        };
        let command = hardware.command().join(" ");
        assert!(command.starts_with("qemu-system-x86_64 -nodefaults"), "{command}");
        assert!(command.contains("-m 192 "), "{command}");
        assert!(command.contains(",file=/cache/overlay.qcow2,"), "{command}");
        assert!(
            command.contains(",throttling.bps-total=4000000,throttling.iops-total=400 "),
            "{command}"
        );
        assert!(command.contains("-rtc base=1970-01-01T00:00:00 "), "{command}");
        assert!(
            command.contains("-netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22 "),
            "{command}"
        );
    }
}
