//! Which certificates a server is known by.

use std::{
    fmt::Write as _,
    io,
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    human,
    server_url::ServerUrl,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// Certificates that a server's chain must end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots(Vec<CertificateDer<'static>>);

/// SHA-256 of a certificate's DER form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// Takes any certificate: only to look at it. Nothing is sent over such a connection.
#[derive(Debug)]
struct Inspector(Arc<CryptoProvider>);

// === impl Roots ===

impl Roots {
    /// Reads one or more certificates in PEM.
    pub(crate) fn from_pem(pem: &[u8]) -> std::result::Result<Self, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| format!("not a certificate in PEM: {e}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate (PEM) in it".to_owned());
        }
        for certificate in &certificates {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|e| format!("a certificate is damaged: {e}"))?;
        }
        Ok(Self(certificates))
    }

    /// The certificates in PEM.
    pub(crate) fn to_pem(&self) -> String {
        self.0.iter().map(|der| pem(der)).collect()
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// The CA certificate that the server shows with its own, without trusting it yet.
    pub(crate) fn presented_by(url: &ServerUrl) -> Result<Self> {
        let mut chain = presented_chain(url)?;
        match chain.pop() {
            Some(ca) if !chain.is_empty() => Ok(Self(vec![ca])),
            _ => Err(Error::Untrusted {
                url: url.to_string(),
                why: "it shows only its own certificate and not the CA's".to_owned(),
                next: "get the CA certificate from the server's administrator and give it with --ca FILE"
                    .to_owned(),
            }),
        }
    }

    /// The CA certificate that the server shows, if it has this fingerprint.
    pub(crate) fn with_fingerprint(url: &ServerUrl, fingerprint: &str) -> Result<Self> {
        let expected: Fingerprint = fingerprint.parse().map_err(Error::Usage)?;
        let presented = Self::presented_by(url)?;
        match presented.fingerprint() {
            Some(actual) if actual == expected => Ok(presented),
            actual => Err(Error::Untrusted {
                url: url.to_string(),
                why: format!(
                    "its CA has the fingerprint {}",
                    actual.map_or_else(String::new, |actual| actual.to_string())
                ),
                next: "compare with the fingerprint that the server's administrator gave you; if that is right, something stands between you and the server".to_owned(),
            }),
        }
    }

    /// The fingerprint of the first certificate.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.first().map(|der| Fingerprint::of(der))
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = String;

    /// Reads hexadecimal, with or without colons, as `openssl x509 -fingerprint -sha256` prints it.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        let digits = text
            .rsplit_once('=')
            .map_or(text, |(_, value)| value)
            .replace(':', "");
        let wrong =
            || format!("`{text}` is not a SHA-256 fingerprint: 64 hexadecimal digits, colons allowed");
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(':')?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

// === impl Inspector ===

impl ServerCertVerifier for Inspector {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Turns a TLS failure into what it means for the user.
pub(crate) fn explain(url: &ServerUrl, error: &rustls::Error) -> Error {
    let (why, next) = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            let names = match error {
                rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                    presented,
                    ..
                }) if !presented.is_empty() => {
                    let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
                    names.join(", ")
                }
                _ => "other names".to_owned(),
            };
            (
                format!("its certificate is for {names}, not for {}", url.host()),
                "use one of the names in the certificate, or have the name added to the server (`--host-name`)",
            )
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => (
            "its certificate is not from the CA that is trusted for it".to_owned(),
            "if the server got a new CA, log in again with --ca or --ca-fingerprint from its administrator; if not, something stands between you and the server",
        ),
        rustls::Error::InvalidCertificate(
            validity @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        ) => (
            not_valid_now(validity),
            "if one of the clocks is far off, set it first, here or on the server; else the server has to renew its certificate",
        ),
        _ => (
            format!("TLS failed ({error})"),
            "check that the address is the server's HTTPS port (8443 by default)",
        ),
    };
    Error::Untrusted {
        url: url.to_string(),
        why,
        next: next.to_owned(),
    }
}

/// What a certificate's times say, beside what this machine takes for the time: a far-off clock is the likely cause.
fn not_valid_now(error: &CertificateError) -> String {
    let at = |time: &UnixTime| human::absolute(i64::try_from(time.as_secs() * 1000).unwrap_or(i64::MAX));
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate was valid until {}; the clock of this machine says {}",
            at(not_after),
            at(time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid from {}; the clock of this machine says {}",
            at(not_before),
            at(time)
        ),
        error => format!(
            "its certificate is not valid now ({error}); the clock of this machine says {}",
            human::absolute(human::now_ms())
        ),
    }
}

/// rustls names what it found like `DnsName("localhost")`.
fn bare_name(presented: &str) -> &str {
    presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .map_or(presented, |name| name.trim_matches('"'))
}

fn presented_chain(url: &ServerUrl) -> Result<Vec<CertificateDer<'static>>> {
    let unreachable = |error: &dyn std::fmt::Display| Error::Unreachable {
        url: url.to_string(),
        why: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| explain(url, &e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Inspector(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned()).map_err(|e| unreachable(&e))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| explain(url, &e))?;
    let mut socket = connect(url).map_err(|e| unreachable(&e))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .map_err(|e| match tls_error(&e) {
                Some(tls) => explain(url, tls),
                None => unreachable(&e),
            })?;
    }
    Ok(connection.peer_certificates().unwrap_or_default().to_vec())
}

/// The TLS error inside an I/O error, if that is what it is.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn connect(url: &ServerUrl) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (url.host(), url.port()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
                socket.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use homeport_testkit::Authority;

    use super::*;

    #[test]
    fn roots_round_trip_through_pem() {
        let authority = Authority::new("ca");
        let roots = Roots::from_pem(authority.pem().as_bytes()).unwrap();
        assert_eq!(roots.certificates(), [authority.der()]);
        assert_eq!(Roots::from_pem(roots.to_pem().as_bytes()).unwrap(), roots);
        assert!(Roots::from_pem(b"nothing here").is_err());
    }

    #[test]
    fn names_are_shown_bare() {
        assert_eq!(bare_name("DnsName(\"fleet.example\")"), "fleet.example");
        assert_eq!(bare_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare_name("fleet.example"), "fleet.example");
    }

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let fingerprint = Fingerprint::of(b"certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 32 * 3 - 1);
        for text in [
            text.clone(),
            text.to_lowercase(),
            text.replace(':', ""),
            format!("sha256 Fingerprint={text}\n"),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            &text[1..],
            &text.replace(['A', '0'], "G"),
            &format!("{text}00"),
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
