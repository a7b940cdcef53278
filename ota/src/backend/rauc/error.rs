//! What RAUC's English error texts mean. They are all it tells.

use homeport_protocol::{FailureCode, Reason};

use crate::BackendError;

/// Parts of RAUC's texts, in lower case, in the order in which they are looked for: the first hit counts. From the sources
/// of RAUC 1.8 to 1.15.
const CODES: &[(&str, FailureCode)] = &[
    ("signature verification failed", FailureCode::Signature),
    ("failed to verify x509", FailureCode::Signature),
    ("no keyring", FailureCode::Signature),
    ("failed to load ca file", FailureCode::Signature),
    ("unsupported number of signers", FailureCode::Signature),
    ("signer", FailureCode::Signature),
    ("compatible mismatch", FailureCode::Incompatible),
    ("target slot for class", FailureCode::Incompatible),
    ("no target slot", FailureCode::Incompatible),
    ("failed to find matching variant", FailureCode::Incompatible),
    ("is too small for image", FailureCode::Incompatible),
    ("does not fit to slot", FailureCode::Incompatible),
    ("not allowed", FailureCode::Incompatible),
    ("version mismatch", FailureCode::VersionTooOld),
    ("no space left", FailureCode::DiskFull),
    ("manifest hash", FailureCode::Corrupt),
    ("invalid bundle format", FailureCode::Corrupt),
    ("invalid bundle identifier", FailureCode::Corrupt),
    ("signature size", FailureCode::Corrupt),
    ("payload size", FailureCode::Corrupt),
    ("payload is corrupted", FailureCode::Corrupt),
    ("bundle size", FailureCode::Corrupt),
    ("no valid cms", FailureCode::Corrupt),
    ("failed to parse signature", FailureCode::Corrupt),
    ("failed to load manifest", FailureCode::Corrupt),
    ("digest mismatch", FailureCode::Corrupt),
    ("no chunk with required hash", FailureCode::Corrupt),
];

/// Parts of texts that tell of bytes that did not come, as opposed to bytes that were wrong.
const SOURCE: &[&str] = &[
    "input/output error",
    "server not responding",
    "failed to configure streaming",
    "failed to stream bundle",
    "incomplete http response",
    "unexpected http",
    "failed to read signature",
    "short read",
];

/// Reads an error text of RAUC. `source` holds a secret and does not go out with it.
pub(super) fn classify(text: &str, source: &str) -> BackendError {
    let text = if source.is_empty() {
        text.to_owned()
    } else {
        text.replace(source, "the bundle")
    };
    let lower = text.to_lowercase();
    if lower.contains("already processing") {
        return BackendError::Busy(text);
    }
    if let Some((_, code)) = CODES.iter().find(|(part, _)| lower.contains(part)) {
        return BackendError::Failed(Reason::new(*code, text));
    }
    if SOURCE.iter().any(|part| lower.contains(part)) {
        return BackendError::Source(text);
    }
    BackendError::Failed(Reason::new(FailureCode::Backend, text))
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
                "Bundle rejected: Hook returned: 'not today'",
                FailureCode::Backend,
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

    #[test]
    fn missing_bytes_are_not_wrong_bytes_and_the_source_stays_secret() {
        let source = "http://127.0.0.1:1/secret/bundle.raucb";
        let text =
            format!("Failed to stream bundle {source}: failed to configure streaming: server not responding");
        let BackendError::Source(text) = classify(&text, source) else {
            panic!("not about the source");
        };
        assert!(!text.contains("secret"));
    }
}
