"""A report for each night: jobs/batch.nomad.hcl, dispatched once for each day, three tries in all."""

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG

from ayatori_airflow import NomadDispatchOperator

with DAG(
    dag_id="nightly_report",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    NomadDispatchOperator(
        task_id="report",
        job="nightly-report",
        meta={"day": "{{ ds }}"},
        retries=2,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=2),
    )
