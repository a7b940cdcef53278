//! What RAUC's English error texts mean. They are all it tells.
//!
//! Words of strangers stand in these texts: what a bundle's hook printed, names of slots, paths. A text is therefore read
//! from its beginning, where only RAUC's own words can be, and never searched. All else is `backend`.

use homeport_protocol::{FailureCode, Reason};

use crate::BackendError;

/// Begin the text of whoever could not do the work for the reason that follows.
const WRAPPERS: &[&str] = &["installation error: ", MOUNTING];
const MOUNTING: &str = "failed mounting bundle: ";

/// Begin texts in which a word follows (a slot's name, an address), then a colon, then the reason.
const UPDATING: &str = "failed updating slot ";
const STREAMING: &str = "failed to stream bundle ";

/// The same where the address was ours.
const STREAMED: &str = "failed to stream bundle the bundle: ";

/// How causes begin, in lower case. From the sources of RAUC 1.8 to 1.15.
const CODES: &[(&str, FailureCode)] = &[
    ("signature verification failed", FailureCode::Signature),
    ("failed to verify x509", FailureCode::Signature),
    ("no keyring", FailureCode::Signature),
    ("failed to load ca file", FailureCode::Signature),
    ("unsupported number of signers", FailureCode::Signature),
    ("failed to obtain signer info", FailureCode::Signature),
    ("signer certificate cn ", FailureCode::Signature),
    ("no signature cn matching", FailureCode::Signature),
    ("compatible mismatch: ", FailureCode::Incompatible),
    ("target slot for class ", FailureCode::Incompatible),
    ("no target slot for class ", FailureCode::Incompatible),
    ("failed to find matching variant ", FailureCode::Incompatible),
    ("bundle format '", FailureCode::Incompatible),
    ("version mismatch: ", FailureCode::VersionTooOld),
    (
        "refusing to install bundle with unexpected hash",
        FailureCode::Corrupt,
    ),
    ("invalid bundle format: ", FailureCode::Corrupt),
    ("invalid bundle identifier", FailureCode::Corrupt),
    ("signature size ", FailureCode::Corrupt),
    ("payload size ", FailureCode::Corrupt),
    ("bundle payload is corrupted", FailureCode::Corrupt),
    ("bundle size ", FailureCode::Corrupt),
    ("signature data is no valid cms", FailureCode::Corrupt),
    ("failed to parse signature", FailureCode::Corrupt),
    ("failed to load manifest", FailureCode::Corrupt),
];

/// How causes begin where a slot is updated.
const CODES_OF_SLOT: &[(&str, FailureCode)] = &[
    ("slot (", FailureCode::Incompatible),
    ("size of image (", FailureCode::Incompatible),
    ("image size (", FailureCode::Incompatible),
    ("no chunk with required hash", FailureCode::Corrupt),
];

/// How causes begin that tell of bytes that did not come, as opposed to bytes that were wrong.
const SOURCE: &[&str] = &[
    "failed to configure streaming",
    "failed to read data from remote server",
    "failed to read signature",
];

/// How causes begin that end with the operating system's reason.
const OPERATIONS: &[&str] = &["error while writing status file: ", "failed to create tmp dir: "];

/// What the operating system says of bytes that could not be read, and of storage that is full.
const UNREADABLE: &str = ": input/output error";
const FULL: &str = ": no space left on device";

/// Reads an error text of RAUC. `source` holds a secret and does not go out with it.
pub(super) fn classify(text: &str, source: &str) -> BackendError {
    let text = if source.is_empty() {
        text.to_owned()
    } else {
        text.replace(source, "the bundle")
    };
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("already processing ") {
        return BackendError::Busy(text);
    }
    let told = WRAPPERS.iter().fold(lower.as_str(), |rest, wrapper| {
        rest.strip_prefix(wrapper).unwrap_or(rest)
    });
    let of_slot = after_word(told, UPDATING);
    let streamed = told
        .strip_prefix(STREAMED)
        .or_else(|| after_word(told, STREAMING));
    let cause = of_slot.or(streamed).unwrap_or(told);
    let begins = |starts: &[&str]| starts.iter().any(|start| cause.starts_with(start));
    let codes = if of_slot.is_some() { CODES_OF_SLOT } else { CODES };
    if let Some((_, code)) = codes.iter().find(|(start, _)| cause.starts_with(start)) {
        return BackendError::Failed(Reason::new(*code, text));
    }
    // Hooks and handlers are told of by their exit codes here, and file names are not at the end.
    let has_reason = of_slot.is_some() || lower.starts_with(MOUNTING) || begins(OPERATIONS);
    if has_reason && cause.ends_with(FULL) {
        return BackendError::Failed(Reason::new(FailureCode::DiskFull, text));
    }
    if streamed.is_some() || begins(SOURCE) || (has_reason && cause.ends_with(UNREADABLE)) {
        return BackendError::Source(text);
    }
    BackendError::Failed(Reason::new(FailureCode::Backend, text))
}

/// What follows `start`, one word and a colon.
fn after_word<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (word, rest) = text.strip_prefix(start)?.split_once(' ')?;
    word.ends_with(':').then_some(rest)
}

pub(super) fn from_bus(error: zbus::Error, source: &str) -> BackendError {
    match &error {
        zbus::Error::MethodError(name, Some(text), _)
            if !name.as_str().starts_with("org.freedesktop.DBus.Error.") =>
        {
            classify(text, source)
        }
        _ => unreachable(error),
    }
}

#[allow(clippy::needless_pass_by_value)] // It is passed to map_err.
pub(super) fn unreachable(error: zbus::Error) -> BackendError {
    BackendError::Unreachable {
        name: "RAUC",
        detail: error.to_string(),
    }
}

pub(super) fn no_answer(call: &str) -> zbus::Error {
    zbus::Error::Failure(format!("no answer to {call}"))
}

/// The argument that RAUC does not know, if that is the error.
pub(super) fn unsupported_key(error: &zbus::Error) -> Option<&str> {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.strip_prefix("Unsupported key: "),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rauc_says() {
        let cases = [
            (
                "signature verification failed: error:02000068:rsa routines::bad signature",
                FailureCode::Signature,
            ),
            (
                "signature verification failed: Verify error: self-signed certificate",
                FailureCode::Signature,
            ),
            (
                "Compatible mismatch: Expected 'a' but bundle manifest has 'b'",
                FailureCode::Incompatible,
            ),
            (
                "Version mismatch: Expected at least '2' but bundle manifest has '1'",
                FailureCode::VersionTooOld,
            ),
            (
                "Invalid bundle format: Signature size (99) exceeds bundle size",
                FailureCode::Corrupt,
            ),
            (
                "Installation error: Failed updating slot rootfs.1: Slot (1 bytes) is too small for image (2 bytes).",
                FailureCode::Incompatible,
            ),
            (
                "Pre-install handler error: Child process exited with code 1",
                FailureCode::Backend,
            ),
            (
                "Installation error: Failed updating slot rootfs.1: Failed splicing data: Error splicing file: No space left on device",
                FailureCode::DiskFull,
            ),
            (
                "Installation error: Target slot for class 'rootfs' of image 'a.img' is readonly",
                FailureCode::Incompatible,
            ),
            (
                "Refusing to install bundle with unexpected hash (expected 1, got 2)",
                FailureCode::Corrupt,
            ),
        ];
        for (text, code) in cases {
            assert_eq!(classify(text, "").reason().code, code, "{text}");
        }
        assert!(matches!(
            classify("Already processing a different method", ""),
            BackendError::Busy(_)
        ));
    }

    /// Words of hooks, names of slots and of images, and words that RAUC says of something else.
    #[test]
    fn words_of_strangers_decide_nothing() {
        for text in [
            "Installation error: Bundle rejected: Hook returned: Battery at 12 percent: update not allowed, plug in the charger",
            "Installation error: Bundle rejected: Hook returned: PLC program is running (cycle 7), no space left in maintenance window",
            "Installation error: Bundle rejected: Hook returned: 'signature verification failed'",
            "Installation error: Bundle rejected: Hook returned: modbus: Input/output error",
            "Installation error: Bundle rejected: Hook returned: already processing 3 orders",
            "Installation error: Failed updating slot designer.1: failed to run slot hook: Child process exited with code 1",
            "Installation error: Failed updating slot signature verification failed: Slot (: failed to run slot hook: x",
            "Installation error: Source image 'no keyring.img' not found in bundle",
            "Installation error: Destination device '/dev/version mismatch' for slot 'a' not found",
            "Installation error: Install-check hook failed: : Input/output error",
            "Pre-install handler error: Child process exited with code 1",
        ] {
            let BackendError::Failed(reason) = classify(text, "") else {
                panic!("not a failure: {text}");
            };
            assert_eq!(reason, Reason::new(FailureCode::Backend, text));
        }
    }

    #[test]
    fn missing_bytes_are_not_wrong_bytes_and_the_source_stays_secret() {
        let source = "http://127.0.0.1:1/secret/bundle.raucb";
        let text =
            format!("Failed to stream bundle {source}: failed to configure streaming: server not responding");
        let BackendError::Source(told) = classify(&text, source) else {
            panic!("not about the source");
        };
        assert!(!told.contains("secret"));
        for text in [
            // Without the address, as when the agent was restarted meanwhile.
            text.as_str(),
            "Installation error: Failed updating slot rootfs.1: Failed to copy data: Error splicing file: Input/output error",
            "Failed mounting bundle: failed to mount /dev/nbd0: Input/output error",
        ] {
            assert!(matches!(classify(text, ""), BackendError::Source(_)), "{text}");
        }
        // What could be read, and is not right, is not about the source.
        let text = format!("Failed to stream bundle {source}: No keyring file or directory provided");
        assert_eq!(classify(&text, source).reason().code, FailureCode::Signature);
    }
}
