//! The address of a server.

use std::fmt;

use ureq::http::Uri;

const DEFAULT_PORT: u16 = 443;

/// `https://host[:port]`, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    authority: String,
    host: String,
    port: u16,
}

// === impl ServerUrl ===

impl ServerUrl {
    /// Host name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl std::str::FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{text}` is not the address of a server: {why}; write https://host:port");
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong("it cannot be read"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("Homeport is reached over https only"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(wrong("there is something after the host and port"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user name does not belong there"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        Ok(Self {
            authority: authority.as_str().to_lowercase(),
            host: host.to_lowercase(),
            port: authority.port_u16().unwrap_or(DEFAULT_PORT),
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for text in [
            "https://Fleet.Example:8443/",
            "fleet.example:8443",
            "https://fleet.example:8443",
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), "https://fleet.example:8443");
            assert_eq!((url.host(), url.port()), ("fleet.example", 8443));
        }
        let url: ServerUrl = "[::1]:8443".parse().unwrap();
        assert_eq!(url.to_string(), "https://[::1]:8443");
        assert_eq!(url.host(), "::1");
        assert_eq!("a.example".parse::<ServerUrl>().unwrap().port(), 443);
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in [
            "http://a:8443",
            "https://a/b",
            "https://u:p@a",
            "https://",
            "",
            "a b",
            "https://a?x=1",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
