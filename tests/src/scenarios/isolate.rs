use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use homeport_api::CreatedAccessToken;

use crate::{
    lab::Lab,
    operator::Operator,
    site::{COMMAND_LIMIT, Site},
};

/// An attacker with tools that everybody has: openssl, curl, and mosquitto's clients.
struct Attacker<'a> {
    site: &'a Site,
    key: PathBuf,
    certificate: PathBuf,
    device: String,
}

pub(super) fn run(lab: &Lab) -> Result<String> {
    let site = Site::paired(lab, "isolate")?;
    let folder = site.folder.join("attacker");
    fs::create_dir_all(&folder)?;
    let attacker = Attacker::enrolled(&site, &folder)?;
    let victim = &site.device;
    let own = &attacker.device;

    let before = site.shown()?;
    let published = attacker.publish(own, &format!("hp1/{own}/progress"), "x")?;
    ensure!(
        published.status.success(),
        "a device may publish what is its own: {published:?}"
    );

    let mut tried = 0;
    for (client, topic) in [
        (own.as_str(), format!("hp1/{victim}/report")),
        (own.as_str(), format!("hp1/{victim}/telemetry")),
        (own.as_str(), format!("hp1/{victim}/command")),
        (own.as_str(), format!("hp1/{own}/command")),
        (own.as_str(), "elsewhere".to_owned()),
        (victim.as_str(), format!("hp1/{victim}/report")),
        (victim.as_str(), format!("hp1/{own}/report")),
    ] {
        let output = attacker.publish(client, &topic, "x")?;
        ensure!(
            !output.status.success(),
            "publishing as {client} to {topic} should fail: {output:?}"
        );
        tried += 1;
    }
    for (client, filter) in [
        (own.as_str(), "#".to_owned()),
        (own.as_str(), "hp1/+/command".to_owned()),
        (own.as_str(), format!("hp1/{victim}/command")),
        (own.as_str(), format!("hp1/{victim}/#")),
        (victim.as_str(), format!("hp1/{victim}/command")),
    ] {
        let output = attacker.subscribe(client, &filter)?;
        // mosquitto_sub ends well even when it was denied.
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() || said.contains("denied"),
            "subscribing as {client} to {filter} should fail: {output:?}"
        );
        tried += 1;
    }
    let after = site.online()?;
    ensure!(
        before.os_version == after.os_version && before.hostname == after.hostname,
        "the victim is unchanged"
    );

    let stranger = attacker.self_signed(&folder)?;
    let output = stranger.publish(own, &format!("hp1/{own}/progress"), "x")?;
    ensure!(
        !output.status.success(),
        "an unknown certificate gets no connection: {output:?}"
    );

    local_strangers(&site)?;
    customers(&site)?;
    live_revocation(&attacker)?;
    let output = attacker.publish(own, &format!("hp1/{own}/progress"), "x")?;
    ensure!(
        !output.status.success(),
        "a revoked certificate gets no connection: {output:?}"
    );
    let download = attacker.curl("/device/v1/config")?;
    ensure!(
        !download.status.success(),
        "a revoked certificate gets nothing over HTTPS: {download:?}"
    );
    site.online()?;
    Ok(format!(
        "{tried} foreign client ids and topics refused; unknown and revoked certificates refused, live one dropped; \
         a stranger on the device is denied on the bus; customers see only their own devices"
    ))
}

/// Two customers of one server, each with a pipeline of its own: the device is there for the one, and does not exist for the other.
fn customers(site: &Site) -> Result<()> {
    let device = site.device.as_str();
    let owner = pipeline(site, "acme")?;
    let other = pipeline(site, "beta")?;
    site.operator.run(&["device", "move", device, "acme"])?;
    ensure!(
        owner
            .devices()?
            .iter()
            .any(|seen| seen.id == device && seen.online),
        "acme sees its device"
    );
    ensure!(other.devices()?.is_empty(), "beta sees no device");
    refused(&other, &["device", "show", device], "no device")?;
    // A viewer sees the device, and is told what is missing.
    refused(&owner, &["device", "revoke", device, "--yes"], "maintainer")?;
    let renamed = refused(&owner, &["device", "rename", device, "mine"], "operator")?;
    ensure!(
        renamed.contains("device.change"),
        "the permission is named: {renamed}"
    );
    site.operator.run(&["device", "move", device, "--none"])?;
    ensure!(owner.devices()?.is_empty(), "the device is gone from acme");
    site.operator.run(&["user", "disable", "acme-ci"])?;
    refused(&owner, &["devices"], "HOMEPORT_TOKEN")?;
    site.online()?;
    Ok(())
}

/// A service that may look at a project of its own.
fn pipeline(site: &Site, project: &str) -> Result<Operator> {
    let admin = &site.operator;
    let user = format!("{project}-ci");
    admin.run(&["project", "create", project])?;
    admin.run(&["user", "create", &user, "--service", "--project", project])?;
    admin.run(&["user", "grant", &user, "viewer", "--project", project])?;
    let create = [
        "access-token",
        "create",
        "--user",
        &user,
        "--name",
        "e2e",
        "--role",
        "viewer",
    ];
    let made: CreatedAccessToken = admin.json(&create)?;
    Ok(admin.pipeline(&site.server, &made.secret))
}

/// Runs a command that must fail with `reason` in what it says.
fn refused(operator: &Operator, arguments: &[&str], reason: &str) -> Result<String> {
    let output = operator.command(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && said.contains(reason),
        "homeport {} should fail for the reason {reason}: {said}",
        arguments.join(" ")
    );
    Ok(said)
}

/// A process on the device that is neither root nor the agent may talk to neither the agent nor RAUC.
fn local_strangers(site: &Site) -> Result<()> {
    for call in [
        "de.pengutronix.rauc / de.pengutronix.rauc.Installer GetSlotStatus",
        "io.homeport.Agent1 /io/homeport/Agent1 io.homeport.Agent1 Status",
    ] {
        site.check(&format!("busctl call {call}"))?;
        let stranger = format!("systemd-run --quiet --wait --pipe --uid=nobody busctl call {call}");
        let output = site.board.console().run(&stranger, COMMAND_LIMIT)?;
        ensure!(output.status != 0, "nobody must not call {call}: {}", output.text);
        ensure!(
            output.text.to_lowercase().contains("denied"),
            "the bus should deny {call}: {}",
            output.text
        );
    }
    Ok(())
}

/// A connection that stands when its certificate is revoked must end.
fn live_revocation(attacker: &Attacker<'_>) -> Result<()> {
    let own = &attacker.device;
    let mut live = attacker
        .mosquitto("mosquitto_sub", own, &format!("hp1/{own}/command"))
        .spawn()?;
    attacker.site.operator.wait_online(own, true, COMMAND_LIMIT)?;
    attacker.site.operator.run(&["device", "revoke", own, "--yes"])?;
    attacker.site.operator.wait_online(own, false, COMMAND_LIMIT)?;
    // mosquitto_sub would connect again for ever; it is the server that must not let it.
    live.kill()?;
    live.wait()?;
    Ok(())
}

// === impl Attacker ===

impl<'a> Attacker<'a> {
    /// Enrols a second device with openssl and curl only.
    fn enrolled(site: &'a Site, folder: &Path) -> Result<Self> {
        let (key, request, answer, certificate) = (
            folder.join("key.pem"),
            folder.join("csr.der"),
            folder.join("answer.p7"),
            folder.join("certificate.pem"),
        );
        openssl(
            &[
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=x",
            ],
            &[("-keyout", &key), ("-out", &folder.join("csr.pem"))],
        )?;
        openssl(
            &["req", "-outform", "DER"],
            &[("-in", &folder.join("csr.pem")), ("-out", &request)],
        )?;
        let body = folder.join("csr.b64");
        openssl(&["base64"], &[("-in", &request), ("-out", &body)])?;
        let token: homeport_protocol::PairingToken = site.operator.token("1h")?.parse()?;
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--user",
                &format!("pairing:{}", token.password()),
            ])
            .args(["--header", "Content-Type: application/pkcs10", "--data-binary"])
            .arg(format!("@{}", body.display()))
            .arg("--cacert")
            .arg(site.server.data().join("ca-certificate.pem"))
            .arg("--output")
            .arg(&answer)
            .arg(format!("{}/.well-known/est/simpleenroll", site.server.url()))
            .output()?;
        ensure!(output.status.success(), "enrolling with curl: {output:?}");
        let der = folder.join("answer.der");
        openssl(&["base64", "-d"], &[("-in", &answer), ("-out", &der)])?;
        openssl(
            &["pkcs7", "-inform", "DER", "-print_certs"],
            &[("-in", &der), ("-out", &certificate)],
        )?;
        let device = site
            .operator
            .devices()?
            .into_iter()
            .map(|device| device.id)
            .find(|id| *id != site.device);
        let device = device.context("the second device is not listed")?;
        Ok(Self {
            site,
            key,
            certificate,
            device,
        })
    }

    /// The same names in a certificate that the server did not issue.
    fn self_signed(&self, folder: &Path) -> Result<Self> {
        let (key, certificate) = (folder.join("own.key"), folder.join("own.pem"));
        let subject = format!("/CN={}", self.device);
        openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &subject,
            ],
            &[("-keyout", &key), ("-out", &certificate)],
        )?;
        Ok(Self {
            site: self.site,
            key,
            certificate,
            device: self.device.clone(),
        })
    }

    /// Publishes with quality of service 1, which waits for the server's word.
    fn publish(&self, client: &str, topic: &str, payload: &str) -> Result<Output> {
        let mut command = self.mosquitto("mosquitto_pub", client, topic);
        Ok(command.args(["-m", payload]).output()?)
    }

    /// Subscribes; ends with an error when the server refuses or hangs up, and successfully after a message or some silence.
    fn subscribe(&self, client: &str, filter: &str) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.arg("20").arg("mosquitto_sub");
        self.trust(&mut command, client, filter);
        // -E: end once the subscription is acknowledged; a refusal ends it with an error.
        Ok(command.args(["-E"]).output()?)
    }

    fn mosquitto(&self, program: &str, client: &str, topic: &str) -> Command {
        let mut command = Command::new(program);
        self.trust(&mut command, client, topic);
        command
    }

    fn trust(&self, command: &mut Command, client: &str, topic: &str) {
        let port = self.site.server.listening().mqtt.port().to_string();
        command
            .args([
                "-V",
                "5",
                "-h",
                "localhost",
                "-p",
                &port,
                "-q",
                "1",
                "-i",
                client,
                "-t",
                topic,
                "--cafile",
            ])
            .arg(self.site.server.data().join("ca-certificate.pem"))
            .arg("--cert")
            .arg(&self.certificate)
            .arg("--key")
            .arg(&self.key);
    }

    fn curl(&self, path: &str) -> Result<Output> {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail", "--cacert"])
            .arg(self.site.server.data().join("ca-certificate.pem"));
        command
            .arg("--cert")
            .arg(&self.certificate)
            .arg("--key")
            .arg(&self.key);
        Ok(command
            .arg(format!("{}{path}", self.site.server.url()))
            .output()?)
    }
}

fn openssl(arguments: &[&str], files: &[(&str, &Path)]) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(arguments);
    for (option, file) in files {
        command.arg(option).arg(file);
    }
    let output = command.output().context("cannot run openssl")?;
    ensure!(output.status.success(), "openssl {arguments:?}: {output:?}");
    Ok(())
}
