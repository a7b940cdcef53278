//! Shows Homeport: boots a board, pairs it, updates it, and leaves everything running for a look.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use homeport_tests::{
    lab::{FACTORY_VERSION, Lab, Programs, build_agent, scratch},
    site::{BOOT_LIMIT, Site},
};

const USAGE: &str = "usage: ./just demo [--board x86_64] [--once] [--port 8443]
  --board B   which reference board to boot
  --once      end after the update: 0 when the device is verified
  --port P    where the page is served, 0 for any free port";

const NEW_VERSION: &str = "1.1.0";
const DEFAULT_PORT: u16 = 8443;

/// How long nothing happens at a time, once everything runs.
const IDLE: Duration = Duration::from_secs(3600);

struct Demo {
    lab: Lab,
    once: bool,
    port: u16,
}

fn main() -> ExitCode {
    match arguments(lexopt::Parser::from_env()).and_then(|demo| demo.map_or(Ok(()), |demo| demo.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

// === impl Demo ===

impl Demo {
    fn run(&self) -> Result<()> {
        let start = Instant::now();
        let step = |what: &str| eprintln!("[{:>4} s] {what}", start.elapsed().as_secs());

        step("building the board's disk");
        self.lab.disk()?;
        step(&format!(
            "building and signing a bundle with version {NEW_VERSION}"
        ));
        let bundle = self.lab.good(NEW_VERSION)?;

        step(&format!(
            "starting the server, booting the {} board (emulated: about half a minute)",
            self.lab.board
        ));
        let mut site = Site::start(&self.lab, &self.lab.folder, self.port)?;
        eprintln!("         the server listens at {}", site.server.url());
        eprintln!("         version {FACTORY_VERSION} runs from slot A");

        step("pairing it with a one-time token: homeport-agent pair homeport://…");
        site.pair()?;
        eprintln!("         online as {}", site.device);

        step("updating it: homeport deploy … --watch");
        let path = bundle.to_str().context("path is not text")?;
        let watched = site
            .operator
            .command(&["deploy", path, "--device", &site.device, "--watch"])
            .status()?;
        ensure!(
            watched.success(),
            "the update did not end verified; logs are in {}",
            site.folder.display()
        );
        let boot = site.board.console().wait_ready(BOOT_LIMIT)?;
        let update = site.shown()?.update.context("the device shows no update")?;
        step(&format!(
            "verified: version {} runs from slot {}; {} kB of the bundle's {} kB were fetched",
            boot.version,
            boot.slot,
            update.bytes_fetched / 1000,
            update.bundle_size / 1000
        ));
        if self.once {
            return Ok(());
        }
        println!("\n  page      {}", site.server.url());
        println!("  login     admin");
        println!("  password  {}", site.server.admin_password()?);
        println!("  the certificate is from the server's own CA: your browser will ask once");
        println!("\nCtrl-C ends the demo.");
        loop {
            thread::sleep(IDLE);
        }
    }
}

fn arguments(mut parser: lexopt::Parser) -> Result<Option<Demo>> {
    use lexopt::{
        Arg::{Long, Short},
        ValueExt as _,
    };

    let (mut server, mut cli, mut agent) = (None, None, None);
    let mut board = "x86_64".to_owned();
    let mut once = false;
    let mut port = DEFAULT_PORT;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("board") => board = parser.value()?.string()?,
            Long("port") => port = parser.value()?.parse()?,
            Long("once") => once = true,
            Long("server") => server = Some(parser.value()?.into()),
            Long("cli") => cli = Some(parser.value()?.into()),
            Long("agent") => agent = Some(parser.value()?.into()),
            Long("help") | Short('h') => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => bail!("{}\n{USAGE}", other.unexpected()),
        }
    }
    let folder = scratch().join("demo");
    let programs = Programs {
        server: server.context(USAGE)?,
        cli: cli.context(USAGE)?,
    };
    let agent = agent.map_or_else(|| build_agent(&board), Ok)?;
    let lab = Lab::new(&board, agent, programs, folder);
    Ok(Some(Demo { lab, once, port }))
}
