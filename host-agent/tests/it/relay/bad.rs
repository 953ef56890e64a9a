//! Exporters as bad as they can be, all at once, beside a good one: each is refused with its own class, and memory stays
//! bounded. The agent is the real program.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::http::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use lab::process::{Process, Program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::harness::{Exporter, OPENMETRICS, TEXT, client, said};

/// What a connection does after it was asked.
#[derive(Debug, Clone, Copy)]
enum Wire {
    /// Less than the length it names.
    Truncated,
    /// A gigabyte, with its length named.
    Gigabyte,
    /// Chunks without end.
    NeverEnding,
    /// A byte now and then.
    Dripping,
    /// The connection is closed.
    Closed,
    /// Bytes that are no HTTP.
    NoHttp,
    /// A header without end.
    EndlessHead,
}

/// A server that is rude on the wire; ends with its value.
struct Rude {
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl Rude {
    async fn start(wire: Wire) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move { serve(wire, stream).await.ok() });
            }
        });
        Self { address, _server: server }
    }

    fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

async fn serve(wire: Wire, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    // The request comes in one piece.
    let read = stream.read(&mut request).await?;
    assert!(read > 0);
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";
    let line = b"a_metric_with_a_name{label=\"value\"} 1\n".repeat(1000);
    match wire {
        Wire::Truncated => {
            stream.write_all(format!("{ok}content-length: 1000\r\n\r\na 1\n").as_bytes()).await
        }
        Wire::Gigabyte => {
            stream.write_all(format!("{ok}content-length: 1073741824\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(&line).await?;
            }
        }
        Wire::NeverEnding => {
            stream.write_all(format!("{ok}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(format!("{:x}\r\n", line.len()).as_bytes()).await?;
                stream.write_all(&line).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        Wire::Dripping => {
            stream.write_all(format!("{ok}content-length: 1000000\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b"a").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Wire::Closed => Ok(()),
        Wire::NoHttp => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await,
        Wire::EndlessHead => {
            stream.write_all(ok.as_bytes()).await?;
            loop {
                stream.write_all(b"x-header: and so on and on and on\r\n").await?;
            }
        }
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::new(6));
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

/// A gigabyte of zeros, twice packed small: pieces that are each a whole gzip.
fn bomb() -> Vec<u8> {
    packed(&vec![0; 16 << 20]).repeat(64)
}

/// An exporter whose body is said to be gzip.
async fn saying_packed(body: Vec<u8>) -> Exporter {
    Exporter::start(move |_, _| {
        let mut response = said(TEXT, body.clone());
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    })
    .await
}

/// Everything that says something wrong in good HTTP, with its class.
async fn liars() -> Vec<(&'static str, &'static str, Exporter)> {
    let millions = "a{b=\"".to_owned()
        + &(0..1_000_000).map(|nth| format!("{nth}\"}} 1\na{{b=\"")).collect::<String>();
    let many_labels = (0..100).map(|nth| format!("l{nth}=\"1\",")).collect::<String>();
    let middle = "# TYPE a gauge\na 1\n# EOF\nb 2\n# EOF\n";
    let status = || Response::builder().status(500).body("no".into()).unwrap();
    vec![
        ("garbage", "parse", Exporter::saying(TEXT, vec![0x9d; 5000]).await),
        ("json", "parse", Exporter::saying(TEXT, "{\"a\": 1}").await),
        ("half-a-line", "parse", Exporter::saying(TEXT, "a 1\nb{c=\"d").await),
        ("no-eof", "parse", Exporter::saying(OPENMETRICS, "# TYPE a gauge\na 1\n").await),
        ("eof-in-the-middle", "parse", Exporter::saying(OPENMETRICS, middle).await),
        (
            "open-as-text",
            "parse",
            Exporter::saying(TEXT, "# TYPE a info\na_info{b=\"c\"} 1\n# EOF\n").await,
        ),
        ("not-utf8", "parse", Exporter::saying(TEXT, b"a{b=\"\xff\xfe\"} 1\n").await),
        ("twice-a-label", "parse", Exporter::saying(TEXT, "a{b=\"1\",b=\"2\"} 1\n").await),
        ("bad-protobuf", "parse", Exporter::saying(super::harness::PROTOBUF, vec![5; 900]).await),
        ("a-page", "content_type", Exporter::saying("text/html", "<html>").await),
        ("json-type", "content_type", Exporter::saying("application/json", "{}").await),
        ("millions", "too_many", Exporter::saying(TEXT, millions).await),
        ("labels", "too_many", Exporter::saying(TEXT, format!("a{{{many_labels}}} 1\n")).await),
        (
            "long-label",
            "too_many",
            Exporter::saying(TEXT, format!("a{{b=\"{}\"}} 1\n", "x".repeat(1 << 20))).await,
        ),
        ("error", "status", Exporter::start(move |_, _| status()).await),
        ("bomb", "too_large", saying_packed(bomb()).await),
        ("cut-gzip", "broken", saying_packed(packed(&vec![b'#'; 10_000])[..20].to_vec()).await),
        ("no-gzip", "broken", saying_packed(b"a 1\n".to_vec()).await),
    ]
}

const RUDE: [(&str, &str, Wire); 7] = [
    ("truncated", "broken", Wire::Truncated),
    ("gigabyte", "too_large", Wire::Gigabyte),
    ("never-ending", "too_large", Wire::NeverEnding),
    ("dripping", "timeout", Wire::Dripping),
    ("closed", "broken", Wire::Closed),
    ("no-http", "broken", Wire::NoHttp),
    ("endless-head", "broken", Wire::EndlessHead),
];

/// The agent's program with these targets; its relay's address.
async fn agent(targets: &[(&str, String)], folder: &Path) -> (Process, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], lab::ports::reserve().unwrap()));
    let admin = lab::ports::reserve().unwrap();
    let mut text = format!(
        "[instances]\nconsul = false\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [relay]\nlisten = \"{address}\"\nbody_bytes = 33554432\ntimeout_ms = 120000\n"
    );
    for (job, url) in targets {
        text += &format!("[[relay.static]]\njob = \"{job}\"\nurl = \"{url}\"\n");
    }
    let file = folder.join("agent.toml");
    std::fs::write(&file, text).unwrap();
    let program = Program::new("agent", Path::new(env!("CARGO_BIN_EXE_host-agent"))).args([
        "run".to_owned(),
        "--config".to_owned(),
        file.display().to_string(),
    ]);
    let mut process = Process::start(&program, folder).unwrap();
    let awaited = process.until("the relay listens", Duration::from_secs(20), async || {
        TcpStream::connect(address).await.map(drop)
    });
    awaited.await.unwrap();
    (process, address)
}

/// The greatest resident memory so far, in MB.
fn peak_mb(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_exporters_are_refused_by_class_with_bounded_memory_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let good = Exporter::saying(TEXT, "good_metric 42\n").await;
    let liars = liars().await;
    let mut rude = Vec::new();
    for (name, class, wire) in RUDE {
        rude.push((name, class, Rude::start(wire).await));
    }
    let mut targets = vec![("good", good.url())];
    targets.extend(liars.iter().map(|(name, _, exporter)| (*name, exporter.url())));
    targets.extend(rude.iter().map(|(name, _, server)| (*name, server.url())));
    let (process, address) = agent(&targets, folder.path()).await;

    let expected: Vec<(&str, String)> = liars
        .iter()
        .map(|(name, class, _)| (*name, *class))
        .chain(rude.iter().map(|(name, class, _)| (*name, *class)))
        .map(|(name, class)| (name, format!("job=\"{name}\",class=\"{class}\"}} 1")))
        .collect();
    let url = format!("http://{address}/metrics");
    let (mut text, mut others) = (String::new(), Vec::new());
    // One of them drips until the time is up. Three scrapes show what is kept; a busy machine needs more time for the large ones.
    for (nth, seconds) in ["5", "5", "5", "20", "100"].into_iter().enumerate() {
        let answer = client().get(&url).header("x-prometheus-scrape-timeout-seconds", seconds);
        text = answer.send().await.unwrap().text().await.unwrap();
        assert!(text.contains("\ngood_metric{"), "{text}");
        others = expected.iter().filter(|(_, line)| !text.contains(line)).collect();
        if nth >= 2 && others.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let is_other = |line: &&str| {
        let mut names = others.iter().map(|(name, _)| format!("job=\"{name}\",class="));
        names.any(|name| line.contains(&name))
    };
    let said: Vec<&str> = text.lines().filter(is_other).collect();
    assert!(others.is_empty(), "expected {others:?}, and it says {said:?}");
    let counted = "service=\"bomb\",class=\"too_large\"";
    assert!(text.contains(counted), "failures are counted by service: {text}");
    // Four large bodies of at most 32 MiB each, and what the allocator keeps of them.
    let peak = peak_mb(&process);
    assert!(peak < 400, "{peak} MB");
}
