//! Enrolment over Secure Transport (RFC 7030): certificate requests and their answers.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use der::{
    Any, Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::{AnyRef, BitString, BitStringRef, SetOfVec},
    oid::ObjectIdentifier,
};
use homeport_protocol::{DeviceId, PairingToken};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::ClientConfig;
use x509_cert::{
    attr::AttributeTypeAndValue,
    name::{Name, RdnSequence, RelativeDistinguishedName},
    request::{CertReq, CertReqInfo, Version},
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::Validity,
};

use crate::https::{self, HttpsError};

const SIMPLE_ENROLL: &str = "/.well-known/est/simpleenroll";
const SIMPLE_REENROLL: &str = "/.well-known/est/simplereenroll";

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// `certificates` of a `SignedData`, and `version` of a certificate.
const CONTEXT_0: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber::N0,
};
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");

/// Longest remark of the server that is repeated to the user, in bytes.
const MAX_REMARK: usize = 200;

/// Longest subject attribute, in characters: what X.520 allows for a common name and a serial number.
const MAX_ATTRIBUTE: usize = 64;

/// Wait when the server is busy and does not say for how long.
const DEFAULT_RETRY: Duration = Duration::from_secs(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EstError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the server refused the pairing token ({0}): make a new one with `homeport token create`")]
    Refused(String),
    #[error("the server is busy; it asks to wait {} seconds", .0.as_secs())]
    Busy(Duration),
    #[error("the server answered {0} to the certificate request: {1}")]
    Status(StatusCode, String),
    #[error("the server's answer holds no certificate for this device's key: {0}")]
    Answer(&'static str),
    #[error("cannot make a key or certificate request: {0}")]
    Key(&'static str),
}

/// What the server should know about the device as it enrols. Hints only.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hints {
    pub(crate) hostname: String,
    pub(crate) serial: Option<String>,
}

/// A P-256 key pair.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

/// A certificate that the server issued, in DER, and the device that it names.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: Vec<u8>,
    pub(crate) device: DeviceId,
}

/// What matters here of a certificate (RFC 5280 section 4.1).
struct Certified<'a> {
    validity: Validity,
    /// The contents of the subject's sequence.
    subject: SliceReader<'a>,
    public_key: BitStringRef<'a>,
}

/// Asks for a certificate with a pairing token.
pub(crate) async fn enroll(
    tls: Arc<ClientConfig>,
    token: &PairingToken,
    key: &Key,
    hints: &Hints,
) -> Result<Issued, EstError> {
    let credentials = format!("{}:{}", PairingToken::EST_USER, token.password());
    let authorization = format!("Basic {}", STANDARD.encode(credentials));
    let request = Request::post(SIMPLE_ENROLL).header(header::AUTHORIZATION, authorization);
    exchange(tls, &token.authority, request, key, hints).await
}

/// Asks for a new certificate with the present one, which `tls` shows.
pub(crate) async fn reenroll(
    tls: Arc<ClientConfig>,
    authority: &str,
    key: &Key,
    hints: &Hints,
) -> Result<Issued, EstError> {
    exchange(tls, authority, Request::post(SIMPLE_REENROLL), key, hints).await
}

async fn exchange(
    tls: Arc<ClientConfig>,
    authority: &str,
    request: http::request::Builder,
    key: &Key,
    hints: &Hints,
) -> Result<Issued, EstError> {
    let csr = STANDARD.encode(key.request(hints)?);
    let request = request
        .header(header::CONTENT_TYPE, "application/pkcs10")
        .header("content-transfer-encoding", "base64")
        .body(Full::new(Bytes::from(csr)))
        .map_err(|_| EstError::Key("the pairing token does not fit into a request"))?;
    let answer = https::request(tls, authority, request).await?;
    match answer.status() {
        StatusCode::OK => issued(answer.body(), key),
        StatusCode::UNAUTHORIZED => Err(EstError::Refused(remark(answer.body()))),
        // RFC 7030 section 4.2.3: accepted, but not yet decided.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::ACCEPTED | StatusCode::TOO_MANY_REQUESTS => {
            let seconds = answer
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.parse().ok());
            Err(EstError::Busy(seconds.map_or(DEFAULT_RETRY, Duration::from_secs)))
        }
        status => Err(EstError::Status(status, remark(answer.body()))),
    }
}

/// Finds the certificate for `key` in a base64 PKCS#7 certs-only answer (RFC 7030 section 4.2.3).
fn issued(body: &[u8], key: &Key) -> Result<Issued, EstError> {
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let message = STANDARD
        .decode(text)
        .map_err(|_| EstError::Answer("not base64"))?;
    let certificates = certificates(&message).map_err(|_| EstError::Answer("not PKCS#7"))?;
    let public_key = key.pair.public_key().as_ref();
    for encoded in certificates {
        let certified = Certified::read(&encoded).map_err(|_| EstError::Answer("damaged certificate"))?;
        if certified.public_key.raw_bytes() == public_key {
            let device = certified.device();
            return Ok(Issued {
                device: device.ok_or(EstError::Answer("its common name is no device id"))?,
                certificate: encoded,
            });
        }
    }
    Err(EstError::Answer("all are for other keys"))
}

/// The certificates of a PKCS#7 message (RFC 5652 section 5.1), each in DER. Of the message nothing else matters here:
/// certs-only means that nobody signed it. A full decoder would be a twentieth of the agent.
fn certificates(message: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let mut fields = open(Tag::Sequence, AnyRef::from_der(message)?)?;
    if ObjectIdentifier::decode(&mut fields)? != SIGNED_DATA {
        return Err(Tag::ObjectIdentifier.value_error());
    }
    let signed_data = AnyRef::from_der(AnyRef::decode(&mut fields)?.value())?;
    let mut fields = SliceReader::new(signed_data.value())?;
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        if field.tag() != CONTEXT_0 {
            continue;
        }
        let mut certificates = Vec::new();
        let mut rest = SliceReader::new(field.value())?;
        while !rest.is_finished() {
            certificates.push(AnyRef::decode(&mut rest)?.to_der()?);
        }
        return Ok(certificates);
    }
    Ok(Vec::new())
}

/// The validity of a certificate in DER: not before and not after, since 1970.
pub(crate) fn validity(certificate: &[u8]) -> Option<(Duration, Duration)> {
    let validity = Certified::read(certificate).ok()?.validity;
    Some((
        validity.not_before.to_unix_duration(),
        validity.not_after.to_unix_duration(),
    ))
}

/// The contents of a value with this tag.
fn open(tag: Tag, value: AnyRef<'_>) -> der::Result<SliceReader<'_>> {
    value.tag().assert_eq(tag)?;
    SliceReader::new(value.value())
}

fn remark(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_REMARK)]);
    let text = text.replace(|c: char| c.is_control(), " ");
    match text.trim() {
        "" => "without saying why".to_owned(),
        text => text.to_owned(),
    }
}

// === impl Certified ===

impl<'a> Certified<'a> {
    /// Reads no more than it tells: a full decoder, with every extension, would be a hundredth of the agent.
    fn read(certificate: &'a [u8]) -> der::Result<Self> {
        let mut certificate = open(Tag::Sequence, AnyRef::from_der(certificate)?)?;
        let mut fields = open(Tag::Sequence, AnyRef::decode(&mut certificate)?)?;
        let mut field = AnyRef::decode(&mut fields)?;
        // Absent in a certificate of version 1.
        if field.tag() == CONTEXT_0 {
            field = AnyRef::decode(&mut fields)?;
        }
        field.tag().assert_eq(Tag::Integer)?;
        let (_signature, _issuer) = (AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?);
        let validity = Validity::decode(&mut fields)?;
        let subject = open(Tag::Sequence, AnyRef::decode(&mut fields)?)?;
        let mut key = open(Tag::Sequence, AnyRef::decode(&mut fields)?)?;
        let _algorithm = AnyRef::decode(&mut key)?;
        Ok(Self {
            validity,
            subject,
            public_key: BitStringRef::decode(&mut key)?,
        })
    }

    /// The device that the certificate names: its common name.
    fn device(mut self) -> Option<DeviceId> {
        while !self.subject.is_finished() {
            let mut part = open(Tag::Set, AnyRef::decode(&mut self.subject).ok()?).ok()?;
            while !part.is_finished() {
                let mut attribute = open(Tag::Sequence, AnyRef::decode(&mut part).ok()?).ok()?;
                if ObjectIdentifier::decode(&mut attribute).ok()? == COMMON_NAME {
                    let name = AnyRef::decode(&mut attribute).ok()?;
                    return std::str::from_utf8(name.value()).ok()?.parse().ok();
                }
            }
        }
        None
    }
}

// === impl Key ===

impl Key {
    /// Makes a new key pair.
    pub(crate) fn generate() -> Result<Self, EstError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| EstError::Key("no random numbers"))?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads what [`Key::pkcs8`] gave.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, EstError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
            .map_err(|_| EstError::Key("the key is damaged"))?;
        Ok(Self {
            pair,
            pkcs8: pkcs8.to_owned(),
        })
    }

    /// The private key as PKCS#8 in DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// A PKCS#10 certificate request (RFC 2986) in DER.
    pub(crate) fn request(&self, hints: &Hints) -> Result<Vec<u8>, EstError> {
        self.signed_request(hints)
            .map_err(|_| EstError::Key("the request cannot be encoded"))
    }

    fn signed_request(&self, hints: &Hints) -> der::Result<Vec<u8>> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: EC_PUBLIC_KEY,
            parameters: Some(Any::from(&P256)),
        };
        let info = CertReqInfo {
            version: Version::V1,
            subject: subject(hints)?,
            public_key: SubjectPublicKeyInfoOwned {
                algorithm,
                subject_public_key: BitString::from_bytes(self.pair.public_key().as_ref())?,
            },
            attributes: SetOfVec::new(),
        };
        let signature = self
            .pair
            .sign(&SystemRandom::new(), &info.to_der()?)
            .map_err(|_| der::ErrorKind::Failed)?;
        let request = CertReq {
            info,
            algorithm: AlgorithmIdentifierOwned {
                oid: ECDSA_WITH_SHA256,
                parameters: None,
            },
            signature: BitString::from_bytes(signature.as_ref())?,
        };
        request.to_der()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

fn subject(hints: &Hints) -> der::Result<Name> {
    let is_printable = |c: &char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(*c);
    let serial: Option<String> = hints
        .serial
        .as_ref()
        .map(|serial| serial.chars().filter(is_printable).take(MAX_ATTRIBUTE).collect());
    let hostname: String = hints.hostname.chars().take(MAX_ATTRIBUTE).collect();
    let mut parts = Vec::new();
    for (oid, tag, text) in [
        (COMMON_NAME, Tag::Utf8String, hostname),
        (SERIAL_NUMBER, Tag::PrintableString, serial.unwrap_or_default()),
    ] {
        if !text.is_empty() {
            let value = Any::new(tag, text.into_bytes())?;
            let attribute = AttributeTypeAndValue { oid, value };
            parts.push(RelativeDistinguishedName(SetOfVec::try_from([attribute])?));
        }
    }
    Ok(RdnSequence(parts))
}

#[cfg(test)]
mod tests {
    use homeport_testkit::Authority;

    use super::*;

    fn hints() -> Hints {
        Hints {
            hostname: "board-1".to_owned(),
            serial: Some("SN 42#\u{e9}".to_owned()),
        }
    }

    #[test]
    fn the_request_is_one_that_others_read() {
        let request = Key::generate().unwrap().request(&hints()).unwrap();
        // rcgen checks the signature too.
        let request = rcgen::CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let subject = &request.params.distinguished_name;
        assert_eq!(
            subject.get(&rcgen::DnType::CommonName),
            Some(&rcgen::DnValue::Utf8String("board-1".to_owned()))
        );
        let serial = subject.get(&rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]));
        assert_eq!(
            serial,
            Some(&rcgen::DnValue::PrintableString("SN 42".try_into().unwrap()))
        );
    }

    #[test]
    fn the_answer_is_the_certificate_for_our_key() {
        let key = Key::generate().unwrap();
        let authority = Authority::new("ca");
        let csr = key.request(&hints()).unwrap();
        let body = authority.enroll(&csr, "k2abcdefgh234567");
        let issued = issued(body.as_bytes(), &key).unwrap();
        assert_eq!(issued.device.as_str(), "k2abcdefgh234567");
        let (from, to) = validity(&issued.certificate).unwrap();
        assert!(from < to);

        let other = Key::generate().unwrap();
        assert!(super::issued(body.as_bytes(), &other).is_err());
        let upper_case = authority.enroll(&csr, "NOT AN ID");
        assert!(super::issued(upper_case.as_bytes(), &key).is_err());
        assert!(super::issued(b"AAAA", &key).is_err());
        assert!(super::issued(b"", &key).is_err());
    }

    proptest::proptest! {
        #[test]
        fn damaged_answers_are_refused(at in 0usize..10_000, byte: u8, cut in 0usize..10_000) {
            let key = Key::generate().unwrap();
            let body = Authority::new("ca").enroll(&key.request(&hints()).unwrap(), "k2abcdefgh234567");
            let mut message = STANDARD.decode(body).unwrap();
            let at = at % message.len();
            message[at] = byte;
            message.truncate(cut.max(at));
            // Whatever comes of it, it is no panic; the certificate itself is the server's business to verify.
            let _ = super::issued(STANDARD.encode(message).as_bytes(), &key);
        }
    }

    #[test]
    fn a_key_survives_being_stored() {
        let key = Key::generate().unwrap();
        let again = Key::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.pair.public_key().as_ref(), again.pair.public_key().as_ref());
        assert!(Key::from_pkcs8(b"x").is_err());
    }
}
