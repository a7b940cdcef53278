//! Calls to services on D-Bus. All arguments and answers are values of one dynamic type: code for each combination of
//! types, and zbus's proxies with their property caches, would be a twentieth of the agent.

use futures_util::StreamExt as _;
use zbus::{
    Connection, MatchRule, Message, MessageStream,
    message::Type,
    zvariant::{Structure, Value},
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const DAEMON: &str = "org.freedesktop.DBus";
const DAEMON_PATH: &str = "/org/freedesktop/DBus";

/// One interface of one object of a service.
#[derive(Debug, Clone, Copy)]
pub struct Remote {
    /// Well-known name of the service.
    pub service: &'static str,
    /// The object.
    pub path: &'static str,
    /// Which of its interfaces.
    pub interface: &'static str,
}

/// The values of a message, one for each argument.
pub type Values = Vec<Value<'static>>;

/// What a service announces. Only what it sent itself comes through, whoever else sends something that looks like it.
#[derive(Debug)]
pub struct Signals {
    remote: Remote,
    connection: Connection,
    stream: MessageStream,
}

// === impl Remote ===

impl Remote {
    /// Calls a method and waits for its answer.
    pub async fn call(
        &self,
        connection: &Connection,
        method: &str,
        arguments: Option<Structure<'_>>,
    ) -> zbus::Result<Values> {
        call(
            connection,
            self.service,
            self.path,
            self.interface,
            method,
            arguments,
        )
        .await
    }

    /// Reads a property.
    pub async fn property(&self, connection: &Connection, name: &str) -> zbus::Result<Value<'static>> {
        let arguments = Structure::from((self.interface, name));
        let mut values = call(
            connection,
            self.service,
            self.path,
            PROPERTIES,
            "Get",
            Some(arguments),
        )
        .await?;
        match values.pop() {
            Some(Value::Value(value)) => Ok(*value),
            _ => Err(zbus::Error::InvalidReply),
        }
    }

    /// What the object offers, in XML.
    pub async fn introspect(&self, connection: &Connection) -> zbus::Result<String> {
        let values = call(
            connection,
            self.service,
            self.path,
            INTROSPECTABLE,
            "Introspect",
            None,
        );
        first(values.await?)
    }

    /// Listens from now on for the signal `member`.
    pub async fn signals(&self, connection: &Connection, member: &'static str) -> zbus::Result<Signals> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(self.service)?
            .path(self.path)?
            .interface(self.interface)?
            .member(member)?
            .build();
        Ok(Signals {
            remote: *self,
            connection: connection.clone(),
            stream: MessageStream::for_match_rule(rule, connection, None).await?,
        })
    }
}

// === impl Signals ===

impl Signals {
    /// The next message that may be a signal of the service; `None` when the connection is lost. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        self.stream.next().await?.ok()
    }

    /// The signal's arguments, if the service sent it. The bus only lets the service *broadcast* it to us; anybody may
    /// send us one that is addressed to us alone.
    pub async fn verify(&self, signal: &Message) -> Option<Values> {
        let arguments = Structure::from((self.remote.service,));
        let owner = call(
            &self.connection,
            DAEMON,
            DAEMON_PATH,
            DAEMON,
            "GetNameOwner",
            Some(arguments),
        );
        let owner: String = first(owner.await.ok()?).ok()?;
        let header = signal.header();
        let is_sent_by_owner = header.sender().is_some_and(|sender| sender.as_str() == owner);
        is_sent_by_owner.then(|| values(signal).ok()).flatten()
    }
}

/// The first of `values` as the type that it has to be of.
pub fn first<T: TryFrom<Value<'static>>>(values: Values) -> zbus::Result<T> {
    let value = values.into_iter().next();
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or(zbus::Error::InvalidReply)
}

async fn call(
    connection: &Connection,
    service: &str,
    path: &str,
    interface: &str,
    method: &str,
    arguments: Option<Structure<'_>>,
) -> zbus::Result<Values> {
    let (service, interface) = (Some(service), Some(interface));
    let answer = match &arguments {
        Some(arguments) => {
            connection
                .call_method(service, path, interface, method, arguments)
                .await
        }
        None => {
            connection
                .call_method(service, path, interface, method, &())
                .await
        }
    };
    values(&answer?)
}

fn values(message: &Message) -> zbus::Result<Values> {
    let body = message.body();
    if body.is_empty() {
        return Ok(Values::new());
    }
    let arguments: Structure<'_> = body.deserialize()?;
    let values = arguments.into_fields().into_iter();
    values.map(|value| Ok(value.try_into_owned()?.into())).collect()
}
