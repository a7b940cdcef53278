//! The running agent, for `homeport-agent status` and `pair`.

use homeport_system::bus::{Remote, first};
use zbus::zvariant::Structure;

use super::{NAME, PATH};

const AGENT: Remote = Remote {
    service: NAME,
    path: PATH,
    interface: NAME,
};

/// The running agent, as a client sees it. Its methods are those of the contract.
pub(crate) struct RemoteAgent(zbus::Connection);

/// Whether the agent is not on the bus (yet).
pub(crate) fn is_absent(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.as_str() == "org.freedesktop.DBus.Error.ServiceUnknown")
}

/// The way to the running agent.
pub(crate) async fn remote() -> zbus::Result<RemoteAgent> {
    zbus::Connection::system().await.map(RemoteAgent)
}

// === impl RemoteAgent ===

impl RemoteAgent {
    pub(crate) async fn status(&self) -> zbus::Result<String> {
        first(AGENT.call(&self.0, "Status", None).await?)
    }

    pub(crate) async fn pair(&self, token: &str) -> zbus::Result<String> {
        self.call_with("Pair", token).await
    }

    pub(crate) async fn pair_anew(&self, token: &str) -> zbus::Result<String> {
        self.call_with("PairAnew", token).await
    }

    async fn call_with(&self, method: &str, token: &str) -> zbus::Result<String> {
        let arguments = Structure::from((token,));
        first(AGENT.call(&self.0, method, Some(arguments)).await?)
    }
}
