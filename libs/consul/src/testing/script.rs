//! A server on loopback that answers as a script says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Such as `GET`.
    pub method: String,
    /// Path without parameters.
    pub path: String,
    /// Parameters, undecoded.
    pub parameters: String,
    /// The ACL token it carried.
    pub token: Option<String>,
}

impl Call {
    /// The value of the `index` parameter.
    pub fn index(&self) -> Option<u64> {
        let mut parameters = self.parameters.split('&');
        parameters.find_map(|parameter| parameter.strip_prefix("index="))?.parse().ok()
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    after: Duration,
    is_closed: bool,
}

impl Reply {
    /// 200 with `X-Consul-Index`.
    pub fn json(index: u64, body: &str) -> Self {
        Self::status(200, body).with_header("X-Consul-Index", &index.to_string())
    }

    /// Any status, without an index.
    pub fn status(status: u16, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self { status, headers: Vec::new(), body, after: Duration::ZERO, is_closed: false }
    }

    /// The connection is closed without an answer.
    pub fn close() -> Self {
        Self { is_closed: true, ..Self::status(0, "") }
    }

    /// No answer while the test lasts.
    pub fn hang() -> Self {
        Self::close().after(Duration::from_secs(3600))
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Later.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

type Script = Arc<dyn Fn(&Call, usize) -> Reply + Send + Sync>;

/// A plain HTTP server that answers as its script says.
#[derive(Debug)]
pub struct ScriptedConsul {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _server: JoinSet<()>,
}

impl ScriptedConsul {
    /// `script` gets each request and how many of its path came before.
    pub async fn start(
        script: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::new(script), Arc::clone(&calls)));
        Ok(Self { address, calls, _server: server })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, script: Script, calls: Arc<Mutex<Vec<Call>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (script, calls) = (Arc::clone(&script), Arc::clone(&calls));
        connections.spawn(async move {
            let mut stream = BufStream::new(stream);
            while let Ok(Some(call)) = receive(&mut stream).await {
                let reply = {
                    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                    let before = calls.iter().filter(|earlier| earlier.path == call.path).count();
                    let reply = script(&call, before);
                    calls.push(call);
                    reply
                };
                tokio::time::sleep(reply.after).await;
                if reply.is_closed || stream.write_all(&reply.encode()).await.is_err() {
                    break;
                }
                if stream.flush().await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn receive(stream: &mut BufStream<TcpStream>) -> std::io::Result<Option<Call>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, parameters) = target.split_once('?').unwrap_or((target, ""));
    let (path, parameters) = (path.to_owned(), parameters.to_owned());
    let (mut token, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "x-consul-token" => token = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Call { method, path, parameters, token }))
}
