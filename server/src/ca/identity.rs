//! The server's own certificate and key, kept in one file.

use std::{fmt, net::IpAddr, path::Path};

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::OffsetDateTime;

use super::{Authority, CaError, SERVER_LIFE, exists, read, write_private};

/// A certificate for the server, with its key.
pub struct ServerIdentity {
    /// The certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// When it should be replaced.
    pub renew_at: OffsetDateTime,
}

// === impl ServerIdentity ===

impl ServerIdentity {
    /// Loads the certificate in `path`, if it is one of this authority for these names and not due for renewal. Otherwise makes a new one
    /// and keeps it there.
    pub fn open(
        path: &Path,
        authority: &Authority,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<Self, CaError> {
        if exists(path)? {
            if let Some(identity) = Self::read(&read(path)?, authority, names, now) {
                return Ok(identity);
            }
        }
        let identity = authority.issue_server(names, now)?;
        write_private(path, &identity.pem())?;
        Ok(identity)
    }

    fn read(text: &str, authority: &Authority, names: &[String], now: OffsetDateTime) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let leaf = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        let (_, issuer) = x509_parser::parse_x509_certificate(&authority.certificate).ok()?;
        parsed.verify_signature(Some(issuer.public_key())).ok()?;
        let key_pair = KeyPair::try_from(&key).ok()?;
        let mut found = Vec::new();
        for name in &parsed.subject_alternative_name().ok()??.value.general_names {
            found.push(match name {
                x509_parser::extensions::GeneralName::DNSName(name) => (*name).to_owned(),
                x509_parser::extensions::GeneralName::IPAddress(octets) => address(octets)?.to_string(),
                _ => return None,
            });
        }
        let renew_at = parsed.validity().not_after.to_datetime() - SERVER_LIFE / 3;
        let same_key = parsed.public_key().raw == key_pair.subject_public_key_info();
        if !same_key || found != names || now >= renew_at {
            return None;
        }
        Some(Self {
            chain: vec![leaf, authority.certificate.clone()],
            key,
            names: found,
            renew_at,
        })
    }

    fn pem(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};

        let block = |label: &str, der: &[u8]| {
            let body = STANDARD.encode(der);
            let lines: Vec<_> = body
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8_lossy(line))
                .collect();
            format!(
                "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                lines.join("\n")
            )
        };
        let mut text = block("PRIVATE KEY", self.key.secret_der());
        for certificate in &self.chain {
            text.push_str(&block("CERTIFICATE", certificate));
        }
        text
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("names", &self.names)
            .field("renew_at", &self.renew_at)
            .finish_non_exhaustive()
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_server_keeps_its_certificate_until_there_is_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let path = directory.path().join("server.pem");
        let now = OffsetDateTime::now_utc();
        let open = |names: &[String], now| ServerIdentity::open(&path, &authority, names, now).unwrap();
        let both = names(&["localhost", "10.0.2.2", "::1"]);
        let first = open(&both, now);
        assert_eq!(first.chain[1], *authority.certificate());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = open(&both, now);
        assert_eq!(again.chain, first.chain);
        assert_eq!(again.key, first.key);
        let renew_at = again.renew_at;
        assert_eq!(open(&both, renew_at - Duration::from_secs(1)).chain, first.chain);

        let renewed = open(&both, renew_at);
        assert_ne!(renewed.chain, first.chain);
        let renamed = open(&names(&["fleet.example"]), renew_at);
        assert_ne!(renamed.chain, renewed.chain);
        fs::write(&path, "damaged").unwrap();
        assert_ne!(open(&names(&["fleet.example"]), renew_at).chain, renamed.chain);
    }

    #[test]
    fn another_authority_s_server_certificate_is_not_used() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (us, them) = (
            Authority::open(ours.path()).unwrap(),
            Authority::open(theirs.path()).unwrap(),
        );
        let (path, names) = (ours.path().join("server.pem"), names(&["localhost"]));
        let now = OffsetDateTime::now_utc();
        let before = ServerIdentity::open(&path, &them, &names, now).unwrap();
        let after = ServerIdentity::open(&path, &us, &names, now).unwrap();
        assert_ne!(before.chain[0], after.chain[0]);
    }
}
