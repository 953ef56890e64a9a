# What Airflow's token may do in a namespace of batches.

namespace "default" {
  capabilities = [
    "list-jobs",    # find the batches of a task; the connection's test
    "read-job",     # how a batch stands
    "dispatch-job", # run one
    "read-logs",    # its output in the task's log
    "submit-job",   # stop one: Nomad has no smaller right for that
  ]
}
