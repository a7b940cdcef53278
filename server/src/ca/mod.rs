//! The server's certificate authority: signs the server's own certificate and those of devices.

mod identity;
mod request;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use homeport_protocol::DeviceId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use time::OffsetDateTime;

pub use self::{
    identity::ServerIdentity,
    request::{CertificateRequest, MAX_REQUEST, RequestError},
};
use crate::{files, hex, random, sha256};

/// Life of the authority's own certificate.
const AUTHORITY_LIFE: Duration = Duration::from_secs(30 * 365 * DAY);

/// Life of a server certificate.
const SERVER_LIFE: Duration = Duration::from_secs(90 * DAY);

/// Life of a device certificate.
const DEVICE_LIFE: Duration = Duration::from_secs(365 * DAY);

/// How far the validity of the authority's and the server's certificates reaches into the past. A board without a battery-backed clock
/// starts at the date of its image, which may be older than the server.
const SERVER_BACKDATE: Duration = Duration::from_secs(2 * 365 * DAY);

/// The same for device certificates. A server checks them by its own clock, and the clocks of several servers may differ.
pub(crate) const DEVICE_BACKDATE: Duration = Duration::from_secs(60 * 60);

const DAY: u64 = 24 * 60 * 60;

/// Length of serial numbers, in bytes. The highest bit is cleared, so that they stay positive.
const SERIAL_LEN: usize = 16;

pub(crate) const CERTIFICATE_FILE: &str = "ca-certificate.pem";
pub(crate) const KEY_FILE: &str = "ca-key.pem";

/// Why the certificate authority failed.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file has content that cannot be used.
    #[error("{path} is not {expected}; restore it from a backup")]
    Content {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
    },
    /// The certificate exists and its key is missing.
    #[error(
        "{0} is missing, but the certificate that belongs to it is there; restore the key from a backup \
         (without it every device has to be paired again: delete the certificate too, if that is what you want)"
    )]
    KeyMissing(PathBuf),
    /// The key does not belong to the certificate.
    #[error("{key} does not belong to {certificate}; restore both from the same backup")]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Sign(#[from] rcgen::Error),
}

/// The server's certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// SHA-256 of a certificate's DER form.
pub type Fingerprint = [u8; 32];

/// A certificate for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// DER form.
    pub der: CertificateDer<'static>,
    /// SHA-256 of `der`.
    pub fingerprint: Fingerprint,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// End of its life, milliseconds since 1970-01-01T00:00:00Z.
    pub expires_ms: i64,
}

/// SHA-256 of a certificate.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> Fingerprint {
    sha256(certificate)
}

// === impl Authority ===

impl Authority {
    /// Loads the authority from its files in `directory`, or makes them if there are none.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        match (exists(&certificate)?, exists(&key)?) {
            (true, true) => {}
            (true, false) => return Err(CaError::KeyMissing(key)),
            // The key is written first: a key without a certificate never signed anything.
            (false, _) => create(&certificate, &key)?,
        }
        Self::load(&certificate, &key)
    }

    /// The authority of these PEM files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let key_pem = read(key)?;
        let key_pair = KeyPair::from_pem(&key_pem).map_err(|_| CaError::Content {
            path: key.to_owned(),
            expected: "a private key in PEM form (PKCS#8)",
        })?;
        let not_a_certificate = || CaError::Content {
            path: certificate.to_owned(),
            expected: "a CA certificate in PEM form",
        };
        let der =
            CertificateDer::from_pem_slice(read(certificate)?.as_bytes()).map_err(|_| not_a_certificate())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| not_a_certificate())?;
        if !parsed.is_ca() {
            return Err(not_a_certificate());
        }
        if parsed.public_key().raw != key_pair.subject_public_key_info() {
            return Err(CaError::Mismatch {
                key: key.to_owned(),
                certificate: certificate.to_owned(),
            });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key_pair)?;
        Ok(Self {
            certificate: der,
            issuer,
        })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate. Pairing tokens carry it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate)
    }

    /// A new key and certificate for a server with these DNS names and IP addresses.
    pub fn issue_server(&self, names: &[String], now: OffsetDateTime) -> Result<ServerIdentity, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Homeport server");
        params.serial_number = Some(random_serial());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - SERVER_BACKDATE;
        params.not_after = now + SERVER_LIFE;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerIdentity {
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            names: names.to_vec(),
            renew_at: now + SERVER_LIFE * 2 / 3,
        })
    }

    /// Issues a certificate for the request's key, with `device` as its subject. It takes nothing but the key from the request.
    pub fn issue_device(
        &self,
        request: &CertificateRequest,
        device: &DeviceId,
        now: OffsetDateTime,
    ) -> Result<DeviceCertificate, CaError> {
        let serial = random_serial();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, device.as_str());
        params.serial_number = Some(serial.clone());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - DEVICE_BACKDATE;
        params.not_after = now + DEVICE_LIFE;
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        let der = certificate.der().clone();
        Ok(DeviceCertificate {
            fingerprint: fingerprint(&der),
            serial: hex(&serial.to_bytes()),
            expires_ms: params.not_after.unix_timestamp() * 1000,
            der,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &hex(&self.fingerprint()))
            .finish_non_exhaustive()
    }
}

fn create(certificate_path: &Path, key_path: &Path) -> Result<(), CaError> {
    let key = KeyPair::generate()?;
    let now = OffsetDateTime::now_utc();
    let serial = random_serial();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Homeport");
    // The serial is part of the name, so that people can tell the authorities of two servers apart in a browser's list.
    let name = format!("Homeport CA {}", &hex(&serial.to_bytes())[..8]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - SERVER_BACKDATE;
    params.not_after = now + AUTHORITY_LIFE;
    let certificate = params.self_signed(&key)?;
    write_private(key_path, &key.serialize_pem())?;
    write_private(certificate_path, &certificate.pem())
}

fn random_serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_LEN] = random();
    // Positive, and never shorter than it should be: DER drops leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn exists(path: &Path) -> Result<bool, CaError> {
    path.try_exists().map_err(|source| file_error(path, source))
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| file_error(path, source))
}

fn write_private(path: &Path, text: &str) -> Result<(), CaError> {
    files::write_private(path, text.as_bytes()).map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> CaError {
    CaError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use homeport_testkit::DeviceKey;

    use super::*;

    #[test]
    fn the_authority_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path()).unwrap().fingerprint();
        assert_eq!(Authority::open(directory.path()).unwrap().fingerprint(), first);
        let key = fs::metadata(directory.path().join(KEY_FILE)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_authority_is_never_replaced_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        let (certificate, key) = (
            directory.path().join(CERTIFICATE_FILE),
            directory.path().join(KEY_FILE),
        );
        let (saved, other) = (fs::read(&key).unwrap(), KeyPair::generate().unwrap());

        fs::remove_file(&key).unwrap();
        assert!(matches!(
            Authority::open(directory.path()),
            Err(CaError::KeyMissing(_))
        ));
        fs::write(&key, other.serialize_pem()).unwrap();
        assert!(matches!(
            Authority::open(directory.path()),
            Err(CaError::Mismatch { .. })
        ));
        fs::write(&key, "").unwrap();
        assert!(matches!(
            Authority::open(directory.path()),
            Err(CaError::Content { .. })
        ));
        fs::write(&key, saved).unwrap();
        fs::write(&certificate, "").unwrap();
        assert!(matches!(
            Authority::open(directory.path()),
            Err(CaError::Content { .. })
        ));
    }

    #[test]
    fn a_key_alone_is_left_from_a_start_that_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        fs::remove_file(directory.path().join(CERTIFICATE_FILE)).unwrap();
        Authority::open(directory.path()).unwrap();
    }

    #[test]
    fn a_device_certificate_says_who_and_for_how_long() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let (now, device) = (OffsetDateTime::now_utc(), "abc".parse().unwrap());
        let request = CertificateRequest::parse(&DeviceKey::generate().request()).unwrap();
        let certificate = authority.issue_device(&request, &device, now).unwrap();
        let other = authority.issue_device(&request, &device, now).unwrap();
        assert_ne!(certificate.serial, other.serial);
        assert_eq!(certificate.serial.len(), 2 * SERIAL_LEN);

        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.der).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=abc");
        assert_eq!(hex(parsed.raw_serial()), certificate.serial);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert!(!parsed.is_ca());
        let validity = parsed.validity();
        assert_eq!(validity.not_after.timestamp() * 1000, certificate.expires_ms);
        assert_eq!(
            validity.not_before.timestamp(),
            (now - DEVICE_BACKDATE).unix_timestamp()
        );
    }
}
