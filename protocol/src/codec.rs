//! One CBOR item per payload.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{MAX_DEPTH, MAX_PAYLOAD};

/// Why a payload was not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_PAYLOAD`].
    #[error("payload of {0} bytes is over the limit of {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// Not CBOR, not the expected shape, or nested too deeply.
    #[error("payload is not a valid message: {0}")]
    Malformed(String),
    /// Well formed, but it breaks a limit of [`crate::limits`].
    #[error("message breaks a limit: {0}")]
    Limit(&'static str),
}

/// Encodes `message`. Our own types always encode: they hold nothing that CBOR lacks.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut payload = Vec::with_capacity(256);
    let written = ciborium::into_writer(message, &mut payload);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    payload
}

pub(crate) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(DecodeError::TooLarge(payload.len()));
    }
    let mut rest = payload;
    let message = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(DecodeError::Malformed(format!(
            "{} bytes after the message",
            rest.len()
        )));
    }
    Ok(message)
}
