"""The DAGs of the end-to-end tests: each one task, which runs the shell script in the run's `conf`."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from ayatori_airflow import NomadDispatchOperator

SECOND = timedelta(seconds=1)
RETRIED = {"retries": 2, "retry_delay": SECOND}
# Longer than a scheduler that starts two dozen tasks at once on two cores needs to learn that one of them paused.
PAUSED = {"resume_delay": 20 * SECOND}
# `nomad_double` speaks Nomad's shapes and does what a test tells it: what no Nomad here can do.
DAGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "double": {"nomad_conn_id": "nomad_double"},
    "retried": RETRIED,
    "waiting": {**RETRIED, "deferrable": False},
    "streamed": {"logs_every": 2 * SECOND, "nomad_conn_id": "nomad_stored"},
    "unplaceable": {"job": "e2e-nowhere", "placement_timeout": 3 * SECOND},
    "unknown_job": {**RETRIED, "job": "e2e-nothing"},
    "no_meta": {**RETRIED, "meta": {}},
    "too_large": {**RETRIED, "payload": "x" * (16 * 1024 + 1)},
    "wrong_token": {"nomad_conn_id": "nomad_wrong_token"},
    "impatient": {"nomad_conn_id": "nomad_nowhere", "patience": 2 * SECOND},
    "overdue": {"execution_timeout": 8 * SECOND},
    "same_key": {"key": "{{ dag_run.conf['key'] }}"},
}

for name, arguments in DAGS.items():
    with DAG(dag_id=name, schedule=None, is_paused_upon_creation=False, max_active_runs=16) as dag:
        NomadDispatchOperator(
            **{
                "task_id": "batch",
                "job": "e2e-batch",
                "meta": {"script": "{{ dag_run.conf.get('script', '') }}"},
                "poll_interval": 10 * SECOND,
                **PAUSED,
                **arguments,
            }
        )
    globals()[name] = dag

with DAG(dag_id="mapped", schedule=None, is_paused_upon_creation=False):
    NomadDispatchOperator.partial(task_id="batch", job="e2e-batch", **PAUSED).expand(
        meta=[{"script": "echo first"}, {"script": "echo second"}]
    )
