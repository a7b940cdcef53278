//! Bundles, in and out.

use sha2::{Digest as _, Sha256};
use ureq::{Body, http::Response};

use crate::support::{Device, Person, Server, bundle, json, problem, until};

fn hash(file: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(file).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn upload(person: &Person, file: &[u8]) -> Response<Body> {
    person.send("POST", &format!("/api/v1/bundles?sha256={}", hash(file)), file)
}

fn stored(server: &Server) -> usize {
    std::fs::read_dir(server.data_dir().join("bundles"))
        .unwrap()
        .count()
}

fn download(device: &Device, url: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = device.agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().unwrap()
}

#[test]
fn a_bundle_goes_in_and_out() {
    let server = Server::start();
    let person = server.log_in();
    let file = bundle("1.2", 1_000_000);
    let id = hash(&file);
    let mut first = upload(&person, &file);
    assert_eq!(first.status(), 201);
    let shown = json(&mut first);
    assert_eq!(shown["id"], id);
    assert_eq!(shown["size"], file.len());
    assert_eq!(
        (&shown["compatible"], &shown["version"]),
        (&"test".into(), &"1.2".into())
    );
    assert_eq!(upload(&person, &file).status(), 200);
    assert_eq!(person.list("/api/v1/bundles").len(), 1);

    let url = format!("{}/device/v1/bundles/{id}", server.url());
    let mut stranger = server.agent().get(&url).call().unwrap();
    assert_eq!(problem(&mut stranger), (401, "certificate-required".into()));

    let device = person.pair(&server);
    let mut whole = download(&device, &url, &[]);
    let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{id}\""));
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert!(whole.body_mut().read_to_vec().unwrap() == file);

    let mut part = download(
        &device,
        &url,
        &[("range", "bytes=1000-1999"), ("if-range", &etag)],
    );
    assert_eq!(part.status(), 206);
    assert_eq!(
        part.headers()["content-range"],
        format!("bytes 1000-1999/{}", file.len())
    );
    assert_eq!(part.body_mut().read_to_vec().unwrap(), file[1000..2000]);
    let mut end = download(&device, &url, &[("range", "bytes=-8")]);
    assert_eq!(end.body_mut().read_to_vec().unwrap(), file[file.len() - 8..]);
    let mut other = download(&device, &url, &[("range", "bytes=0-0"), ("if-range", "\"x\"")]);
    assert_eq!(other.status(), 200);
    assert_eq!(other.body_mut().read_to_vec().unwrap().len(), file.len());
    let outside = download(&device, &url, &[("range", "bytes=99999999-")]);
    assert_eq!(outside.status(), 416);
    assert_eq!(
        outside.headers()["content-range"],
        format!("bytes */{}", file.len())
    );
    assert_eq!(download(&device, &url, &[("if-none-match", &etag)]).status(), 304);
    let head = device.agent.head(&url).call().unwrap();
    assert_eq!(head.headers()["content-length"], file.len().to_string());

    assert_eq!(
        person
            .send("DELETE", &format!("/api/v1/bundles/{id}"), ())
            .status(),
        204
    );
    assert_eq!(
        problem(&mut download(&device, &url, &[])),
        (404, "not-found".into())
    );
    assert_eq!(stored(&server), 0);
}

#[test]
fn what_cannot_be_used_is_refused_and_leaves_nothing_behind() {
    let server = Server::start();
    let person = server.log_in();
    let file = bundle("1", 5000);

    let mut tampered = file.clone();
    tampered[100] ^= 1;
    let path = format!("/api/v1/bundles?sha256={}", hash(&file));
    assert_eq!(
        problem(&mut person.send("POST", &path, &tampered[..])),
        (422, "damaged".into())
    );
    assert_eq!(
        problem(&mut upload(&person, &file[..file.len() - 1])),
        (422, "not-a-usable-bundle".into())
    );
    assert_eq!(problem(&mut upload(&person, b"")).1, "not-a-usable-bundle");
    let mut chunked = person.send(
        "POST",
        "/api/v1/bundles",
        ureq::SendBody::from_owned_reader(std::io::Cursor::new(file.clone())),
    );
    assert_eq!(problem(&mut chunked), (411, "length-required".into()));
    assert_eq!(
        problem(&mut person.send("POST", "/api/v1/bundles?sha256=x", &file[..])),
        (400, "malformed".into())
    );
    let device = person.pair(&server);
    for id in ["..%2f..%2fca-key.pem", "x", &"0".repeat(64)] {
        let url = format!("{}/device/v1/bundles/{id}", server.url());
        assert_eq!(problem(&mut download(&device, &url, &[])).0, 404, "{id}");
    }
    assert_eq!(stored(&server), 0);
    assert!(person.list("/api/v1/bundles").is_empty());
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let server = Server::start();
    let person = server.log_in();
    let file = bundle("1", 500_000);
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("{}/api/v1/bundles", server.url()))
        .header("authorization", format!("Bearer {}", person.token))
        .header("content-length", file.len().to_string())
        .body(ureq::SendBody::from_owned_reader(BreaksOff(
            std::io::Cursor::new(file[..300_000].to_vec()),
        )))
        .unwrap();
    assert!(person.agent.run(request).is_err());
    until(|| stored(&server) == 0);
    // Nothing of it is in the way.
    assert_eq!(upload(&person, &file).status(), 201);
}

/// Fails after its end.
struct BreaksOff(std::io::Cursor<Vec<u8>>);

impl std::io::Read for BreaksOff {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("the cable was pulled")),
            count => Ok(count),
        }
    }
}

#[test]
fn a_bundle_over_the_limit_is_refused_before_it_is_sent() {
    let server = Server::start();
    let person = server.log_in();
    // Only announced: the answer comes without a byte of it.
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("{}/api/v1/bundles", server.url()))
        .header("authorization", format!("Bearer {}", person.token))
        .header("content-length", "10000001")
        .header("expect", "100-continue")
        .body(ureq::SendBody::from_owned_reader(std::io::repeat(0)))
        .unwrap();
    let mut response = person.agent.run(request).unwrap();
    assert_eq!(problem(&mut response), (413, "too-large".into()));
    assert_eq!(stored(&server), 0);
}
