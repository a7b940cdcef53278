//! The interface `io.homeport.Agent1`, offered.

use std::{future::pending, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};
use zbus::{fdo, interface, object_server::InterfaceRef};

use super::{NAME, PATH};
use crate::{identity::PairRequest, status::Shared};

/// The object on the bus.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    pairing: mpsc::Sender<PairRequest>,
}

/// Offers the agent on the bus, if there is one. Once this returns it can be called, and as long as the returned future
/// runs, which is for ever, the bus hears of changes.
pub(crate) async fn offer(
    connection: Option<&zbus::Connection>,
    shared: Arc<Shared>,
    pairing: mpsc::Sender<PairRequest>,
) -> impl Future<Output = ()> {
    let offered = match connection {
        Some(connection) => register(connection, shared.clone(), pairing)
            .await
            // The device is still worth keeping in touch with.
            .inspect_err(|error| error!("not on the system bus as {NAME}: {error}"))
            .ok(),
        None => None,
    };
    async move {
        if let Some(agent) = offered {
            if let Err(error) = tell_changes(agent, &shared).await {
                warn!("the system bus does not hear of changes any more: {error}");
            }
        }
        pending::<()>().await;
    }
}

async fn register(
    connection: &zbus::Connection,
    shared: Arc<Shared>,
    pairing: mpsc::Sender<PairRequest>,
) -> zbus::Result<InterfaceRef<Agent>> {
    let server = connection.object_server();
    server.at(PATH, Agent { shared, pairing }).await?;
    connection.request_name(NAME).await?;
    server.interface(PATH).await
}

/// Tells the bus of changes until there are none any more.
async fn tell_changes(agent: InterfaceRef<Agent>, shared: &Shared) -> zbus::Result<()> {
    let mut changes = shared.changes();
    while changes.next().await.is_some() {
        let emitter = agent.signal_emitter();
        let object = agent.get().await;
        object.connected_changed(emitter).await?;
        object.device_id_changed(emitter).await?;
        object.server_url_changed(emitter).await?;
    }
    Ok(())
}

// === impl Agent ===

#[interface(name = "io.homeport.Agent1")]
impl Agent {
    fn status(&self) -> fdo::Result<String> {
        serde_json::to_string(&self.shared.status()).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    async fn pair(&self, token: &str) -> fdo::Result<String> {
        self.request(token, false).await
    }

    async fn pair_anew(&self, token: &str) -> fdo::Result<String> {
        self.request(token, true).await
    }

    #[zbus(property)]
    fn connected(&self) -> bool {
        self.shared.is_connected()
    }

    #[zbus(property)]
    fn device_id(&self) -> String {
        self.shared.pairing_status().device_id
    }

    #[zbus(property)]
    fn server_url(&self) -> String {
        self.shared.pairing_status().server_url
    }
}

impl Agent {
    async fn request(&self, token: &str, anew: bool) -> fdo::Result<String> {
        let (reply, answer) = oneshot::channel();
        let request = PairRequest {
            token: token.to_owned(),
            anew,
            reply,
        };
        let stopping = |_| fdo::Error::Failed("the agent is stopping".to_owned());
        self.pairing
            .send(request)
            .await
            .map_err(|_| fdo::Error::Failed("the agent is stopping".to_owned()))?;
        match answer.await.map_err(stopping)? {
            Ok(device) => Ok(device.to_string()),
            Err(error) => Err(fdo::Error::Failed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use tokio::sync::watch;
    use zbus::object_server::Interface;

    use super::*;
    use crate::link::{Limits, Outbox};

    /// Name, signature and direction of everything that an introspection XML offers.
    fn offers(xml: &str) -> BTreeSet<String> {
        let mut member = String::new();
        let mut offers = BTreeSet::new();
        for line in xml.lines() {
            let value = |name: &str| {
                let rest = line.split_once(&format!(" {name}=\""))?.1;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let kind = line
                .trim_start()
                .trim_start_matches('<')
                .split(' ')
                .next()
                .unwrap();
            let name = value("name").unwrap_or_default();
            match kind {
                "method" => member = name,
                "property" => {
                    offers.insert(format!("{name} {:?} {:?}", value("type"), value("access")));
                }
                "arg" => {
                    offers.insert(format!("{member} {:?} {:?}", value("type"), value("direction")));
                }
                _ => {}
            }
        }
        offers
    }

    #[test]
    fn the_shipped_contract_is_what_the_agent_offers() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            size: 1 << 20,
            age: Duration::from_secs(60),
        };
        let shared = Shared::new(
            watch::channel(crate::link::LinkStatus::default()).1,
            watch::channel(crate::identity::Membership::default()).1,
            Outbox::open(folder.path(), limits).unwrap(),
            None,
        );
        let agent = Agent {
            shared: Arc::new(shared),
            pairing: mpsc::channel(1).0,
        };
        let mut xml = String::new();
        agent.introspect_to_writer(&mut xml, 0);
        let shipped = offers(include_str!("../../dist/dbus/io.homeport.Agent1.xml"));
        assert_eq!(shipped, offers(&xml));
        assert_eq!(shipped.len(), 8, "{shipped:?}");
    }
}
