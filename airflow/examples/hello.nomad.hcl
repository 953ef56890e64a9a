# The smallest batch that Airflow can run: `greeting` comes from the task's meta.

job "hello" {
  datacenters = ["dc1"]
  type        = "batch"

  parameterized {
    meta_required = ["greeting"]
    meta_optional = ["airflow_dag", "airflow_task", "airflow_run", "airflow_map_index", "airflow_try"]
  }

  group "hello" {
    # Airflow decides about another try: a failure shows at once.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "hello" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "echo $NOMAD_META_greeting; test \"$NOMAD_META_greeting\" != fail"]
      }

      kill_signal = "SIGTERM"

      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
