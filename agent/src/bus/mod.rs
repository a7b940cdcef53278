//! The agent on the system bus: `io.homeport.Agent1`. `dist/dbus/io.homeport.Agent1.xml` is the contract.

mod agent;
mod client;

pub(crate) use self::{
    agent::offer,
    client::{is_absent, remote},
};

const NAME: &str = "io.homeport.Agent1";
const PATH: &str = "/io/homeport/Agent1";
