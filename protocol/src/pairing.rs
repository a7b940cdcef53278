//! The pairing token: one string that lets a device and a server recognise each other at first contact.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Everything a device needs to enrol: where the server is, how to know that it is the right one, and a secret that
/// tells the server that the device may join.
///
/// As text: `homeport://<host>[:port]/<fingerprint>/<secret>`, the last two in base64url without padding (RFC 4648 section 5).
/// The text is a credential: it is not logged, and `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingToken {
    /// Host and optional port of the server's HTTPS address, e.g. `fleet.example.com:8443`.
    pub authority: String,
    /// SHA-256 of the DER form of the CA certificate at the end of the server's chain.
    pub ca_fingerprint: [u8; 32],
    /// The one-time secret: the password of the EST request's HTTP Basic authentication.
    pub secret: [u8; PairingToken::SECRET_LEN],
}

/// A text that is not a [`PairingToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Does not start as a token does.
    #[error("a pairing token starts with homeport://; copy it whole, as `homeport token create` printed it")]
    Scheme,
    /// Parts are missing or not what they should be.
    #[error(
        "the pairing token is damaged or incomplete; copy it whole, as `homeport token create` printed it"
    )]
    Malformed,
}

const SCHEME: &str = "homeport://";

// === impl PairingToken ===

impl PairingToken {
    /// Length of the secret, in bytes.
    pub const SECRET_LEN: usize = 20;

    /// Longest token text that is looked at, in bytes.
    pub const MAX_LEN: usize = 512;

    /// User name of the EST request's HTTP Basic authentication.
    pub const EST_USER: &str = "pairing";

    /// The server's HTTPS address, without a slash at the end.
    #[must_use]
    pub fn server_url(&self) -> String {
        format!("https://{}", self.authority)
    }

    /// The secret as text, as it is used for the password.
    #[must_use]
    pub fn password(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }
}

impl fmt::Display for PairingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = URL_SAFE_NO_PAD.encode(self.ca_fingerprint);
        write!(f, "{SCHEME}{}/{fingerprint}/{}", self.authority, self.password())
    }
}

impl fmt::Debug for PairingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairingToken")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl FromStr for PairingToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.len() > Self::MAX_LEN {
            return Err(InvalidToken::Malformed);
        }
        let mut parts = text.strip_prefix(SCHEME).ok_or(InvalidToken::Scheme)?.split('/');
        let (Some(authority), Some(fingerprint), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidToken::Malformed);
        };
        let in_authority = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
        if authority.is_empty() || !authority.bytes().all(in_authority) {
            return Err(InvalidToken::Malformed);
        }
        Ok(Self {
            authority: authority.to_owned(),
            ca_fingerprint: bytes(fingerprint)?,
            secret: bytes(secret)?,
        })
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], InvalidToken> {
    let decoded = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| InvalidToken::Malformed)?;
    decoded.try_into().map_err(|_| InvalidToken::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_round_trip(
            authority in "[a-z0-9.-]{1,60}(:[0-9]{1,5})?",
            ca_fingerprint: [u8; 32],
            secret: [u8; PairingToken::SECRET_LEN],
        ) {
            let token = PairingToken { authority, ca_fingerprint, secret };
            prop_assert_eq!(format!(" {token}\n").parse::<PairingToken>().unwrap(), token);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "(homeport://)?.{0,120}") {
            let _ = text.parse::<PairingToken>();
        }
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let token = PairingToken {
            authority: "a:1".into(),
            ca_fingerprint: [7; 32],
            secret: [9; 20],
        };
        let text = token.to_string();
        assert_eq!(text[1..].parse::<PairingToken>(), Err(InvalidToken::Scheme));
        assert_eq!(
            text[..text.len() - 1].parse::<PairingToken>(),
            Err(InvalidToken::Malformed)
        );
        assert_eq!(
            format!("{text}/x").parse::<PairingToken>(),
            Err(InvalidToken::Malformed)
        );
        assert_eq!(
            text.replace("a:1", "a@b").parse::<PairingToken>(),
            Err(InvalidToken::Malformed)
        );
        assert!(!format!("{token:?}").contains(&token.password()));
    }
}
