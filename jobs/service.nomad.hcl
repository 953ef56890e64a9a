# A service of the mesh: an application and the Envoy beside it. README.md says what to change, line by line.

variable "datacenters" {
  description = "Datacenters in which instances may be placed."
  type        = list(string)
  default     = ["dc1"]
}

variable "system" {
  description = "The System that the service belongs to."
  type        = string
  default     = "trading"
}

variable "version" {
  description = "Version of the application: the tag of its image, or the directory of its artifact."
  type        = string
  default     = "1.0.0"
}

variable "count" {
  description = "Instances."
  type        = number
  default     = 3
}

variable "driver" {
  description = "docker, or exec for hosts without it."
  type        = string
  default     = "docker"
}

variable "registry" {
  description = "Where images are pulled from (driver docker)."
  type        = string
  default     = "registry.example.com"
}

variable "artifacts" {
  description = "Where archives with the same programs are fetched from (driver exec)."
  type        = string
  default     = "https://artifacts.example.com"
}

variable "proxy_version" {
  description = "Version of the image or archive with envoy and meshctl."
  type        = string
  default     = "0.1.0"
}

variable "control_planes" {
  description = "xDS addresses of the control planes, as instances reach them."
  type        = list(string)
  default     = ["control-plane.service.consul:18000"]
}

variable "agent" {
  description = "Port of the host's agent for spans, at the host's address. Without an agent there, spans are lost and nothing else."
  type        = number
  default     = 4317
}

locals {
  # With docker the programs are in the image; with exec an artifact brings them, because a task sees nothing of its host
  # but what the client's chroot_env names.
  bin = var.driver == "docker" ? "/usr/local/bin" : "local/bin"
}

# The job's id is this label: it takes no variable.
job "orders" {
  datacenters = var.datacenters
  type        = "service"

  update {
    # Keep canary the same in every version: a revert goes back to the old version's own block.
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "3m"
    progress_deadline = "10m"
    auto_revert       = true
    auto_promote      = true
  }

  group "orders" {
    count = var.count
    # Between deregistration and the application's SIGTERM: proxies learn, requests end.
    shutdown_delay = "10s"

    network {
      mode = "bridge"

      port "mesh" {
        to = 10000
      }

      port "stats" {
        to = 10001
      }
    }

    service {
      name = "orders"
      port = "mesh"
      tags = ["v${var.version}"]

      meta {
        mesh_system   = var.system
        mesh_protocol = "http"
        mesh_path     = "/orders"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "stable"
      }

      # Replaces meta until promotion: everything again, but for the track.
      canary_meta {
        mesh_system   = var.system
        mesh_protocol = "http"
        mesh_path     = "/orders"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "canary"
      }

      # Through the sidecar: healthy means that the application and its proxy are.
      check {
        name     = "through the sidecar"
        type     = "http"
        path     = "/healthz"
        port     = "mesh"
        interval = "5s"
        timeout  = "2s"
      }
    }

    # Started first and ended last, because it is a sidecar.
    task "envoy" {
      driver = var.driver

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image   = var.driver == "docker" ? "${var.registry}/mesh-proxy:${var.proxy_version}" : null
        command = "${local.bin}/meshctl"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", "5s",
          "--role", "sidecar",
          "--system", var.system,
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "orders=${NOMAD_PORT_mesh}:8080",
          "--egress", "15001",
          "--stats", "${NOMAD_PORT_stats}",
          "--host", "${NOMAD_HOST_IP_mesh}", "--agent", "${var.agent}",
          "--spans", "4317,4318,9411",
          "--xds", join(",", var.control_planes),
          "--", "${local.bin}/envoy", "--log-level", "warning",
        ]
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["mesh-proxy/${var.proxy_version}/mesh-proxy.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      resources {
        cpu    = 200
        memory = 128
      }
    }

    # Holds the application back until its proxy takes requests.
    task "wait-envoy" {
      driver = var.driver

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      config {
        image   = var.driver == "docker" ? "${var.registry}/mesh-proxy:${var.proxy_version}" : null
        command = "${local.bin}/meshctl"
        args    = ["wait-envoy", "--timeout", "60s"]
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["mesh-proxy/${var.proxy_version}/mesh-proxy.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      kill_signal = "SIGTERM"

      resources {
        cpu    = 50
        memory = 32
      }
    }

    task "orders" {
      driver = var.driver

      config {
        image   = var.driver == "docker" ? "${var.registry}/orders:${var.version}" : null
        command = "${local.bin}/orders"
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["orders/${var.version}/orders.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      env {
        LISTEN = "127.0.0.1:8080"
        # Calls of others: http://quotes/… through this proxy.
        http_proxy = "http://127.0.0.1:15001"
      }

      # The application stops taking requests and answers those that it has.
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
