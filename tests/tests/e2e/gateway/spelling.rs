//! No spelling of a path passes a route that guards it: asked byte by byte, because no client library would send these.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::Scene;

/// What becomes of a spelling of `/echo/admin`, which is guarded, while all else below `/echo` is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is that path, and asks for what that path asks for.
    Guarded,
    /// It is no path.
    Refused,
    /// It is nothing's path.
    Nothing,
    /// It is too long to be read.
    TooLong,
    /// It is another path, which is open.
    Open,
}

const SPELLINGS: [(&str, Fate); 51] = {
    use Fate::{Guarded, Nothing, Open, Refused};
    [
        ("/echo/admin", Guarded),
        ("/echo/admin/", Guarded),
        ("/echo/admin/x", Guarded),
        ("/echo/admin?x=/../plain", Guarded),
        ("//echo/admin", Guarded),
        ("/echo//admin", Guarded),
        ("/echo///admin//x", Guarded),
        ("/echo/./admin", Guarded),
        ("/echo/x/../admin", Guarded),
        ("/echo/x/y/../../admin/.", Guarded),
        ("/./echo/admin/x/..", Guarded),
        ("/echo/x/%2e%2e/admin", Guarded),
        ("/echo/x/%2E./admin", Guarded),
        ("/echo/%2e/admin", Guarded),
        ("/echo/%61dmin", Guarded),
        ("/%65%63ho/%61dm%69n", Guarded),
        ("/echo\\admin", Guarded),
        ("/echo/x\\..\\admin", Guarded),
        ("/echo/x/..\\admin", Guarded),
        ("/echo%2Fadmin", Refused),
        ("/echo%2fadmin", Refused),
        ("/echo/admin%2Fx", Refused),
        ("/echo/x/..%2fadmin", Refused),
        ("/echo/x%2f..%2fadmin", Refused),
        ("/echo%5Cadmin", Refused),
        ("/echo/x/..%5cadmin", Refused),
        ("/echo/admin%00", Refused),
        ("/echo/x%00/../admin", Refused),
        ("/echo/admin\0", Refused),
        ("/echo/admin\u{7f}", Refused),
        ("/echo/admin#x", Refused),
        ("/echo/plain#/../admin", Refused),
        ("/echo/x/%c0%ae%c0%ae/admin", Refused),
        ("/echo%C0%AFadmin", Refused),
        ("/echo%c1%9cadmin", Refused),
        ("/echo/%e0%80%afadmin", Refused),
        ("/echo/%F0%80%80%AFadmin", Refused),
        ("/echo/admin%ff", Refused),
        ("/echo/\u{e4}", Refused),
        ("/echo/Admin", Nothing),
        ("/echo/ADMIN/x", Nothing),
        ("/echo/aDmIn?x", Nothing),
        ("/echo/%41dmin", Nothing),
        ("/echo/x/../ADMIN", Nothing),
        ("/echo/admin;x=1", Nothing),
        ("/echo/admin;/x", Nothing),
        ("/echo/;x/admin", Nothing),
        ("/Echo/admin", Nothing),
        ("/echo/administrator", Open),
        ("/echo/plain?x=;/../ADMIN%2F%00", Open),
        ("/echo/%C3%A4", Open),
    ]
};

/// Spellings that newer Envoys read as the guarded path, and older ones as none.
const PARAMETERS_OF_DOTS: [&str; 3] =
    ["/echo/x/..;/admin", "/echo/x/..;y=1/admin", "/echo/.;/admin"];

/// Asks the Router, below the System's name and at its host, and the gateway past the Router.
pub(super) async fn check(scene: &Scene) {
    let router = scene.world.router_address();
    let gateway = scene.world.instances_of("trading-gateway").next().unwrap().ingress().unwrap();
    let gateway = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), gateway);
    let doors = [
        (router, "localhost", "/trading"),
        (router, "trading.example.com", ""),
        (gateway, "x", ""),
    ];
    let long = format!("/echo/{}/../admin", "a".repeat(100_000));
    let absolute = doors.map(|(_, host, below)| format!("http://{host}{below}/echo/x/../admin"));
    for ((address, host, below), absolute) in doors.into_iter().zip(absolute) {
        let spelt = SPELLINGS.into_iter().chain([(long.as_str(), Fate::TooLong)]);
        let spelt = spelt.map(|(path, fate)| (format!("{below}{path}"), vec![fate]));
        let dots = PARAMETERS_OF_DOTS.map(|path| format!("{below}{path}"));
        let dots = dots.into_iter().map(|path| (path, vec![Fate::Refused, Fate::Guarded]));
        // The whole address in place of the path.
        let whole = (absolute, vec![Fate::Guarded]);
        // At once: Envoy leaves a connection that it refused open for a while.
        let asked = spelt.chain(dots).chain([whole]).map(async |(path, expected)| {
            let answer = ask(address, host, &path).await;
            let is_expected = fate(&answer).is_ok_and(|fate| expected.contains(&fate));
            (!is_expected).then(|| format!("{path:.60}: expected {expected:?}, got {answer:.300}"))
        });
        let wrong: Vec<String> =
            futures::future::join_all(asked).await.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "{address} {host}{below}\n{}", wrong.join("\n"));
    }
}

fn fate(answer: &str) -> Result<Fate, &str> {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status {
        "401" | "403" | "503" => Ok(Fate::Guarded),
        "400" => Ok(Fate::Refused),
        "404" => Ok(Fate::Nothing),
        "431" => Ok(Fate::TooLong),
        "200" => Ok(Fate::Open),
        _ => Err(status),
    }
}

async fn ask(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A request that is refused early may end its connection with a reset, after the answer.
    while let Ok(read) = stream.read_buf(&mut answer).await
        && read > 0
    {}
    String::from_utf8_lossy(&answer).into_owned()
}
