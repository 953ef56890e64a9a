# The gateway of a System: an Envoy, and api-gateway behind it, which checks API keys and turns REST into gRPC.

variable "datacenters" {
  description = "Datacenters in which instances may be placed."
  type        = list(string)
  default     = ["dc1"]
}

variable "system" {
  description = "The System that the gateway belongs to."
  type        = string
  default     = "trading"
}

variable "count" {
  description = "Instances."
  type        = number
  default     = 2
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

variable "version" {
  description = "Version of the images or archives mesh-proxy (envoy and meshctl) and api-gateway."
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

variable "consul" {
  description = "Consul, as instances reach it: API keys are read from there."
  type        = string
  default     = "http://consul.service.consul:8500"
}

locals {
  bin = var.driver == "docker" ? "/usr/local/bin" : "local/bin"
}

job "trading-gateway" {
  datacenters = var.datacenters
  type        = "service"

  update {
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "3m"
    progress_deadline = "10m"
    auto_revert       = true
    auto_promote      = true
  }

  group "gateway" {
    count          = var.count
    shutdown_delay = "10s"

    network {
      mode = "bridge"

      # Other Systems.
      port "mesh" {
        to = 10000
      }

      port "stats" {
        to = 10001
      }

      # The Router.
      port "ingress" {
        to = 10002
      }
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

      # What a gateway answers depends on its System's document; whether it takes requests does not.
      check {
        name     = "takes connections"
        type     = "tcp"
        port     = "mesh"
        interval = "5s"
        timeout  = "2s"
      }

      check {
        name     = "ready"
        type     = "http"
        path     = "/ready"
        port     = "stats"
        interval = "5s"
        timeout  = "2s"
      }
    }

    # Here the Envoy is what ends first, draining, and needs the application until it has ended: so the application is the
    # sidecar.
    task "api-gateway" {
      driver = var.driver

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image   = var.driver == "docker" ? "${var.registry}/api-gateway:${var.version}" : null
        command = "${local.bin}/api-gateway"
        args = [
          "run", "--config", "${NOMAD_TASK_DIR}/api-gateway.toml",
          "--listen", "127.0.0.1:18010", "--egress", "127.0.0.1:15001", "--admin", "127.0.0.1:18012",
        ]
      }

      template {
        destination = "local/api-gateway.toml"
        change_mode = "noop"
        data        = <<-T
          [consul]
          address = "${var.consul}"
        T
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["api-gateway/${var.version}/api-gateway.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      resources {
        cpu    = 300
        memory = 128
      }
    }

    task "envoy" {
      driver = var.driver

      config {
        image   = var.driver == "docker" ? "${var.registry}/mesh-proxy:${var.version}" : null
        command = "${local.bin}/meshctl"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", "25s",
          "--role", "gateway",
          "--system", var.system,
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "trading-gateway=${NOMAD_PORT_mesh}:18010",
          "--ingress", "${NOMAD_PORT_ingress}",
          "--egress", "15001",
          "--stats", "${NOMAD_PORT_stats}",
          "--host", "${NOMAD_HOST_IP_mesh}", "--agent", "${var.agent}",
          "--xds", join(",", var.control_planes),
          "--", "${local.bin}/envoy", "--log-level", "warning",
        ]
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["mesh-proxy/${var.version}/mesh-proxy.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
