//! Certificate requests of devices.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer, public_key::PublicKey};

/// Largest certificate request that is read, in bytes of its DER form.
pub const MAX_REQUEST: usize = 8 * 1024;

/// Smallest RSA key that is certified, in bits.
const MIN_RSA_BITS: usize = 2048;

/// Longest host name or serial number that is taken from a request, in bytes. Longer ones are ignored.
const MAX_HINT: usize = 128;

/// Why a certificate request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_REQUEST`].
    #[error("the certificate request is longer than {MAX_REQUEST} bytes")]
    TooLarge,
    /// Not a PKCS#10 request.
    #[error(
        "the body is not a PKCS#10 certificate request (RFC 2986): send it in base64 of DER or as PEM, as `openssl req -new` writes it"
    )]
    Malformed,
    /// Not signed with its own key.
    #[error("the certificate request is not signed with its own key")]
    Signature,
    /// A key that is too weak or unknown.
    #[error("the key must be P-256, P-384, Ed25519 or RSA of at least {MIN_RSA_BITS} bits")]
    Key,
}

/// A certificate request whose signature and key were found good.
#[derive(Debug)]
pub struct CertificateRequest {
    /// Common name of its subject: a hint.
    pub hostname: Option<String>,
    /// `serialNumber` of its subject: a hint.
    pub serial: Option<String>,
    /// SHA-256 of its public key's DER form (SubjectPublicKeyInfo). The request is signed with that key.
    pub key_hash: [u8; 32],
    pub(super) public_key: SubjectPublicKeyInfo,
}

// === impl CertificateRequest ===

impl CertificateRequest {
    /// Reads a PKCS#10 request (RFC 2986) and checks its signature and key.
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST {
            return Err(RequestError::TooLarge);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = &request.certification_request_info;
        let public_key =
            SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| RequestError::Key)?;
        if let PublicKey::RSA(key) = info.subject_pki.parsed().map_err(|_| RequestError::Key)? {
            if key.key_size() < MIN_RSA_BITS {
                return Err(RequestError::Key);
            }
        }
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let hint = |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
            let text = attribute?.as_str().ok()?.trim();
            (1..=MAX_HINT)
                .contains(&text.len())
                .then(|| crate::text::clean(text))
        };
        let serial_number = x509_parser::oid_registry::OID_X509_SERIALNUMBER;
        Ok(Self {
            hostname: hint(info.subject.iter_common_name().next()),
            serial: hint(info.subject.iter_by_oid(&serial_number).next()),
            key_hash: crate::sha256(info.subject_pki.raw),
            public_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use homeport_testkit::DeviceKey;
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _,
    };
    use time::OffsetDateTime;

    use super::*;
    use crate::ca::Authority;

    #[test]
    fn hints_have_no_hidden_characters() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "a\u{1b}[2J\u{9b}\u{202e}b");
        let der = params.serialize_request(&key).unwrap();
        let request = CertificateRequest::parse(der.der()).unwrap();
        assert_eq!(request.hostname.as_deref(), Some("a\u{fffd}[2J\u{fffd}\u{fffd}b"));
    }

    #[test]
    fn requests_are_hints_and_a_key() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, " board ");
        params
            .distinguished_name
            .push(DnType::from_oid(&[2, 5, 4, 5]), "SN1");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let der = params.serialize_request(&key).unwrap();
        let request = CertificateRequest::parse(der.der()).unwrap();
        assert_eq!(request.hostname.as_deref(), Some("board"));
        assert_eq!(request.serial.as_deref(), Some("SN1"));

        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let device = "abc".parse().unwrap();
        let issued = authority
            .issue_device(&request, &device, OffsetDateTime::now_utc())
            .unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        assert!(parsed.subject_alternative_name().unwrap().is_none());
        assert!(!parsed.extended_key_usage().unwrap().unwrap().value.server_auth);
        assert_eq!(parsed.public_key().raw, key.subject_public_key_info());

        let mut forged = der.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(
            CertificateRequest::parse(&forged).unwrap_err(),
            RequestError::Signature
        );
        let longer = [&der.der()[..], &[0]].concat();
        assert_eq!(
            CertificateRequest::parse(&longer).unwrap_err(),
            RequestError::Malformed
        );
        let huge = vec![0; MAX_REQUEST + 1];
        assert_eq!(
            CertificateRequest::parse(&huge).unwrap_err(),
            RequestError::TooLarge
        );
    }

    proptest::proptest! {
        #[test]
        fn damaged_requests_are_refused_or_read(at: proptest::sample::Index, value: u8) {
            let mut der = DeviceKey::generate().request();
            let at = at.index(der.len());
            der[at] = value;
            let _ = CertificateRequest::parse(&der);
        }
    }
}
