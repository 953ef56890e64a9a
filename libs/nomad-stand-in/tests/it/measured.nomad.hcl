# A job that a real Nomad (1.6.10, 2.0.5) was measured to take and to run.

variable "version" {
  type    = string
  default = "1"
}
job "web" {
  datacenters = ["dc1"]
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "2s"
    healthy_deadline  = "30s"
    progress_deadline = "60s"
    auto_revert       = true
    canary            = 1
  }
  group "web" {
    count          = 3
    shutdown_delay = "3s"
    restart {
      attempts = 1
      interval = "30s"
      delay    = "1s"
      mode     = "fail"
    }
    network {
      mode = "bridge"
      port "mesh" {
        to = 10000
      }
      port "app" {
        to = 8080
      }
    }
    service {
      name        = "web"
      port        = "mesh"
      tags        = ["v${var.version}", "live"]
      canary_tags = ["v${var.version}", "canary"]
      meta {
        version = var.version
        alloc   = "${NOMAD_ALLOC_ID}"
      }
      canary_meta {
        version = var.version
        alloc   = "${NOMAD_ALLOC_ID}"
        track   = "canary"
      }
      check {
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "1s"
      }
    }
    task "envoy" {
      driver = "docker"
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      config {
        image   = "local/envoy:1"
        command = "/usr/local/bin/envoy"
        args    = ["-c", "${NOMAD_TASK_DIR}/envoy.yaml"]
      }
      kill_timeout = "5s"
      template {
        destination = "local/envoy.yaml"
        change_mode = "noop"
        data        = <<T
node:
  id: "{{ env "NOMAD_JOB_NAME" }}-{{ env "NOMAD_ALLOC_ID" }}"
  cluster: "{{ env "NOMAD_JOB_NAME" }}"
T
      }
    }
    task "app" {
      driver = "docker"
      env {
        LISTEN = "127.0.0.1:${NOMAD_PORT_app}"
      }
      config {
        image = "local/app:1"
      }
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"
    }
  }
}
