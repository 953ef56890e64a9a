# The host agent on every host, in place of its systemd unit: choose one of the two. The unit outlives a Nomad client that
# is down and sees its end; this job brings versions and a way back.

variable "datacenters" {
  description = "Datacenters whose hosts get an agent."
  type        = list(string)
  default     = ["dc1"]
}

variable "artifacts" {
  description = "Where the archive host-agent is fetched from."
  type        = string
  default     = "https://artifacts.example.com"
}

variable "version" {
  description = "Version of the archive host-agent."
  type        = string
  default     = "0.1.0"
}

variable "config" {
  description = "The agent's configuration file on each host."
  type        = string
  default     = "/etc/ayatori/host-agent.toml"
}

job "host-agent" {
  datacenters = var.datacenters
  type        = "system"

  update {
    max_parallel     = 1
    min_healthy_time = "10s"
    healthy_deadline = "3m"
    auto_revert      = true
    stagger          = "30s"
  }

  group "host-agent" {
    # It reads the host's journal and the files of its allocations, so it runs outside of any container.
    task "host-agent" {
      driver = "raw_exec"

      config {
        command = "local/bin/host-agent"
        args    = ["run", "--config", var.config]
      }

      artifact {
        source = "${var.artifacts}/host-agent/${var.version}/host-agent.tar.gz"
      }

      # It hands over what it has read before it ends.
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = 300
        memory = 256
      }
    }
  }
}
