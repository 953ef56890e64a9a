# Two control planes on different hosts. Each reads Consul through its host's agent and suffices alone.

variable "datacenters" {
  description = "Datacenters in which control planes may be placed."
  type        = list(string)
  default     = ["dc1"]
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
  description = "Version of the image or archive control-plane."
  type        = string
  default     = "0.1.0"
}

locals {
  bin = var.driver == "docker" ? "/usr/local/bin" : "local/bin"
}

job "control-plane" {
  datacenters = var.datacenters
  type        = "service"

  constraint {
    operator = "distinct_hosts"
    value    = "true"
  }

  update {
    # One replica stays while the other is replaced; a canary would need a third host, for its fixed ports.
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "3m"
    progress_deadline = "10m"
    auto_revert       = true
  }

  group "control-plane" {
    count          = 2
    shutdown_delay = "5s"

    # The last good state moves with an instance, so that it can serve while Consul is away.
    ephemeral_disk {
      migrate = true
      sticky  = true
      size    = 300
    }

    network {
      mode = "host"

      # lint:allow(static-port) proxies find control planes by a DNS name, which carries no port
      port "xds" {
        static = 18000
      }
    }

    service {
      name = "control-plane"
      port = "xds"

      # The xDS port answers gRPC's health question: SERVING while proxies are served.
      check {
        name     = "serving"
        type     = "grpc"
        port     = "xds"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "control-plane" {
      driver = var.driver

      config {
        image        = var.driver == "docker" ? "${var.registry}/control-plane:${var.version}" : null
        network_mode = var.driver == "docker" ? "host" : null
        command      = "${local.bin}/control-plane"
        args         = ["run", "--config", "${NOMAD_TASK_DIR}/control-plane.toml"]
      }

      # Admin and API stay on the host's loopback, at their default ports.
      template {
        destination = "local/control-plane.toml"
        change_mode = "noop"
        data        = <<-T
          data_dir = "{{ env "NOMAD_ALLOC_DIR" }}/data"

          [consul]
          token_file = "{{ env "NOMAD_SECRETS_DIR" }}/consul-token"

          [xds]
          listen = "{{ env "NOMAD_ADDR_xds" }}"
          allow_plaintext = true
        T
      }

      # Read anew for each request to Consul: a new token needs no restart.
      template {
        destination = "secrets/consul-token"
        change_mode = "noop"
        perms       = "600"
        data        = "{{ with nomadVar \"nomad/jobs/control-plane\" }}{{ .consul_token }}{{ end }}"
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["control-plane/${var.version}/control-plane.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      # Streams end spread over 8 s (xds.drain_s).
      kill_signal  = "SIGTERM"
      kill_timeout = "15s"

      resources {
        cpu    = 1000
        memory = 512
      }
    }
  }
}
