# A service as jobs/service.nomad.hcl has one, on the host of a test: this checkout's programs, run by raw_exec in the host's
# network, on ports of Nomad's choice, checked more often. Under another name it is another service.

variable "bin" {
  description = "Folder with meshctl and the application."
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
  description = "The System that the service belongs to."
  type        = string
  default     = "trading"
}

variable "protocol" {
  description = "What the application speaks."
  type        = string
  default     = "http"
}

variable "path" {
  description = "Where the gateway exposes it."
  type        = string
  default     = "/orders"
}

variable "version" {
  description = "Part of every answer."
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
  default     = 0
}

variable "auto_promote" {
  description = "Whether Nomad promotes canaries as soon as they are healthy."
  type        = bool
  default     = false
}

variable "shutdown_delay" {
  description = "Between deregistration and the application's SIGTERM."
  type        = string
  default     = "3s"
}

variable "kill_timeout" {
  description = "How long the application may take to end what it has begun, after its SIGTERM."
  type        = string
  default     = "20s"
}

variable "healthy_deadline" {
  description = "How long a new instance has to become healthy."
  type        = string
  default     = "40s"
}

variable "check" {
  description = "Type of the check: http and grpc ask the application, tcp only its proxy."
  type        = string
  default     = "http"
}

variable "listen" {
  description = "Port on which the application listens; 0 where the kernel likes: nobody finds it."
  type        = string
  default     = "$${NOMAD_PORT_app}"
}

job "orders" {
  datacenters = ["dc1"]
  type        = "service"

  update {
    canary            = var.canary
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "1s" # lint:allow(min-healthy-time) meshctl deploy waits for the proxies
    healthy_deadline  = var.healthy_deadline
    progress_deadline = "90s"
    auto_revert       = true
    auto_promote      = var.auto_promote
  }

  group "orders" {
    count          = var.count
    shutdown_delay = var.shutdown_delay

    migrate {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "1s"
      healthy_deadline = "30s"
    }

    restart {
      attempts = 1
      interval = "30s"
      delay    = "1s"
      mode     = "fail"
    }

    network {
      mode = "host"

      port "mesh" {}

      port "stats" {}

      port "admin" {}

      port "egress" {}

      port "app" {}
    }

    service {
      name = "orders"
      port = "mesh"
      tags = ["v${var.version}"]

      meta {
        mesh_system   = var.system
        mesh_protocol = var.protocol
        mesh_path     = var.path
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "stable"
      }

      canary_meta {
        mesh_system   = var.system
        mesh_protocol = var.protocol
        mesh_path     = var.path
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "canary"
      }

      check {
        name     = "through the sidecar"
        type     = var.check
        path     = var.check == "http" ? "/healthz" : null
        port     = "mesh"
        interval = "1s"
        timeout  = "3s"
      }
    }

    task "envoy" {
      driver = "raw_exec"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        command = "${var.bin}/meshctl"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", "5s",
          "--role", "sidecar",
          "--system", var.system,
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "orders=${NOMAD_PORT_mesh}:${NOMAD_PORT_app}:${var.protocol}",
          "--egress", "${NOMAD_PORT_egress}",
          "--stats", "${NOMAD_PORT_stats}",
          "--admin", "${NOMAD_PORT_admin}",
          "--bind", "${NOMAD_IP_mesh}",
          "--host", "${NOMAD_HOST_IP_mesh}",
          "--xds", join(",", var.control_planes),
          "--", var.envoy, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning",
        ]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      resources {
        cpu    = 20
        memory = 64
      }
    }

    task "wait-envoy" {
      driver = "raw_exec"

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      config {
        command = "${var.bin}/meshctl"
        args    = ["wait-envoy", "--admin", "${NOMAD_PORT_admin}", "--timeout", "60s"]
      }

      kill_signal = "SIGTERM"

      resources {
        cpu    = 10
        memory = 16
      }
    }

    task "orders" {
      driver = "raw_exec"

      config {
        command = "${var.bin}/orders"
      }

      env {
        LISTEN   = "127.0.0.1:${var.listen}"
        EGRESS   = "http://127.0.0.1:${NOMAD_PORT_egress}"
        INSTANCE = "v${var.version}-${NOMAD_ALLOC_ID}"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = var.kill_timeout

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
