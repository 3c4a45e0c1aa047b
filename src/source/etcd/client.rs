use std::io;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::keys::{self, KeyValue};
use super::{Credentials, EtcdUrl};

/// How long to wait for a connection or a response.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is checked (`TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `tcp(7)`).
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The maximum length of a response's head, and of a response or a line of it, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: u64 = 32 << 20;

/// A connection to etcd. HTTP/1.0 allows one request on each, and no chunks in the response.
pub type Connection = Box<dyn Stream>;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl EtcdUrl {
    /// Returns a function that connects by TCP. If the host vanishes, a connection ends after some minutes.
    pub fn dialer(&self) -> Dial {
        let (host, port) = (self.host.clone(), self.port);
        Box::new(move || Box::pin(connect(host.clone(), port)))
    }
}

async fn connect(host: String, port: u16) -> io::Result<Connection> {
    let stream = TcpStream::connect((host, port)).await?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(stream))
}

/// Connects to etcd.
pub type Dial = Box<dyn Fn() -> Dialing + Send + Sync>;

/// A connection in the making.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>;

/// Sends requests, each on a new connection.
pub(super) struct Client {
    url: EtcdUrl,
    user: Option<Credentials>,
    dial: Dial,
    /// The value of the `Authorization` header.
    token: Option<String>,
}

/// Reads the keys and their values once. A key is given without the prefix.
///
/// # Errors
///
/// etcd cannot be reached, refuses the request, or does not respond within 10 s.
pub async fn read(
    url: EtcdUrl,
    user: Option<Credentials>,
    dial: Dial,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
    let length = url.prefix.len();
    let mut client = Client::new(url, user, dial);
    client.authenticate().await?;
    let mut pairs = client.read().await?.pairs;
    for (key, _) in &mut pairs {
        key.drain(..length.min(key.len()));
    }
    Ok(pairs)
}

/// The keys at one revision.
pub(super) struct Snapshot {
    pub(super) revision: i64,
    pub(super) pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Client {
    pub(super) fn new(url: EtcdUrl, user: Option<Credentials>, dial: Dial) -> Self {
        let token = None;
        Self {
            url,
            user,
            dial,
            token,
        }
    }

    /// Asks for a token, unless none is needed.
    pub(super) async fn authenticate(&mut self) -> Result<(), String> {
        self.token = None;
        let Some(user) = &self.user else {
            return Ok(());
        };
        let body = json!({ "name": user.name, "password": user.password });
        let answer = self.ask::<Value>("/v3/auth/authenticate", &body).await;
        match answer {
            Ok(answer) => self.token = answer["token"].as_str().map(str::to_owned),
            Err(problem) if problem.contains("authentication is not enabled") => {}
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    /// Reads all keys.
    pub(super) async fn read(&self) -> Result<Snapshot, String> {
        let answer: Value = self
            .ask("/v3/kv/range", &keys::range(&self.url.prefix))
            .await?;
        let pairs = answer["kvs"].as_array().into_iter().flatten().map(|one| {
            let pair = serde_json::from_value::<KeyValue>(one.clone());
            pair.map_err(|error| error.to_string())?.decode()
        });
        Ok(Snapshot {
            revision: number(&answer["header"]["revision"]),
            pairs: pairs.collect::<Result<_, _>>()?,
        })
    }

    /// Sends a request, and reads the whole response.
    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, String> {
        let answer = async {
            let body = self.send(path, body).await?;
            let mut bytes = Vec::new();
            let read = body.take(MAX_BODY + 1).read_to_end(&mut bytes).await;
            if read.map_err(|error| text(&error))? as u64 > MAX_BODY {
                return Err(format!("the keys take more than {} MiB", MAX_BODY >> 20));
            }
            serde_json::from_slice(&bytes).map_err(|error| format!("invalid response: {error}"))
        };
        timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// Watches the keys from this revision on.
    pub(super) async fn watch(&self, revision: i64) -> Result<Lines, String> {
        let mut request = keys::range(&self.url.prefix);
        // A number that JSON's numbers may not hold is a string.
        request["start_revision"] = revision.to_string().into();
        let request = json!({ "create_request": request });
        let sent = self.send("/v3/watch", &request);
        let body = timeout(TIMEOUT, Box::pin(sent))
            .await
            .unwrap_or_else(|_| Err(late()))?;
        Ok(Lines {
            body,
            line: Vec::new(),
        })
    }

    /// Sends a request, and reads the head of the response. Returns the body.
    async fn send(&self, path: &str, body: &Value) -> Result<BufReader<Connection>, String> {
        let mut stream = (self.dial)().await.map_err(|error| text(&error))?;
        let (body, host) = (body.to_string(), &self.url.host);
        let token = self.token.as_ref();
        let authorization =
            token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{authorization}\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| text(&error))?;
        let mut stream = BufReader::new(stream);
        match read_status(&mut stream).await? {
            200 => Ok(stream),
            status => Err(explain(status, stream).await),
        }
    }
}

/// The lines of a response that does not end.
pub(super) struct Lines {
    body: BufReader<Connection>,
    line: Vec<u8>,
}

impl Lines {
    /// Reads the next line, which is JSON.
    pub(super) async fn next(&mut self) -> Result<Value, String> {
        self.line.clear();
        let mut body = (&mut self.body).take(MAX_BODY);
        body.read_until(b'\n', &mut self.line)
            .await
            .map_err(|error| text(&error))?;
        if self.line.last() != Some(&b'\n') {
            return Err("the connection was closed".into());
        }
        serde_json::from_slice(&self.line).map_err(|error| format!("invalid response: {error}"))
    }
}

/// Reads the head of a response. Returns the status.
async fn read_status(stream: &mut BufReader<Connection>) -> Result<u16, String> {
    let (mut head, mut limited) = (Vec::new(), stream.take(MAX_HEAD as u64));
    loop {
        let before = head.len();
        limited
            .read_until(b'\n', &mut head)
            .await
            .map_err(|error| text(&error))?;
        if head.len() == before {
            return Err("it closed the connection without a response".into());
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            break;
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&head) {
        Ok(_) => response.code.ok_or_else(|| "it does not speak HTTP".into()),
        Err(error) => Err(format!("it does not speak HTTP: {error}")),
    }
}

/// The message of an error response.
async fn explain(status: u16, body: BufReader<Connection>) -> String {
    let mut bytes = Vec::new();
    let _ = body.take(MAX_HEAD as u64).read_to_end(&mut bytes).await;
    // etcd may send trailers, although HTTP/1.0 has none.
    let first = serde_json::Deserializer::from_slice(&bytes)
        .into_iter::<Value>()
        .next();
    let message = first
        .and_then(Result::ok)
        .map(|value| message(&value["error"]));
    message.unwrap_or_else(|| format!("status {status}"))
}

/// The text of an error: a string, or an object with a message.
pub(super) fn message(error: &Value) -> String {
    let text = error.as_str().or(error["message"].as_str());
    text.map_or_else(|| error.to_string(), str::to_owned)
}

/// A number, which JSON holds as a string if it is long.
pub(super) fn number(value: &Value) -> i64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or(value.as_i64()).unwrap_or_default()
}

fn text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}

pub(super) fn late() -> String {
    format!("no response within {TIMEOUT:?}")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::fuzz::fuzz;

    async fn read_response(bytes: &[u8]) {
        let stream: Connection = Box::new(Cursor::new(bytes.to_vec()));
        let mut body = BufReader::new(stream);
        match read_status(&mut body).await {
            Ok(200) => {
                let line = Vec::new();
                let mut lines = Lines { body, line };
                while let Ok(value) = lines.next().await {
                    let _ = message(&value["error"]).len();
                    let pair = serde_json::from_value::<KeyValue>(value["kv"].clone());
                    let _ = pair.map(|pair| pair.decode());
                }
            }
            Ok(status) => drop(explain(status, body).await),
            Err(_) => {}
        }
    }

    #[test]
    fn fuzz_responses() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let examples = [
            &b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"kv\":{\"key\":\"L2E=\",\"value\":\"eA==\"}}\n"[..],
            b"HTTP/1.0 400 Bad Request\r\n\r\n{\"error\":{\"message\":\"no\"}}",
        ];
        let words = ["\r\n\r\n", "HTTP/1.0 200 OK", "{\"error\":", "\"value\":"];
        fuzz("etcd responses", &examples, &words, |bytes| {
            runtime.block_on(read_response(bytes));
        });
    }
}
