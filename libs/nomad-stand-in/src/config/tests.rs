//! Configurations as agents are given them.

use std::path::PathBuf;

use super::{AgentConfig, Flags, Policy, problems};

/// The settings that a real agent needed.
const NEEDED: &str = r#"
disable_update_check = true
bind_addr            = "127.0.0.1"
data_dir             = "/var/lib/nomad"
consul {
  address = "127.0.0.1:8501"
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  cni_path          = "/usr/lib/cni"
  network_interface = "mesh0" # its address
  bridge_network_hairpin_mode = true
  max_kill_timeout = "60s"
  meta { rack = "a" }
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
plugin "docker" {
  config {
    infra_image = "local/pause:1"
    gc {
      image = false
    }
  }
}
"#;

fn flags(args: &[&str]) -> Result<Flags, String> {
    Flags::parse(&args.iter().map(|own| (*own).to_owned()).collect::<Vec<_>>())
}

#[test]
fn files_and_directories_are_put_together_and_flags_go_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let (file, more) = (folder.path().join("a.hcl"), folder.path().join("conf.d"));
    std::fs::create_dir(&more).unwrap();
    std::fs::write(&file, NEEDED).unwrap();
    let json = r#"{"client": [{"meta": {"zone": "z"}}], "ports": {"http": 5646}, "plugin": [{"docker": {"config": {"endpoint": "x"}}}]}"#;
    std::fs::write(more.join("10.json"), json).unwrap();
    std::fs::write(more.join("20.hcl"), "ports { http = 6646 }\nname = \"one\"\n").unwrap();
    std::fs::write(more.join("30.bak"), "nonsense").unwrap();
    let (file, more) = (file.display().to_string(), more.display().to_string());
    let flags = flags(&[
        "-config",
        &file,
        &format!("-config={more}"),
        "-node=two",
        "--acl-enabled",
        "-stand-in-nodes=3",
        "-stand-in-token=s3cret:read",
        "-meta",
        "row=r",
    ])
    .unwrap();
    let config = AgentConfig::load(&flags).unwrap();
    assert_eq!(config.http(), "127.0.0.1:6646");
    assert_eq!(config.name.as_deref(), Some("two"));
    assert_eq!(config.consul.address, "127.0.0.1:8501");
    assert_eq!(config.data_dir, Some(PathBuf::from("/var/lib/nomad")));
    assert_eq!(config.client.network_interface.as_deref(), Some("mesh0"));
    assert_eq!(config.client.max_kill_timeout.as_deref(), Some("60s"));
    let meta: Vec<String> =
        config.client.meta.iter().map(|(key, own)| format!("{key}={own}")).collect();
    assert_eq!(meta, ["rack=a", "row=r", "zone=z"]);
    let docker: Vec<&String> = config.plugin["docker"].config.keys().collect();
    assert_eq!(docker, ["endpoint", "gc", "infra_image"]);
    assert!(config.acl.enabled && config.client.bridge_network_hairpin_mode);
    assert!(config.has_driver("raw_exec") && config.has_driver("docker"));
    assert_eq!(config.stand_in.nodes, 3);
    assert_eq!(config.stand_in.tokens["s3cret"], Policy::Read);
}

#[test]
fn dev_is_server_and_client_on_the_loopback() {
    let config = AgentConfig::load(&flags(&["-dev"]).unwrap()).unwrap();
    assert_eq!(config.http(), "127.0.0.1:4646");
    assert!(config.server.enabled && config.client.enabled && config.has_driver("raw_exec"));
    assert_eq!(config.data_dir, None);
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.hcl");
    for (text, words) in [
        ("regoin = \"a\"", "a.hcl: invalid config keys: regoin"),
        ("client {\n  enabld = true\n}", "a.hcl: invalid config keys: client.enabld"),
        (
            "server {\n  enabled = \"yes\"\n}",
            "a.hcl: invalid type: string \"yes\", expected a boolean",
        ),
        ("a = [", "a.hcl: line 1: a ] is missing"),
        ("data_dir = \"/x\"", "Must specify either server, client or dev mode"),
        ("server {\n  enabled = true\n}", "Must specify \"data_dir\""),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = problems(std::slice::from_ref(&file)).join("\n");
        assert!(said.contains(words), "{text}\n{said}");
    }
    std::fs::write(&file, NEEDED).unwrap();
    assert_eq!(problems(&[file]), [""; 0]);
    let missing = problems(&[PathBuf::from("/none")]).join("\n");
    assert!(missing.contains("Error loading configuration from /none"), "{missing}");
    for (args, words) in [
        (["-nonsense=1"].as_slice(), "flag provided but not defined: -nonsense"),
        (&["x"], "the agent takes flags only"),
        (&["-config"], "flag needs an argument: -config"),
        (&["-stand-in-token=a:b"], "management, read or dispatch"),
        (&["-stand-in-nodes=0"], "1 to 64"),
    ] {
        let said = flags(args).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}
