//! Jobs that break rules: a file of `jobs/`, and what is changed in it.

/// An edited job.
pub(super) struct Breach {
    /// Name of the committed report.
    pub(super) name: &'static str,
    /// The file that is edited.
    pub(super) file: &'static str,
    /// What is replaced, wherever it stands.
    pub(super) edits: &'static [(&'static str, &'static str)],
    /// The rules that are broken, and no others.
    pub(super) rules: &'static [&'static str],
}

const SERVICE: &str = "service.nomad.hcl";
const GATEWAY: &str = "gateway.nomad.hcl";
const ROUTER: &str = "router.nomad.hcl";
const CONTROL_PLANE: &str = "control-plane.nomad.hcl";
const BATCH: &str = "batch.nomad.hcl";

/// With the other driver.
const EXEC: (&str, &str) = ("default     = \"docker\"", "default     = \"exec\"");

macro_rules! breaches {
    ($($name:literal $file:ident [$($edit:expr),+] $rules:expr;)+) => {
        pub(super) const BREACHES: &[Breach] = &[$(Breach {
            name: $name, file: $file, edits: &[$($edit),+], rules: &$rules,
        }),+];
    };
}

breaches! {
    "shutdown-delay" SERVICE [("    shutdown_delay = \"10s\"\n", "")] ["shutdown-delay"];
    "shutdown-delay-short" SERVICE [("shutdown_delay = \"10s\"", "shutdown_delay = \"500ms\"")] ["shutdown-delay"];
    "shutdown-delay-router" ROUTER [("    shutdown_delay = \"5s\"\n", "")] ["shutdown-delay"];
    "kill-timeout" SERVICE [("kill_timeout = \"20s\"", "kill_timeout = \"45s\"")] ["kill-timeout"];
    "kill-signal" SERVICE [
        EXEC,
        ("      kill_signal  = \"SIGTERM\"\n      kill_timeout = \"20s\"", "      kill_timeout = \"20s\"")
    ] ["kill-signal"];
    "kill-order" SERVICE [("        sidecar = true\n", "        sidecar = false\n")] ["kill-order"];
    "kill-order-leader" SERVICE [("    task \"orders\" {\n", "    task \"orders\" {\n      leader = true\n")] ["kill-order"];
    "kill-order-gateway" GATEWAY [
        ("      lifecycle {\n        hook    = \"prestart\"\n        sidecar = true\n      }\n", "")
    ] ["kill-order"];
    "envoy-drain" GATEWAY [
        ("command = \"${local.bin}/meshctl\"", "command = \"${local.bin}/envoy\""),
        ("\"run-envoy\",", "\"-c\",")
    ] ["envoy-drain"];
    "envoy-drain-router" ROUTER [
        ("command      = \"${local.bin}/meshctl\"", "command      = \"${local.bin}/envoy\""),
        ("\"run-envoy\",", "\"-c\",")
    ] ["envoy-drain"];
    "drain-time" SERVICE [("\"--drain\", \"5s\"", "\"--drain\", \"8s\"")] ["drain-time"];
    "wait-envoy" SERVICE [("[\"wait-envoy\", \"--timeout\", \"60s\"]", "[\"get\", \"status\"]")] ["wait-envoy"];
    "meshctl-args" SERVICE [("\"--egress\", \"15001\"", "\"--egres\", \"15001\"")] ["meshctl-args"];
    "meshctl-args-missing" SERVICE [("          \"--xds\", join(\",\", var.control_planes),\n", "")] ["meshctl-args"];
    "meshctl-args-port" SERVICE [("\"--egress\", \"15001\"", "\"--egress\", \"8080\"")] ["meshctl-args"];
    "envoy-id" SERVICE [
        ("\"--id\", \"${NOMAD_ALLOC_ID}\"", "\"--id\", \"${NOMAD_JOB_NAME}-${NOMAD_ALLOC_ID}\"")
    ] ["envoy-id"];
    "template-restart" SERVICE [(
        "      kill_signal  = \"SIGTERM\"\n      kill_timeout = \"10s\"\n",
        "      kill_signal  = \"SIGTERM\"\n      kill_timeout = \"10s\"\n\n      template {\n        destination = \"local/envoy.yaml\"\n        data        = \"{{ range service \\\"control-plane\\\" }}{{ .Address }}{{ end }}\"\n      }\n"
    )] ["template-restart"];
    "app-restart" SERVICE [(
        "      env {\n",
        "      template {\n        destination = \"local/orders.toml\"\n        data        = \"{{ key \\\"orders/config\\\" }}\"\n      }\n\n      env {\n"
    )] ["app-restart"];
    "check" SERVICE [("path     = \"/healthz\"\n        port     = \"mesh\"", "path     = \"/ready\"\n        port     = \"stats\"")] ["check"];
    "check-type" SERVICE [("type     = \"http\"", "type     = \"script\"")] ["check-type"];
    "check-tcp" SERVICE [("type     = \"http\"", "type     = \"tcp\"")] ["check-tcp"];
    "check-on-update" SERVICE [("        interval = \"5s\"", "        on_update = \"ignore\"\n        interval = \"5s\"")] ["check-on-update"];
    "port-label" SERVICE [("\"--stats\", \"${NOMAD_PORT_stats}\"", "\"--stats\", \"${NOMAD_PORT_statistics}\"")] ["port-label"];
    "port-twice" SERVICE [("to = 10001", "to = 10000")] ["port-twice", "meshctl-args"];
    "static-port" CONTROL_PLANE [("      # lint:allow(static-port) proxies find control planes by a DNS name, which carries no port\n", "")] ["static-port"];
    "loopback-port" SERVICE [EXEC, ("mode = \"bridge\"", "mode = \"host\"")] ["loopback-port"];
    "listen-address" SERVICE [("LISTEN = \"127.0.0.1:8080\"", "LISTEN = \"${NOMAD_ADDR_mesh}\"")] ["listen-address"];
    "docker-host" CONTROL_PLANE [("        network_mode = var.driver == \"docker\" ? \"host\" : null\n", "")] ["docker-host"];
    "meta-missing" SERVICE [
        ("        mesh_system   = var.system\n        mesh_protocol = \"http\"\n        mesh_path     = \"/orders\"\n        mesh_instance = \"${NOMAD_ALLOC_ID}\"\n        mesh_stats    = \"${NOMAD_HOST_PORT_stats}\"\n", ""),
        ("        mesh_track    = \"stable\"\n", ""),
        ("        mesh_track    = \"canary\"\n", "")
    ] ["meta-missing"];
    "meta-key" SERVICE [("mesh_path ", "mesh_paths ")] ["meta-key"];
    "meta-value" SERVICE [("mesh_protocol = \"http\"", "mesh_protocol = \"https\"")] ["meta-value"];
    "meta-value-system" SERVICE [("        mesh_system   = var.system\n", "")] ["meta-value"];
    "meta-port" SERVICE [("mesh_stats    = \"${NOMAD_HOST_PORT_stats}\"", "mesh_stats    = \"${NOMAD_PORT_stats}\"")] ["meta-port"];
    "meta-instance" SERVICE [("mesh_instance = \"${NOMAD_ALLOC_ID}\"", "mesh_instance = \"${NOMAD_ALLOC_NAME}\"")] ["meta-instance"];
    "meta-stats" SERVICE [("        mesh_stats    = \"${NOMAD_HOST_PORT_stats}\"\n", "")] ["meta-stats"];
    "meta-canary" SERVICE [(
        "        mesh_stats    = \"${NOMAD_HOST_PORT_stats}\"\n        mesh_track    = \"canary\"",
        "        mesh_track    = \"canary\""
    )] ["meta-canary"];
    "canary-track" SERVICE [("        mesh_track    = \"canary\"\n", "")] ["canary-track"];
    "canary-track-stable" SERVICE [("mesh_track    = \"stable\"", "mesh_track    = \"canary\"")] ["canary-track"];
    "service-provider" SERVICE [("      name = \"orders\"\n", "      name = \"orders\"\n      provider = \"nomad\"\n")] ["service-provider"];
    "service-name" SERVICE [("name = \"orders\"", "name = \"Orders.v1\"")] ["service-name"];
    "service-group" SERVICE [(
        "      env {\n",
        "      service {\n        name = \"orders-admin\"\n        port = \"mesh\"\n\n        meta {\n          mesh_system = var.system\n          mesh_stats  = \"${NOMAD_HOST_PORT_stats}\"\n        }\n\n        canary_meta {\n          mesh_system = var.system\n          mesh_stats  = \"${NOMAD_HOST_PORT_stats}\"\n          mesh_track  = \"canary\"\n        }\n\n        check {\n          type     = \"http\"\n          path     = \"/\"\n          interval = \"5s\"\n          timeout  = \"2s\"\n        }\n      }\n\n      env {\n"
    )] ["service-group"];
    "service-weights" SERVICE [("      tags = [\"v${var.version}\"]\n", "      tags = [\"v${var.version}\"]\n\n      weights {\n        passing = 7\n      }\n")] ["service-weights"];
    "gateway-ingress" GATEWAY [("        mesh_ingress  = \"${NOMAD_HOST_PORT_ingress}\"\n", "")] ["gateway-ingress"];
    "surge" SERVICE [("canary            = 1", "canary            = 0"), ("max_parallel      = 1", "max_parallel      = 3")] ["surge"];
    "auto-revert" SERVICE [("    auto_revert       = true\n", "")] ["auto-revert"];
    "health-check" SERVICE [("health_check      = \"checks\"", "health_check      = \"task_states\"")] ["health-check"];
    "min-healthy-time" SERVICE [("min_healthy_time  = \"10s\"", "min_healthy_time  = \"1s\"")] ["min-healthy-time"];
    "deadlines" SERVICE [("progress_deadline = \"10m\"", "progress_deadline = \"2m\"")] ["deadlines"];
    "job-name" SERVICE [("  type        = \"service\"\n", "  type        = \"service\"\n  name        = \"orders-${var.version}\"\n")] ["job-name"];
    "syntax-label" SERVICE [("job \"orders\" {", "job \"${var.system}-orders\" {")] ["syntax"];
    "log-driver" SERVICE [(
        "        command = \"${local.bin}/orders\"\n",
        "        command = \"${local.bin}/orders\"\n\n        logging {\n          type = \"json-file\"\n        }\n"
    )] ["log-driver"];
    "logs-disabled" SERVICE [EXEC, ("      env {\n", "      logs {\n        disabled = true\n      }\n\n      env {\n")] ["logs-disabled"];
    "image-tag" SERVICE [("/orders:${var.version}", "/orders:latest")] ["image-tag"];
    "batch-retries" BATCH [("      attempts = 0\n      mode     = \"fail\"", "      attempts = 2\n      mode     = \"fail\"")] ["batch-retries"];
    "syntax" SERVICE [(
        "      lifecycle {\n        hook    = \"prestart\"\n        sidecar = true\n      }",
        "      lifecycle { hook = \"prestart\", sidecar = true }"
    )] ["syntax"];
    "no-job" SERVICE [("job \"orders\" {", "jobs \"orders\" {")] ["no-job"];
    "unknown" SERVICE [("  default     = \"trading\"\n", "")] ["unknown"];
    "silence" CONTROL_PLANE [(" proxies find control planes by a DNS name, which carries no port", "")] ["silence", "static-port"];
    "silence-unused" SERVICE [("  group \"orders\" {", "  # lint:allow(static-port) no port is static\n  group \"orders\" {")] ["silence-unused"];
}
