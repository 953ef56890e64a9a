//! Images of the stand-in's docker driver: a folder that is a container's root; and a job of the sample `orders`, which needs
//! nothing else.

use std::path::Path;
use std::process::Command;

use lab::parts;
use serde_json::{Value, json};

/// Makes an image's folder of these programs of this machine and of what they load, each at its own path; `false`: this is not
/// root, who alone can put a container's root folder together, and it is said.
pub(crate) fn image(test: &str, tree: &Path, programs: &[&Path]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        parts::skip(test, "root", "a container's root folder is mounted by root alone");
        return false;
    }
    for program in programs {
        let loaded = Command::new("ldd").arg(program).output().unwrap();
        let loaded = String::from_utf8(loaded.stdout).unwrap();
        let libraries = loaded.split_whitespace().map(Path::new).filter(|word| word.is_absolute());
        for file in libraries.chain([*program]) {
            let target = tree.join(file.strip_prefix("/").unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(file, target).unwrap();
        }
    }
    true
}

/// A service of the sample `orders` on port `app` of this network, by the API; its task is told to listen there.
pub(crate) fn orders(id: &str, driver: &str, config: Value, network: Value, listen: &str) -> Value {
    let second = 1_000_000_000_u64;
    json!({"Job": {
        "ID": id, "Type": "service", "Datacenters": ["dc1"],
        "TaskGroups": [{
            "Name": "g",
            "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Networks": [network],
            "Services": [{
                "Name": id, "PortLabel": "app", "Provider": "nomad",
                "Checks": [{"Type": "http", "Path": "/healthz", "Interval": second, "Timeout": 5 * second}],
            }],
            "Tasks": [{
                "Name": "t", "Driver": driver, "Config": config,
                "Env": {"LISTEN": listen, "INSTANCE": id},
                "Resources": {"CPU": 20, "MemoryMB": 64},
            }],
        }],
    }})
}
