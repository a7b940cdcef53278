//! Paths of the REST API.

use std::fmt;

const ROOT: &str = "/api/v1";

/// A path below `/api/v1`, with its query.
///
/// Its elements and values are encoded here (RFC 3986 section 2.1), so that nothing in a name has a meaning of its own: the group
/// `acme/pilot` is one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiPath(String);

// === impl ApiPath ===

impl ApiPath {
    /// What the API has under this name.
    pub(crate) fn new(name: &str) -> Self {
        Self(ROOT.to_owned()).join(name)
    }

    /// With one element more. Elements come before parameters.
    pub(crate) fn join(self, element: impl fmt::Display) -> Self {
        Self(format!("{}/{}", self.0, encode(&element.to_string())))
    }

    /// With one parameter more.
    pub(crate) fn query(self, name: &str, value: impl fmt::Display) -> Self {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        Self(format!(
            "{}{separator}{name}={}",
            self.0,
            encode(&value.to_string())
        ))
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn encode(text: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_values_cannot_leave_their_place() {
        let path = ApiPath::new("groups").join("acme/pilot").join("devices").join(7);
        assert_eq!(path.to_string(), "/api/v1/groups/acme%2Fpilot/devices/7");
        let path = ApiPath::new("devices")
            .query("find", "../a?b#c d%é&x=y")
            .query("limit", 2);
        assert_eq!(
            path.to_string(),
            "/api/v1/devices?find=..%2Fa%3Fb%23c%20d%25%C3%A9%26x%3Dy&limit=2"
        );
        assert_eq!(encode("gate-7.a_b~c"), "gate-7.a_b~c");
    }
}
