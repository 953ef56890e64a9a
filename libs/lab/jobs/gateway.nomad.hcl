# A System's gateway as jobs/gateway.nomad.hcl has one, on the host of a test and without the application behind it: this
# checkout's programs, run by raw_exec in the host's network, on ports of Nomad's choice.

variable "bin" {
  description = "Folder with meshctl."
  type        = string
  default     = "/opt/ayatori/bin"
}

variable "envoy" {
  description = "Envoy."
  type        = string
  default     = "/opt/ayatori/bin/envoy"
}

variable "control_planes" {
  description = "xDS addresses of the control planes."
  type        = list(string)
  default     = ["127.0.0.1:18000"]
}

variable "system" {
  description = "The System that the gateway belongs to."
  type        = string
  default     = "trading"
}

variable "version" {
  description = "What differs between two versions."
  type        = string
  default     = "1"
}

variable "count" {
  description = "Instances."
  type        = number
  default     = 2
}

variable "canary" {
  description = "New instances that are placed beside the old ones."
  type        = number
  default     = 1
}

variable "auto_promote" {
  description = "Whether Nomad promotes canaries as soon as they are healthy."
  type        = bool
  default     = true
}

variable "shutdown_delay" {
  description = "Between deregistration and Envoy's SIGTERM."
  type        = string
  default     = "3s"
}

variable "drain" {
  description = "How long Envoy may go on after SIGTERM; 0s: it ends at once, as one does that nobody drains."
  type        = string
  default     = "15s"
}

job "trading-gateway" {
  datacenters = ["dc1"]
  type        = "service"

  update {
    canary            = var.canary
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "1s" # lint:allow(min-healthy-time) meshctl deploy waits for the proxies
    healthy_deadline  = "40s"
    progress_deadline = "90s"
    auto_revert       = true
    auto_promote      = var.auto_promote
  }

  group "gateway" {
    count          = var.count
    shutdown_delay = var.shutdown_delay

    network {
      mode = "host"

      port "mesh" {}

      port "stats" {}

      port "admin" {}

      port "ingress" {}
    }

    service {
      name = "trading-gateway"
      port = "mesh"
      tags = ["v${var.version}"]

      meta {
        mesh_system   = var.system
        mesh_role     = "gateway"
        mesh_ingress  = "${NOMAD_HOST_PORT_ingress}"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "stable"
      }

      canary_meta {
        mesh_system   = var.system
        mesh_role     = "gateway"
        mesh_ingress  = "${NOMAD_HOST_PORT_ingress}"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "canary"
      }

      check {
        name     = "takes connections"
        type     = "tcp"
        port     = "mesh"
        interval = "1s"
        timeout  = "3s"
      }

      check {
        name     = "ready"
        type     = "http"
        path     = "/ready"
        port     = "stats"
        interval = "1s"
        timeout  = "3s"
      }
    }

    task "envoy" {
      driver = "raw_exec"

      config {
        command = "${var.bin}/meshctl"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", var.drain,
          "--role", "gateway",
          "--system", var.system,
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "trading-gateway=${NOMAD_PORT_mesh}",
          "--ingress", "${NOMAD_PORT_ingress}",
          "--stats", "${NOMAD_PORT_stats}",
          "--admin", "${NOMAD_PORT_admin}",
          "--bind", "${NOMAD_IP_mesh}",
          "--host", "${NOMAD_HOST_IP_mesh}",
          "--xds", join(",", var.control_planes),
          "--", var.envoy, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning",
        ]
      }

      env {
        VERSION = var.version
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
}
