use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use homeport_api::{CommandRun, RunState};

use crate::{
    lab::Lab,
    site::{BOOT_LIMIT, ONLINE_LIMIT, Site},
    wait::wait_for,
};

/// A program on the board that never ends, and that nothing else there is called.
const ENDLESS: &str = "exec sleep 86413";

pub(super) fn run(lab: &Lab) -> Result<String> {
    let mut site = Site::paired(lab, "command")?;
    looks(&site)?;
    policy(&site)?;
    programs(&site)?;
    offline(&site)?;
    let killed = kills(&mut site)?;
    reboot(&mut site)?;
    Ok(format!(
        "looked, denied, run, cancelled, timed out, waited for the link; {killed}; rebooted"
    ))
}

/// What only looks is allowed on a device whose maker said nothing.
fn looks(site: &Site) -> Result<()> {
    let version = site.succeeds(&["get_version"])?;
    let kernel = site.check("uname -r")?;
    ensure!(version["kernel"] == kernel.trim(), "{version}");

    let processes = site.succeeds(&["ps"])?;
    let processes = processes["processes"].as_array().context("no list")?;
    let named = |name: &str| processes.iter().find(|process| process["name"] == name);
    let agent = named("homeport-agent").context("the agent is not among the processes")?;
    ensure!(agent["user"] == "homeport", "{agent}");
    let first = processes
        .iter()
        .find(|process| process["pid"] == 1)
        .context("no first process")?;
    ensure!(first["user"] == "root" && first["name"] == "systemd", "{first}");

    let network = site.succeeds(&["ifconfig"])?;
    let text = network.to_string();
    // What QEMU's network gives every board.
    ensure!(
        text.contains("10.0.2.15/24") && text.contains("10.0.2.2"),
        "{text}"
    );

    let disk = site.succeeds(&["disk"])?;
    let mounts = disk["file_systems"].as_array().context("no list")?;
    ensure!(
        mounts
            .iter()
            .any(|one| one["mount"] == "/" && one["size_bytes"].as_u64() > Some(1 << 20)),
        "{disk}"
    );
    let service = site.succeeds(&["service", "unit=homeport-agent.service"])?;
    ensure!(
        service["active"] == "active" && service["pid"] == agent["pid"],
        "{service}"
    );

    site.check("echo 'a line for the journal' | systemd-cat -t scenario")?;
    let lines = site
        .operator
        .run(&["logs", &site.device, "--grep", "a line for the journal"])?;
    ensure!(lines.contains("scenario"), "{lines}");
    Ok(())
}

/// What changes something needs a rule, and a refusal names the rule.
fn policy(site: &Site) -> Result<()> {
    let denied = site.command(&["service", "action=stop", "unit=dbus.service"])?;
    ensure!(
        denied.state == RunState::Denied && denied.detail.contains("default"),
        "{denied:?}"
    );
    let denied = site.command(&["killall", "name=systemd"])?;
    ensure!(denied.state == RunState::Denied, "{denied:?}");
    let stranger = site.command(&["run", "program=stranger"])?;
    ensure!(stranger.state == RunState::Denied, "{stranger:?}");
    // The agent itself may not use the sockets' other side.
    let sockets =
        site.check("stat -c '%U %a' /run/homeport-command/look.sock /run/homeport-command/control.sock")?;
    ensure!(
        sockets.lines().all(|line| line.trim() == "homeport 600"),
        "{sockets}"
    );
    Ok(())
}

/// Programs that behave badly.
fn programs(site: &Site) -> Result<()> {
    let failed = site.shell("echo out; echo err >&2; exit 3", &[])?;
    ensure!(
        failed.state == RunState::Failed && failed.exit_status == Some(3) && failed.output_end == 8,
        "{failed:?}"
    );
    let id = site.shell("id -u", &[])?;
    ensure!(id.state == RunState::Succeeded, "{id:?}");

    let late = site.shell(ENDLESS, &["--timeout", "5s"])?;
    ensure!(late.state == RunState::TimedOut, "{late:?}");
    site.nothing_runs()?;

    // The program ends; what it left behind goes with it.
    let left = site.shell("setsid sleep 86413 & echo left", &[])?;
    ensure!(left.state == RunState::Succeeded, "{left:?}");
    site.nothing_runs()?;

    let flood = site.shell("head -c 3000000 /dev/zero", &[])?;
    ensure!(
        flood.state == RunState::Succeeded
            && flood.output_end <= 1 << 20
            && flood.output_end + flood.dropped_bytes == 3_000_000,
        "{flood:?}"
    );

    let child = site.begin(&shell(ENDLESS, &[]))?;
    let number = site.wait_program("sleep 86413")?;
    site.operator.run(&["command", "cancel", &number.to_string()])?;
    let cancelled = end(child)?;
    ensure!(cancelled.state == RunState::Cancelled, "{cancelled:?}");
    site.nothing_runs()
}

/// A command waits for its device, and not for ever.
fn offline(site: &Site) -> Result<()> {
    site.board.set_link(false)?;
    let expires = site.shell("echo never >> /data/never", &["--expires", "1s"])?;
    ensure!(expires.state == RunState::Expired, "{expires:?}");
    let child = site.begin(&shell("echo once >> /data/once; sync", &[]))?;
    site.board.set_link(true)?;
    let waited = end(child)?;
    ensure!(waited.state == RunState::Succeeded, "{waited:?}");
    site.check("test ! -e /data/never")?;
    site.ran_once("once")
}

/// Agent, server and board are killed while something runs.
fn kills(site: &mut Site) -> Result<String> {
    let child = site.begin(&shell(
        &format!("echo agent >> /data/agent; sync; {ENDLESS}"),
        &[],
    ))?;
    site.wait_program("sleep 86413")?;
    site.check("systemctl kill --signal=KILL homeport-agent.service")?;
    let interrupted = end(child)?;
    ensure!(interrupted.state == RunState::Interrupted, "{interrupted:?}");
    site.ran_once("agent")?;
    site.nothing_runs()?;

    let number = {
        let child = site.begin(&shell(
            "echo server >> /data/server; sync; sleep 5; echo done",
            &[],
        ))?;
        let number = site.wait_program("sleep 5")?;
        site.server.kill()?;
        site.check("while pgrep -f 'sleep 5$' > /dev/null; do sleep 1; done")?;
        site.server.resume()?;
        // The command line takes the stream up again.
        let survived = end(child)?;
        ensure!(
            survived.state == RunState::Succeeded && survived.output_end == 5,
            "{survived:?}"
        );
        number
    };
    site.ran_once("server")?;

    let child = site.begin(&shell(
        &format!("echo power >> /data/power; sync; {ENDLESS}"),
        &[],
    ))?;
    site.wait_program("sleep 86413")?;
    site.board.power_cut()?;
    site.board.power_on()?;
    site.board.console().wait_ready(BOOT_LIMIT)?;
    let cut = end(child)?;
    ensure!(cut.state == RunState::Interrupted, "{cut:?}");
    site.ran_once("power")?;
    Ok(format!(
        "agent, server and power cut while commands ran (the last of {number})"
    ))
}

/// Success means that the device has booted again.
fn reboot(site: &mut Site) -> Result<()> {
    site.online()?;
    let before = site.check("cat /proc/sys/kernel/random/boot_id")?;
    let child = site.begin(&["reboot"])?;
    site.board.console().wait_ready(BOOT_LIMIT)?;
    let rebooted = end(child)?;
    ensure!(rebooted.state == RunState::Succeeded, "{rebooted:?}");
    let after = site.check("cat /proc/sys/kernel/random/boot_id")?;
    let result = rebooted.result.context("no result")?;
    ensure!(
        result["boot_id_before"] == before.trim() && result["boot_id"] == after.trim() && before != after,
        "{result}: from {before} to {after}"
    );
    Ok(())
}

/// The command `run` with the board's shell.
fn shell<'a>(script: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&["run"], options, &["--", "shell", "-c", script]].concat()
}

/// How it ended, whatever that is.
fn end(child: Child) -> Result<CommandRun> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no run: {}{said}", String::from_utf8_lossy(&output.stdout)))
}

// === impl Site ===

impl Site {
    /// Runs a command on the device to its end, whatever that is.
    fn command(&self, arguments: &[&str]) -> Result<CommandRun> {
        end(self.begin(arguments)?)
    }

    /// The result of a command that must succeed.
    fn succeeds(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let run = self.command(arguments)?;
        ensure!(run.state == RunState::Succeeded, "{run:?}");
        run.result.context("no result")
    }

    fn shell(&self, script: &str, options: &[&str]) -> Result<CommandRun> {
        self.command(&shell(script, options))
    }

    fn begin(&self, arguments: &[&str]) -> Result<Child> {
        let line = [&["run", "--json", &self.device], arguments].concat();
        let mut command = self.operator.command(&line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot run the command line")
    }

    /// Waits until a process with this command line runs on the board; answers with the number of the newest command.
    fn wait_program(&self, line: &str) -> Result<u64> {
        wait_for(&format!("`{line}` to run"), ONLINE_LIMIT, || {
            let found = self.check(&format!("pgrep -f '{line}$' || true"))?;
            Ok((!found.trim().is_empty()).then_some(()))
        })?;
        let runs: Vec<CommandRun> = self.operator.json(&["commands", &self.device])?;
        runs.first().map(|run| run.command).context("no command")
    }

    /// Waits until nothing that a command started is left.
    fn nothing_runs(&self) -> Result<()> {
        wait_for("the programs to be gone", ONLINE_LIMIT, || {
            let found = self.check("pgrep -af 'sleep 8641[3]' || true")?;
            ensure!(found.trim().is_empty(), "{found}");
            Ok(Some(()))
        })
    }

    fn ran_once(&self, name: &str) -> Result<()> {
        let written = self.check(&format!("cat /data/{name}"))?;
        ensure!(written.trim() == name, "it ran more than once: {written}");
        Ok(())
    }
}
