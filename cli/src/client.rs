//! The REST API over HTTPS.

use std::{
    fmt,
    io::{BufReader, Read},
    sync::Arc,
    time::Duration,
};

use homeport_api::{Health, Page, Problem};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    AsSendBody, Body, SendBody,
    http::{Method, Request, Response, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

use crate::{
    api_path::ApiPath,
    error::{Error, Result, WRONG_CREDENTIALS},
    event_stream::EventStream,
    server_url::ServerUrl,
    trust::{self, Roots},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte from the server. Its event stream has a sign of life more often than this.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same after an upload: the server checks the bundle before it answers.
const UPLOAD_SILENCE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may take to say that it wants an upload.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
/// Largest description of an error, in bytes.
const MAX_PROBLEM: u64 = 64 * 1024;

/// A connection to one server, as one user.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: ServerUrl,
    credential: Credential,
}

/// What a request is made with.
#[derive(Clone)]
pub(crate) enum Credential {
    /// Nothing, before a login.
    None,
    /// The session that `homeport login` began.
    Session(String),
    /// The token in `HOMEPORT_TOKEN`: an access token, or that of a session.
    Environment(String),
}

// === impl Credential ===

/// Without the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Session(_) => "Session",
            Self::Environment(_) => "Environment",
        })
    }
}

// === impl Client ===

impl Client {
    /// Trusts only certificates that `roots` issued.
    pub(crate) fn new(url: ServerUrl, roots: &Roots, credential: Credential) -> Self {
        let roots: Vec<_> = roots
            .certificates()
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("homeport/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_await_100(Some(CONTINUE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .build();
        Self {
            agent: config.new_agent(),
            url,
            credential,
        }
    }

    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Fetches something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &ApiPath) -> Result<T> {
        self.read(self.send(Method::GET, path, ())?)
    }

    /// A whole list.
    pub(crate) fn list<T: DeserializeOwned>(&self, path: &ApiPath) -> Result<Vec<T>> {
        self.first(path, u32::MAX).map(|(items, _)| items)
    }

    /// The first items of a list, at most `most`, and whether there are more. They are fetched page by page.
    pub(crate) fn first<T: DeserializeOwned>(&self, path: &ApiPath, most: u32) -> Result<(Vec<T>, bool)> {
        let mut items: Vec<T> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let left = most.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let mut page_path = path.clone().query("limit", left.min(Page::<T>::MOST));
            if let Some(next) = &next {
                page_path = page_path.query("after", next);
            }
            let mut page: Page<T> = self.get(&page_path)?;
            items.append(&mut page.items);
            if page.next.is_none() || items.len() >= most as usize {
                return Ok((items, page.next.is_some()));
            }
            next = page.next;
        }
    }

    /// Whether the server is up and takes all that it should. One that does not answers 503, and says why.
    pub(crate) fn health(&self) -> Result<Health> {
        let mut response = self.exchange(self.request(Method::GET, &ApiPath::new("health")).body(()))?;
        let status = response.status();
        if status.is_success() {
            return self.read(response);
        }
        let body = read_problem(&mut response);
        serde_json::from_slice(&body).map_err(|_| {
            let problem = parse_problem(status.as_u16(), status.canonical_reason(), &body);
            Error::Problem(Box::new(problem))
        })
    }

    /// Sends something and takes the answer.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &ApiPath, body: &impl Serialize) -> Result<T> {
        self.read(self.send_json(Method::POST, path, body)?)
    }

    /// Asks for something to be done.
    pub(crate) fn post_empty<T: DeserializeOwned>(&self, path: &ApiPath) -> Result<T> {
        self.read(self.send(Method::POST, path, ())?)
    }

    /// Changes something.
    pub(crate) fn patch<T: DeserializeOwned>(&self, path: &ApiPath, body: &impl Serialize) -> Result<T> {
        self.read(self.send_json(Method::PATCH, path, body)?)
    }

    /// Puts something, without an answer.
    pub(crate) fn put(&self, path: &ApiPath, body: &impl Serialize) -> Result<()> {
        self.send_json(Method::PUT, path, body).map(drop)
    }

    /// Puts a relation, without content or answer.
    pub(crate) fn put_empty(&self, path: &ApiPath) -> Result<()> {
        self.send(Method::PUT, path, ()).map(drop)
    }

    /// Deletes something.
    pub(crate) fn delete(&self, path: &ApiPath) -> Result<()> {
        self.send(Method::DELETE, path, ()).map(drop)
    }

    /// Streams `length` bytes up.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        path: &ApiPath,
        content: impl Read + 'static,
        length: u64,
    ) -> Result<T> {
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            // The server can refuse before gigabytes are sent.
            .header(header::EXPECT, "100-continue")
            .body(SendBody::from_owned_reader(content))
            .map(|request| {
                self.agent
                    .configure_request(request)
                    .timeout_per_read(Some(UPLOAD_SILENCE_TIMEOUT))
                    .build()
            });
        self.read(self.run(request)?)
    }

    /// Follows the live events.
    pub(crate) fn events(&self) -> Result<EventStream<impl std::io::BufRead + use<>>> {
        let request = self
            .request(Method::GET, &ApiPath::new("events"))
            .header(header::ACCEPT, "text/event-stream")
            .body(());
        let body = self.run(request)?.into_body();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        Ok(EventStream::new(BufReader::new(reader)))
    }

    /// Reads lines as they come.
    pub(crate) fn lines(&self, path: &ApiPath) -> Result<impl std::io::BufRead + use<>> {
        let body = self.send(Method::GET, path, ())?.into_body();
        Ok(BufReader::new(body.into_with_config().limit(u64::MAX).reader()))
    }

    fn send_json(&self, method: Method, path: &ApiPath, body: &impl Serialize) -> Result<Response<Body>> {
        let body =
            serde_json::to_vec(body).map_err(|e| Error::Failed(format!("cannot write the request: {e}")))?;
        let request = self
            .request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        self.run(request)
    }

    fn send(&self, method: Method, path: &ApiPath, body: impl AsSendBody) -> Result<Response<Body>> {
        self.run(self.request(method, path).body(body))
    }

    fn request(&self, method: Method, path: &ApiPath) -> ureq::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        match &self.credential {
            Credential::None => request,
            Credential::Session(token) | Credential::Environment(token) => {
                request.header(header::AUTHORIZATION, format!("Bearer {token}"))
            }
        }
    }

    fn run<B: AsSendBody>(
        &self,
        request: std::result::Result<Request<B>, ureq::http::Error>,
    ) -> Result<Response<Body>> {
        let response = self.exchange(request)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let problem = Box::new(problem(response));
        Err(match self.credential {
            Credential::Environment(_) if problem.status == 401 && problem.kind != WRONG_CREDENTIALS => {
                Error::TokenRefused(problem)
            }
            _ => Error::Problem(problem),
        })
    }

    fn exchange<B: AsSendBody>(
        &self,
        request: std::result::Result<Request<B>, ureq::http::Error>,
    ) -> Result<Response<Body>> {
        let request = request.map_err(|e| Error::Usage(format!("this cannot be sent to the server: {e}")))?;
        self.agent.run(request).map_err(|e| self.failure(e))
    }

    fn read<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T> {
        response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_json()
            .map_err(|e| self.failure(e))
    }

    fn failure(&self, error: ureq::Error) -> Error {
        let unreachable = |why: String| Error::Unreachable {
            url: self.url.to_string(),
            why,
        };
        match error {
            ureq::Error::Rustls(error) => trust::explain(&self.url, &error),
            ureq::Error::Io(error) => match trust::tls_error(&error) {
                Some(tls) => trust::explain(&self.url, tls),
                None => unreachable(error.to_string()),
            },
            ureq::Error::HostNotFound => unreachable(format!("the name {} is not known", self.url.host())),
            ureq::Error::Timeout(phase) => unreachable(format!("it did not answer in time ({phase})")),
            ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::BodyStalled => unreachable(error.to_string()),
            ureq::Error::Json(error) if error.is_io() => unreachable(error.to_string()),
            error => Error::Failed(format!(
                "the answer of {} is not what a Homeport server sends ({error}); check the address, and that server and command line have versions that fit",
                self.url
            )),
        }
    }
}

fn problem(mut response: Response<Body>) -> Problem {
    let status = response.status();
    let body = read_problem(&mut response);
    parse_problem(status.as_u16(), status.canonical_reason(), &body)
}

fn read_problem(response: &mut Response<Body>) -> Vec<u8> {
    let body = response.body_mut().with_config().limit(MAX_PROBLEM);
    body.read_to_vec().unwrap_or_default()
}

/// A proxy's or an older server's answer is not a problem document.
fn parse_problem(status: u16, reason: Option<&str>, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        kind: "about:blank".to_owned(),
        title: reason.unwrap_or("the server refused").to_owned(),
        status,
        detail: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_no_problem_document_still_say_what_they_can() {
        let problem = parse_problem(502, Some("Bad Gateway"), b"<html>");
        assert_eq!((problem.status, problem.title.as_str()), (502, "Bad Gateway"));
        let body = br#"{"type":"token-expired","title":"T","status":401,"detail":"D","extra":1}"#;
        assert_eq!(parse_problem(401, None, body).kind, "token-expired");
    }
}
