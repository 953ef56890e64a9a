# A batch that calls services: dispatched with parameters, with an Envoy for its calls and no registration of its own.

variable "datacenters" {
  description = "Datacenters in which runs may be placed."
  type        = list(string)
  default     = ["dc1"]
}

variable "system" {
  description = "The System that the batch belongs to: what it may call follows from it."
  type        = string
  default     = "trading"
}

variable "version" {
  description = "Version of the batch: the tag of its image, or the directory of its artifact."
  type        = string
  default     = "1.0.0"
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
  description = "xDS addresses of the control planes, as runs reach them."
  type        = list(string)
  default     = ["control-plane.service.consul:18000"]
}

variable "agent" {
  description = "Port of the host's agent for spans, at the host's address. Without an agent there, spans are lost and nothing else."
  type        = number
  default     = 4317
}

locals {
  bin = var.driver == "docker" ? "/usr/local/bin" : "local/bin"
}

job "nightly-report" {
  datacenters = var.datacenters
  type        = "batch"

  parameterized {
    payload       = "optional"
    meta_required = ["day"]
    # Airflow fills in which of its tasks a run belongs to.
    meta_optional = ["airflow_dag", "airflow_task", "airflow_run", "airflow_map_index", "airflow_try"]
  }

  group "report" {
    # Whoever dispatches decides about another try: a failure shows at once.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    network {
      mode = "bridge"
    }

    # A sidecar: the run is over when the report is, whatever the Envoy does.
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
          "--drain", "2s",
          "--role", "sidecar",
          "--system", var.system,
          "--id", "${NOMAD_ALLOC_ID}",
          "--cluster", "nightly-report",
          "--egress", "15001",
          "--upstreams", "orders, quotes",
          "--host", "${attr.unique.network.ip-address}", "--agent", "${var.agent}",
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
      kill_timeout = "5s"

      resources {
        cpu    = 100
        memory = 128
      }
    }

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

    task "report" {
      driver = var.driver

      config {
        image   = var.driver == "docker" ? "${var.registry}/nightly-report:${var.version}" : null
        command = "${local.bin}/nightly-report"
        args    = ["--day", "${NOMAD_META_day}"]
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" ? [] : ["nightly-report/${var.version}/nightly-report.tar.gz"]

        content {
          source = "${var.artifacts}/${artifact.value}"
        }
      }

      env {
        http_proxy = "http://127.0.0.1:15001"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
