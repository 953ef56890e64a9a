//! Network namespaces: who reaches whom, and that nothing stays behind.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lab::folder::Folder;
use lab::http::Client;
use lab::netns::Network;
use lab::process::{Process, Program};
use lab::{parts, wait};

use crate::SOON;

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_host_reaches_a_pair_by_its_address_and_loopback_is_the_pair_s_own() {
    let test = "the_host_reaches_a_pair_by_its_address_and_loopback_is_the_pair_s_own";
    if let Err(why) = Network::is_possible() {
        return parts::skip(test, "netns", &why);
    }
    let network = Network::create().unwrap();
    let (pair, ip) = network.join().unwrap();
    let (other, _) = network.join().unwrap();
    let name = pair.name().to_owned();
    let dir = Folder::new("lab").unwrap();
    let mut processes = Vec::new();
    for listen in [format!("{ip}:10000"), "127.0.0.1:8080".to_owned()] {
        let (address, port) = listen.split_once(':').unwrap();
        let program = Program::new(format!("server-{port}"), Path::new("/usr/bin/env"))
            .args(["python3", "-m", "http.server", "--bind", address, port])
            .in_netns(Some(&pair));
        processes.push(Process::start(&program, dir.path()).unwrap());
    }
    let get = async |client: &Client, address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        client.get(address, "pair", "/").await.map(|answer| answer.status.as_u16())
    };
    let inbound = format!("{ip}:10000");
    let inside = Client::inside(Some(&pair));
    wait::until("the pair listens", SOON, async || get(&inside, "127.0.0.1:8080").await)
        .await
        .unwrap();
    let (host, neighbour) = (Client::inside(Some(network.host())), Client::inside(Some(&other)));
    wait::until("the host reaches it", SOON, async || get(&host, &inbound).await).await.unwrap();
    assert_eq!(get(&neighbour, &inbound).await.unwrap(), 200);
    assert!(get(&host, "127.0.0.1:8080").await.is_err());
    assert!(get(&neighbour, "127.0.0.1:8080").await.is_err());
    assert!(namespaces().contains(&name));
    drop((processes, inside, pair));
    assert!(!namespaces().contains(&name));
}

#[test]
fn labs_that_begin_at_the_same_time_remove_what_a_killed_one_left_without_minding_each_other() {
    let test =
        "labs_that_begin_at_the_same_time_remove_what_a_killed_one_left_without_minding_each_other";
    if let Err(why) = Network::is_possible() {
        return parts::skip(test, "netns", &why);
    }
    // No process has this number: it is above Linux' highest.
    let left = |number: u32| format!("lab-4999999-{number}");
    for number in 0..30 {
        let made = Command::new("ip").args(["netns", "add", &left(number)]).status().unwrap();
        assert!(made.success());
    }
    let labs: Vec<_> = (0..4).map(|_| std::thread::spawn(Network::create)).collect();
    for lab in labs {
        lab.join().unwrap().unwrap();
    }
    assert!(!namespaces().contains("lab-4999999-"), "{}", namespaces());
}
