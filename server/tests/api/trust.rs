//! Races for the right to connect: with the real server, over TLS.

use std::{
    io::Read as _,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
};

use serde_json::json;
use ureq::Agent;

use crate::support::{Device, Person, Server, bundle, enrol, json as body};

/// How often a race is run.
const ROUNDS: usize = 8;

/// Threads that renew at the same time.
const RENEWING: usize = 8;

/// Connects before it begins: only the request itself is in the race.
fn warm(agent: &Agent, url: &str) {
    let mut answer = agent.get(url).call().unwrap();
    answer.body_mut().read_to_vec().unwrap();
}

fn is_revoked(person: &Person, device: &Device) -> bool {
    let device = person.get(&format!("/api/v1/devices/{}", device.id));
    device["revoked"].as_bool().unwrap()
}

/// The certificates that many renewals bring while `operator` does something.
fn renew_during(server: &Server, device: &Device, operator: impl FnOnce() + Send) -> Vec<Device> {
    let start = Barrier::new(RENEWING + 1);
    thread::scope(|scope| {
        let renewing: Vec<ScopedJoinHandle<'_, _>> = (0..RENEWING)
            .map(|_| {
                scope.spawn(|| {
                    // Connected before it begins: only the renewal itself is in the race.
                    let agent = device.new_agent();
                    let config = format!("{}/device/v1/config", server.url());
                    agent
                        .get(config)
                        .call()
                        .unwrap()
                        .body_mut()
                        .read_to_vec()
                        .unwrap();
                    start.wait();
                    device.renew(server, &agent)
                })
            })
            .collect();
        start.wait();
        operator();
        let done = renewing.into_iter().map(|thread| thread.join().unwrap());
        done.filter_map(Result::ok).collect()
    })
}

#[test]
fn no_renewal_survives_a_revocation() {
    let server = Server::start();
    let person = server.log_in();
    for round in 0..ROUNDS {
        let device = person.pair(&server);
        let renewed = renew_during(&server, &device, || {
            assert_eq!(person.revoke(&device)["revoked"], true);
        });
        let working = renewed.iter().filter(|device| device.works(&server)).count();
        assert_eq!(working, 0, "round {round}: of {}", renewed.len());
        assert!(is_revoked(&person, &device), "round {round}");
    }
}

#[test]
fn no_renewal_survives_a_deletion() {
    let server = Server::start();
    let person = server.log_in();
    for round in 0..ROUNDS {
        let device = person.pair(&server);
        let path = format!("/api/v1/devices/{}", device.id);
        let renewed = renew_during(&server, &device, || {
            assert_eq!(person.send("DELETE", &path, ()).status(), 204);
        });
        let working = renewed.iter().filter(|device| device.works(&server)).count();
        assert_eq!(working, 0, "round {round}: of {}", renewed.len());
        assert_eq!(person.send("GET", &path, ()).status(), 404);
    }
}

#[test]
fn no_pairing_again_survives_a_revocation() {
    let server = Server::start();
    let person = server.log_in();
    for round in 0..ROUNDS {
        let device = person.pair(&server);
        let (_, token) = person.token(&json!({"device": device.id.as_str()}));
        let start = Barrier::new(2);
        let paired = thread::scope(|scope| {
            let pairing = scope.spawn(|| {
                let agent = server.agent();
                warm(&agent, &format!("{}/.well-known/est/cacerts", server.url()));
                start.wait();
                enrol(&server, &agent, &token)
            });
            start.wait();
            person.revoke(&device);
            pairing.join().unwrap()
        });
        assert!(is_revoked(&person, &device), "round {round}");
        assert!(!device.works(&server), "round {round}");
        match paired {
            Ok(again) => assert!(!again.works(&server), "round {round}"),
            Err(status) => assert_eq!(status, 401, "round {round}"),
        }
    }
}

#[test]
fn a_token_that_is_taken_back_pairs_a_device_whole_or_not_at_all() {
    let server = Server::start();
    let person = server.log_in();
    let mut devices = 0;
    for _ in 0..ROUNDS {
        let (id, token) = person.token(&json!({}));
        let start = Barrier::new(2);
        let paired = thread::scope(|scope| {
            let pairing = scope.spawn(|| {
                let agent = server.agent();
                warm(&agent, &format!("{}/.well-known/est/cacerts", server.url()));
                start.wait();
                enrol(&server, &agent, &token)
            });
            start.wait();
            let path = format!("/api/v1/pairing-tokens/{id}");
            assert_eq!(person.send("DELETE", &path, ()).status(), 204);
            pairing.join().unwrap()
        });
        match paired {
            Ok(device) => {
                devices += 1;
                assert!(device.works(&server) && !is_revoked(&person, &device));
            }
            Err(status) => assert_eq!(status, 401),
        }
        assert_eq!(enrol(&server, &server.agent(), &token).err(), Some(401));
    }
    let all = person.list("/api/v1/devices");
    assert_eq!(all.len(), devices, "none without a certificate");
}

#[test]
fn no_connection_survives_a_revocation() {
    let server = Server::start();
    let person = server.log_in();
    for _ in 0..ROUNDS {
        let device = person.pair(&server);
        let start = Barrier::new(2);
        let link = thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                start.wait();
                device.try_connect(&server)
            });
            start.wait();
            person.revoke(&device);
            connecting.join().unwrap()
        });
        if let Some(mut link) = link {
            // At most a goodbye.
            while link.receive().is_some() {}
        }
        assert!(is_revoked(&person, &device));
        assert!(device.try_connect(&server).is_none());
    }
}

#[test]
fn a_connection_that_stays_open_is_asked_again() {
    let server = Server::start();
    let person = server.log_in();
    let device = person.pair(&server);
    let file = bundle("2", 9_900_000);
    let mut uploaded = person.send("POST", "/api/v1/bundles", file.as_slice());
    assert_eq!(uploaded.status(), 201);
    let id = body(&mut uploaded)["id"].as_str().unwrap().to_owned();
    let url = format!("{}/device/v1/bundles/{id}", server.url());

    let download = device.new_agent().get(&url).call().unwrap();
    let mut download = download.into_body().into_reader();
    download.read_exact(&mut [0; 1000]).unwrap();
    let renewed = device.renew(&server, &device.agent).unwrap();
    assert!(renewed.works(&server));

    person.revoke(&device);
    let mut answer = device.agent.get(&url).call().unwrap();
    assert_eq!(answer.status(), 401);
    // Read to its end: the connection is kept.
    answer.body_mut().read_to_vec().unwrap();
    assert_eq!(device.renew(&server, &device.agent).err(), Some(401));
    assert!(!renewed.works(&server));
    assert!(download.read_to_end(&mut Vec::new()).is_err(), "it breaks off");
}

#[test]
fn a_device_that_renews_without_end_is_told_to_wait() {
    let server = Server::start();
    let person = server.log_in();
    let device = person.pair(&server);
    // The pairing was the first of ten.
    let mut newest = device.renew(&server, &device.agent).unwrap();
    for _ in 2..10 {
        newest = device.renew(&server, &device.agent).unwrap();
    }
    assert_eq!(device.renew(&server, &device.agent).err(), Some(429));
    assert_eq!(
        newest.renew(&server, &newest.agent).err(),
        Some(429),
        "with any of its own"
    );
    assert!(newest.works(&server) && device.works(&server));
    // An operator's new token is no renewal.
    let (_, token) = person.token(&json!({"device": device.id.as_str()}));
    assert!(enrol(&server, &server.agent(), &token).unwrap().works(&server));
}
