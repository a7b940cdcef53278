//! Bodies of EST messages: base64 around PKCS#10 and PKCS#7.

use base64::{Engine as _, alphabet, engine};
use cms::content_info::ContentInfo;
use der::{Decode as _, Encode as _};

/// Length of the lines that the server sends (RFC 2045 section 6.8 allows up to 76).
const LINE: usize = 64;

/// Some clients leave the padding out.
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// The bytes of a base64 body. Line breaks, spaces and the first and last line of PEM do not matter. Nor does text before the first line of
/// PEM and after the last, as `openssl req -text` writes it.
pub(super) fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let is_pem = text.lines().any(|line| line.starts_with("-----BEGIN "));
    let compact: String = text
        .lines()
        .skip_while(|line| is_pem && !line.starts_with("-----BEGIN "))
        .take_while(|line| !line.starts_with("-----END "))
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    let bytes = BASE64.decode(compact).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

/// A certificate as a certs-only PKCS#7 message (RFC 5652, without signers), in base64.
pub(super) fn certs_only(certificate: &[u8]) -> der::Result<String> {
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    let message = ContentInfo::try_from(certificate)?.to_der()?;
    let mut text = String::new();
    for line in BASE64.encode(message).as_bytes().chunks(LINE) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_is_read_as_clients_send_it() {
        let expected = Some(b"Homeport!!".to_vec());
        for text in [
            "SG9tZXBvcnQhIQ==",
            "SG9tZXBvcnQhIQ",
            "SG9t\r\nZXBvcnQhIQ==\r\n",
            " SG9t ZXBv\tcnQhIQ==\n",
            "-----BEGIN CERTIFICATE REQUEST-----\nSG9tZXBvcnQhIQ==\n-----END CERTIFICATE REQUEST-----\n",
            "Certificate Request:\n    Data:\n-----BEGIN CERTIFICATE REQUEST-----\nSG9tZXBvcnQhIQ==\n\
             -----END CERTIFICATE REQUEST-----\nmore text\n",
        ] {
            assert_eq!(decode(text.as_bytes()), expected, "{text:?}");
        }
        for text in ["", "\n", "SG9t*", "SG9tZ"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode(&[0xff, 0xfe]), None);
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&body);
        }
    }
}
