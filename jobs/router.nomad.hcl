# The Router: an Envoy on fixed ports of every host of the class "edge". Something before it, which asks for /ready, sends
# clients to the hosts that are ready: a load balancer, or DNS with health checks.

variable "datacenters" {
  description = "Datacenters in which Routers may be placed."
  type        = list(string)
  default     = ["dc1"]
}

variable "node_class" {
  description = "Class of the hosts that get a Router."
  type        = string
  default     = "edge"
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
  description = "Version of the image or archive with envoy and meshctl."
  type        = string
  default     = "0.1.0"
}

variable "control_planes" {
  description = "xDS addresses of the control planes."
  type        = list(string)
  default     = ["control-plane.service.consul:18000"]
}

variable "agent" {
  description = "Port of the host's agent for spans, at the host's address. Without an agent there, spans are lost and nothing else."
  type        = number
  default     = 4317
}

variable "linger" {
  description = "How long the load balancer takes to see that a Router is not ready."
  type        = string
  default     = "10s"
}

locals {
  bin = var.driver == "docker" ? "/usr/local/bin" : "local/bin"
}

job "router" {
  datacenters = var.datacenters
  type        = "system"

  constraint {
    attribute = "${node.class}"
    value     = var.node_class
  }

  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "3m"
    auto_revert      = true
    stagger          = "60s"
  }

  group "router" {
    shutdown_delay = "5s"

    network {
      mode = "host"

      port "http" {
        static = 80
      }

      port "stats" {
        static = 9902
      }
    }

    # For people and load balancers: the Router is no service of the mesh.
    service {
      name = "router"
      port = "http"

      check {
        name     = "ready"
        type     = "http"
        path     = "/ready"
        port     = "stats"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "envoy" {
      driver = var.driver

      config {
        image        = var.driver == "docker" ? "${var.registry}/mesh-proxy:${var.version}" : null
        network_mode = var.driver == "docker" ? "host" : null
        command      = "${local.bin}/meshctl"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", "25s", "--linger", var.linger,
          "--role", "router",
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "router=${NOMAD_PORT_http}",
          "--stats", "${NOMAD_PORT_stats}",
          "--host", "${NOMAD_HOST_IP_http}", "--agent", "${var.agent}",
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
        cpu    = 1000
        memory = 512
      }
    }
  }
}
