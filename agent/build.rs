//! Puts the build time into the binary: a clock that is behind it has not been set. Leaves out of it what no device needs.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    println!("cargo::rustc-env=HOMEPORT_BUILD_TIME={}", given.unwrap_or(now));
    leave_out_unwind_tables();
    leave_out_padding();
}

/// The linker prepares ARM's binaries for pages of 64 kB, which Linux has on no ARM of 32 bits, and fills the file up.
fn leave_out_padding() {
    if variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ARCH") == "arm" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,max-page-size=4096");
    }
}

/// A program that aborts on panic never unwinds, yet the standard library brings its tables along, and with link-time
/// optimisation everybody else's: an eighth of the binary. Cargo does not tell build scripts what a panic does, so that
/// whoever builds with the profile `device` says it. A static glibc registers its tables at the start and keeps them.
fn leave_out_unwind_tables() {
    const SCRIPT: &str = "unwind.ld";
    const SWITCH: &str = "HOMEPORT_UNWIND_TABLES";
    println!("cargo::rerun-if-changed={SCRIPT}");
    println!("cargo::rerun-if-env-changed={SWITCH}");
    let is_asked_for = match variable(SWITCH).as_str() {
        "" | "keep" => false,
        "discard" => true,
        other => {
            println!("cargo::error={SWITCH} is {other:?}; it can be \"keep\" or \"discard\"");
            return;
        }
    };
    let features = variable("CARGO_CFG_TARGET_FEATURE");
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if is_asked_for && variable("CARGO_CFG_TARGET_OS") == "linux" && !is_static {
        println!(
            "cargo::rustc-link-arg-bins=-T{}/{SCRIPT}",
            variable("CARGO_MANIFEST_DIR")
        );
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
