//! Jobs as Nomad's API has them, and the verdicts on what is none.

use std::path::Path;

use ::jobspec::Inputs;
use serde_json::json;

use super::{parse, parse_file};

const SECOND: i64 = 1_000_000_000;

const SMALL: &str = r#"
variable "version" {
  type    = string
  default = "1"
}
variable "image" {}
job "web" {
  datacenters = ["dc1"]
  meta { team = "a" }
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }
  constraint {
    distinct_hosts = true
  }
  update {
    max_parallel     = 1
    min_healthy_time = "2s"
    canary           = 1
  }
  group "web" {
    count          = "3"
    shutdown_delay = "1m30s"
    network {
      mode = "bridge"
      port "mesh" { to = 10000 }
      port "admin" { static = 9901 }
    }
    service {
      name        = "web"
      port        = "mesh"
      tags        = ["v${var.version}", "live"]
      canary_tags = null
      meta {
        version = var.version
        alloc   = "${NOMAD_ALLOC_ID}"
      }
      weights {
        passing = 7
        warning = 1
      }
      check {
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = 500000000
        header {
          Host = ["web"]
        }
      }
    }
    task "app" {
      driver = "docker"
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      env {
        LISTEN = "127.0.0.1:${NOMAD_PORT_mesh}"
        COUNT  = 3
      }
      config {
        image = var.image
        args  = ["-c", "${NOMAD_TASK_DIR}/${var.version}"]
        none  = var.version == "1" ? null : "x"
        mount {
          type = "bind"
        }
      }
      template {
        destination = "local/a"
        change_mode = "noop"
        data        = <<-T
          {{ env "NOMAD_JOB_NAME" }}
        T
      }
      dynamic "artifact" {
        for_each = ["a.tar.gz"]
        content {
          source = "https://files/${artifact.value}"
          options {
            checksum = "md5:1"
          }
        }
      }
      resources {
        cpu    = 100
        memory = 64
      }
      kill_signal = "SIGTERM"
    }
  }
}
"#;

#[test]
fn a_job_is_what_nomads_api_takes() {
    let job = parse(SMALL, "image = \"local/app:1\"\nunknown = 1\n").unwrap();
    let service = json!({
        "Name": "web", "PortLabel": "mesh", "Tags": ["v1", "live"],
        "Meta": {"version": "1", "alloc": "${NOMAD_ALLOC_ID}"}, "Weights": {"Passing": 7, "Warning": 1},
        "Checks": [{
            "Type": "http", "Path": "/health", "Interval": SECOND, "Timeout": SECOND / 2,
            "Header": {"Host": ["web"]},
        }],
    });
    let task = json!({
        "Name": "app", "Driver": "docker", "Lifecycle": {"Hook": "prestart", "Sidecar": true},
        "Env": {"LISTEN": "127.0.0.1:${NOMAD_PORT_mesh}", "COUNT": "3"},
        "Config": {
            "image": "local/app:1", "args": ["-c", "${NOMAD_TASK_DIR}/1"], "mount": [{"type": "bind"}],
        },
        "Templates": [{
            "DestPath": "local/a", "ChangeMode": "noop", "EmbeddedTmpl": "{{ env \"NOMAD_JOB_NAME\" }}\n",
        }],
        "Artifacts": [{"GetterSource": "https://files/a.tar.gz", "GetterOptions": {"checksum": "md5:1"}}],
        "Resources": {"CPU": 100, "MemoryMB": 64}, "KillSignal": "SIGTERM",
    });
    let wanted = json!({
        "ID": "web", "Name": "web", "Datacenters": ["dc1"], "Meta": {"team": "a"},
        "Constraints": [
            {"LTarget": "${attr.kernel.name}", "RTarget": "linux", "Operand": "="},
            {"Operand": "distinct_hosts"},
        ],
        "Update": {"MaxParallel": 1, "MinHealthyTime": 2 * SECOND, "Canary": 1},
        "TaskGroups": [{
            "Name": "web", "Count": 3, "ShutdownDelay": 90 * SECOND,
            "Networks": [{
                "Mode": "bridge", "DynamicPorts": [{"Label": "mesh", "To": 10000}],
                "ReservedPorts": [{"Label": "admin", "Value": 9901}],
            }],
            "Services": [service], "Tasks": [task],
        }],
    });
    assert_eq!(job, wanted);
}

/// A group with this in its task.
fn with_task(inner: &str) -> String {
    format!(
        "job \"a\" {{\n  group \"g\" {{\n    task \"t\" {{\n      driver = \"exec\"\n{inner}\n    }}\n  }}\n}}\n"
    )
}

#[test]
fn verdicts_are_nomads() {
    for (inner, words) in [
        (
            "drivr = 1",
            "input.hcl:5,1-6: Unsupported argument; An argument named \"drivr\" is not expected here.",
        ),
        (
            "restart {\nattempts = \"two\"\n}",
            "input.hcl:6,12-17: Unsuitable value type; Unsuitable value: a number is required",
        ),
        ("kill_timeout = \"5\"", "input.hcl:5,16-19: Unsuitable duration value"),
        ("leader = \"maybe\"", "a bool is required"),
        (
            "artifct {\n}",
            "input.hcl:5,1-8: Unsupported block type; Blocks of type \"artifct\" are not expected here.",
        ),
        ("restart { resart { } }", "input.hcl:5,"),
        ("restart { attempts = 1 delay = \"1s\" }", "input.hcl:5,"),
        ("vault {\n}", "The stand-in for Nomad has no \"vault\""),
        ("identity {\n}", "The stand-in for Nomad has no \"identity\""),
        ("lifecycle \"x\" {\n}", "Extraneous label for lifecycle"),
        ("service {\ntags = \"x\"\n}", "Unsuitable value: list of string required"),
        ("env {\nA = var.missing\n}", "no such key: `missing`"),
        ("env {\nA = try(1)\n}", "undefined function `try`"),
        ("resources {\n}\nresources {\n}", "Duplicate resources block"),
        ("dynamic \"template\" {\nfor_each = 1\ncontent {\n}\n}", "Invalid dynamic for_each value"),
    ] {
        let said = parse(&with_task(inner), "").unwrap_err();
        assert!(said.contains(words), "{inner}\n{said}\n{words}");
    }
    for (text, words) in [
        ("", "Missing job block"),
        ("job \"a\" {\n}\njob \"b\" {\n}", "Only one job block"),
        ("job {\n}", "Missing name for job"),
        ("variable \"x\" {\n}\njob \"a\" {\n}", "input.hcl:1,1: Unset variable \"x\""),
        ("jb \"a\" {\n}", "Blocks of type \"jb\" are not expected here."),
        ("job \"a\" {", "input.hcl:1,"),
    ] {
        let said = parse(text, "").unwrap_err();
        assert!(said.contains(words), "{text}\n{said}\n{words}");
    }
}

#[test]
fn a_bad_enum_passes_here_and_is_the_validations_business() {
    assert!(parse(&with_task("lifecycle {\nhook = \"prestrt\"\n}"), "").is_ok());
}

#[test]
fn everything_that_is_wrong_is_said() {
    let said = parse(&with_task("a = 1\nb = 2\nc {\n}"), "").unwrap_err();
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn a_task_outside_of_a_group_is_a_group() {
    let job = parse("job \"a\" {\n  task \"t\" {\n    driver = \"exec\"\n  }\n}\n", "").unwrap();
    let groups = json!([{"Name": "t", "Count": 1, "Tasks": [{"Name": "t", "Driver": "exec"}]}]);
    assert_eq!(job["TaskGroups"], groups);
}

#[test]
fn every_job_of_this_repository_is_read_with_both_drivers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jobs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".nomad.hcl") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for driver in ["docker", "exec"] {
            let has_driver = text.contains("variable \"driver\"");
            let flags = if has_driver {
                vec![("driver".to_owned(), driver.to_owned())]
            } else {
                Vec::new()
            };
            let inputs = Inputs { flags, is_strict: true, ..Inputs::default() };
            let job = parse_file(&name, &text, &inputs).unwrap_or_else(|why| panic!("{why}"));
            let tasks = job["TaskGroups"][0]["Tasks"].as_array().unwrap();
            assert!(!tasks.is_empty(), "{name}: {job:#}");
            for task in tasks.iter().filter(|_| has_driver) {
                assert_eq!(task["Driver"], driver, "{name}");
                assert_eq!(task["Config"].get("image").is_some(), driver == "docker", "{task:#}");
                assert_eq!(task.get("Artifacts").is_some(), driver == "exec", "{task:#}");
            }
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
}
