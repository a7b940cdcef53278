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
/// optimisation everybody else's: an eighth of the binary. Cargo does not tell build scripts what a panic does; that the
/// profile counts bytes, as `device` does, it tells. A static glibc registers its tables at the start and keeps them.
fn leave_out_unwind_tables() {
    const SCRIPT: &str = "unwind.ld";
    println!("cargo::rerun-if-changed={SCRIPT}");
    let features = variable("CARGO_CFG_TARGET_FEATURE");
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if variable("OPT_LEVEL") == "z" && variable("CARGO_CFG_TARGET_OS") == "linux" && !is_static {
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
