//! A name server that knows one name and takes its time: DNS over TCP (RFC 7766), for one board.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Where the name leads: this machine, as boards see it.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const TTL_SECONDS: u32 = 1;
const HEADER_BYTES: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];
/// A response that is authoritative enough for a stub resolver: QR, RD, RA.
const FLAGS_FOUND: [u8; 2] = [0x81, 0x80];
const FLAGS_NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
/// A pointer to the question's name (RFC 1035, 4.1.4).
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 12];

/// Listens on loopback until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    delay: Duration,
    questions: AtomicUsize,
    stopped: AtomicBool,
}

// === impl NameServer ===

impl NameServer {
    /// Knows `name` and answers each question after `delay`.
    pub fn start(name: &str, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for a name server")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            delay,
            questions: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let served = Arc::clone(&served);
                // A resolver that hangs up is its own business.
                thread::spawn(move || stream.map(|stream| served.serve(stream)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens, on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many questions it has answered.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question)?;
            thread::sleep(self.delay);
            let Some(answer) = answer(&question, &self.name) else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
            self.questions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The answer to a message with one question (RFC 1035, 4.1); nothing for one that is cut off.
fn answer(message: &[u8], known: &str) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(message.get(at..at + length)?);
        at += length;
    }
    let kind = message.get(at..at + 2)?;
    let question = message.get(HEADER_BYTES..at + 4)?;
    let is_known = name.eq_ignore_ascii_case(known.as_bytes());
    let has_address = is_known && kind == TYPE_A;
    let flags = if is_known { FLAGS_FOUND } else { FLAGS_NO_SUCH_NAME };
    let mut answer = [
        message.get(..2)?,
        &flags,
        &[0, 1, 0, u8::from(has_address), 0, 0, 0, 0],
    ]
    .concat();
    answer.extend(question);
    if has_address {
        answer.extend(NAME_OF_QUESTION);
        answer.extend(question.get(question.len() - 4..)?);
        answer.extend(TTL_SECONDS.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(ADDRESS.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x06server\x04test\0\0\x01\0\x01";

    #[test]
    fn the_name_has_an_address() {
        let found = answer(QUESTION, "server.test").unwrap();
        assert_eq!(found[..12], *b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0");
        assert_eq!(found[12..29], QUESTION[12..]);
        assert_eq!(
            found[29..],
            *b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\x02\x02"
        );
    }

    #[test]
    fn other_names_and_other_records_have_none() {
        assert_eq!(answer(QUESTION, "other.test").unwrap()[3], 0x83);
        let mut six = QUESTION.to_vec();
        six[26] = 28;
        assert_eq!(answer(&six, "server.test").unwrap()[2..8], *b"\x81\x80\0\x01\0\0");
        assert_eq!(answer(&QUESTION[..20], "server.test"), None);
    }

    #[test]
    fn questions_are_answered_over_tcp() {
        let server = NameServer::start("server.test", Duration::ZERO).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&[0, 29]).unwrap();
        stream.write_all(QUESTION).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        assert_eq!(length, [0, 45]);
    }
}
