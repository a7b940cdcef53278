//! What strangers and devices send, whatever it is: it is read or refused, and nothing panics.
//!
//! libFuzzer makes up input for these functions (`./just fuzz`), and the tests here feed them with what is in `fuzz/corpus`.

use homeport_protocol::{
    PairingToken, Report, Sequenced, Topic, command::Envelope, deployment::Progress, senml::Pack,
};

/// A bundle's signature or manifest.
pub fn bundle(bytes: &[u8]) {
    crate::blob::fuzz(bytes);
}

/// The body of a request for a certificate.
pub fn certificate_request(bytes: &[u8]) {
    crate::est::fuzz(bytes);
}

/// The bytes of an MQTT connection.
pub fn mqtt(bytes: &[u8]) {
    crate::mqtt::fuzz(bytes);
}

/// A payload, a topic or a pairing token.
///
/// # Panics
/// When a message that was read is another one after it is written and read again.
pub fn protocol(bytes: &[u8]) {
    if let Ok(report) = Sequenced::<Report>::decode(bytes) {
        assert_eq!(Sequenced::decode(&report.encode()).ok(), Some(report));
    }
    if let Ok(telemetry) = Sequenced::<Pack>::decode(bytes) {
        let _ = telemetry.message.resolve(0.0);
        assert_eq!(Sequenced::decode(&telemetry.encode()).ok(), Some(telemetry));
    }
    if let Ok(command) = Envelope::decode(bytes) {
        assert_eq!(Envelope::decode(&command.encode()).ok(), Some(command));
    }
    if let Ok(progress) = Progress::decode(bytes) {
        assert_eq!(Progress::decode(&progress.encode()).ok(), Some(progress));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
    if let Ok(token) = text.parse::<PairingToken>() {
        assert_eq!(token.to_string().parse().ok(), Some(token));
    }
}

/// A size of 8 bytes and a `Range` header.
pub fn range(bytes: &[u8]) {
    crate::http::range::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// A target of cargo-fuzz and what it runs.
    struct Target(&'static str, fn(&[u8]));

    const TARGETS: [Target; 5] = [
        Target("bundle", super::bundle),
        Target("certificate_request", super::certificate_request),
        Target("mqtt", super::mqtt),
        Target("protocol", super::protocol),
        Target("range", super::range),
    ];

    #[test]
    fn nothing_in_the_corpus_panics() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        for Target(target, run) in TARGETS {
            let inputs: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no input");
            for input in inputs {
                let path = input.unwrap().path();
                println!("{}", path.display());
                run(&fs::read(path).unwrap());
            }
        }
    }

    #[test]
    fn each_target_is_one_of_cargo_fuzz() {
        let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
        let mut files: Vec<_> = fs::read_dir(targets)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, TARGETS.map(|Target(target, _)| format!("{target}.rs")));
    }
}
