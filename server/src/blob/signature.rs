//! The end of a bundle: a CMS structure and its length.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use cms::{content_info::ContentInfo, signed_data::SignedData};
use const_oid::db::rfc5911::{ID_DATA, ID_ENVELOPED_DATA, ID_SIGNED_DATA};
use der::{Decode as _, asn1::OctetStringRef};

use super::{ManifestError, ber};

/// Longest signature that is read, in bytes. RAUC's own default is 64 KiB; a manifest inside and many recipients make it longer.
const MAX_SIGNATURE: u64 = 1024 * 1024;

/// Length of the number at the very end.
const TRAILER: u64 = 8;

/// The manifest of a bundle, which the signature carries.
pub(super) fn manifest(file: &mut File) -> Result<Vec<u8>, ManifestError> {
    signed_text(&read(file)?)
}

/// The content that a CMS structure in BER signs.
pub(super) fn signed_text(cms: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let cms = ber::to_der(cms).ok_or_else(|| ManifestError::Signature("it is not BER".into()))?;
    let damaged = |error: der::Error| ManifestError::Signature(error.to_string());
    let content = ContentInfo::from_der(&cms).map_err(damaged)?;
    if content.content_type == ID_ENVELOPED_DATA {
        return Err(ManifestError::Encrypted);
    }
    if content.content_type != ID_SIGNED_DATA {
        return Err(ManifestError::Signature(format!(
            "it is of type {}",
            content.content_type
        )));
    }
    let signed: SignedData = content.content.decode_as().map_err(damaged)?;
    let inner = signed.encap_content_info;
    if inner.econtent_type != ID_DATA {
        return Err(ManifestError::Signature(format!(
            "it signs something of type {}",
            inner.econtent_type
        )));
    }
    let Some(inner) = inner.econtent else {
        return Err(ManifestError::Plain);
    };
    let manifest: OctetStringRef<'_> = inner.decode_as().map_err(damaged)?;
    Ok(manifest.as_bytes().to_vec())
}

fn read(file: &mut File) -> Result<Vec<u8>, ManifestError> {
    let size = file.metadata()?.len();
    let Some(end) = size.checked_sub(TRAILER) else {
        return Err(ManifestError::NotABundle);
    };
    let mut trailer = [0; 8];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut trailer)?;
    let length = u64::from_be_bytes(trailer);
    if length == 0 || length > MAX_SIGNATURE {
        return Err(ManifestError::NotABundle);
    }
    let Some(start) = end.checked_sub(length) else {
        return Err(ManifestError::NotABundle);
    };
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut cms = vec![0; length];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut cms)?;
    Ok(cms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_with_lengths_of_no_number_is_read() {
        let text = signed_text(include_bytes!("testdata/indefinite-length.cms")).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("[update]\ncompatible="), "{text}");
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        for bytes in [&b""[..], b"\x30\x80", b"0123456789"] {
            assert!(matches!(signed_text(bytes), Err(ManifestError::Signature(_))));
        }
    }
}
