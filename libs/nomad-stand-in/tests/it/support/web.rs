//! The job of most tests: a service of one application, and what differs between tests.

use std::path::PathBuf;

use super::Scene;

impl Scene {
    /// A job of one group with one application.
    pub(crate) fn web(&self, web: &Web) -> String {
        let config = self.app("app", "${NOMAD_ADDR_app}");
        let Web {
            id,
            count,
            version,
            update,
            deadlines,
            group,
            service,
            check,
            provider,
            task,
            sick,
        } = web;
        let sick =
            sick.as_ref().map_or("/none".to_owned(), |path: &PathBuf| path.display().to_string());
        let update = format!("update {{\nmin_healthy_time = \"1s\"\n{deadlines}{update}\n}}");
        format!(
            r#"job "{id}" {{
  datacenters = ["dc1"]
  {update}
  group "web" {{
    count = {count}
    {group}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    network {{
      port "app" {{}}
    }}
    service {{
      name     = "{id}"
      port     = "app"
      provider = "{provider}"
      {service}
      check {{
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "5s"
        {check}
      }}
    }}
    task "app" {{
      driver = "raw_exec"
      {config}
      env {{
        VERSION = "{version}"
        SICK    = "{sick}"
      }}
      kill_signal = "SIGTERM"
      {task}
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}
  }}
}}
"#
        )
    }
}

/// What differs between the jobs of these tests; each text stands in its block.
pub(crate) struct Web {
    pub(crate) id: &'static str,
    pub(crate) count: usize,
    pub(crate) version: &'static str,
    pub(crate) update: String,
    pub(crate) deadlines: &'static str,
    pub(crate) group: &'static str,
    pub(crate) service: &'static str,
    pub(crate) check: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) task: String,
    /// It is sick while this exists.
    pub(crate) sick: Option<PathBuf>,
}

/// Deadlines that a loaded machine keeps.
const PATIENT: &str = "healthy_deadline = \"50s\"\nprogress_deadline = \"100s\"\n";

/// Deadlines of what never becomes healthy.
const SHORT: &str = "healthy_deadline = \"8s\"\nprogress_deadline = \"12s\"\n";

impl Default for Web {
    fn default() -> Self {
        Self {
            id: "web",
            count: 1,
            version: "1",
            update: String::new(),
            deadlines: PATIENT,
            group: "",
            service: "",
            check: "",
            provider: "nomad",
            task: String::new(),
            sick: None,
        }
    }
}

impl Web {
    /// One that never becomes healthy.
    pub(crate) fn sick(self) -> Self {
        Self { sick: Some(PathBuf::from("/")), deadlines: SHORT, ..self }
    }

    /// With more in its `update` block.
    pub(crate) fn update(self, more: &str) -> Self {
        Self { update: more.to_owned(), ..self }
    }
}
