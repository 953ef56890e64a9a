"""The smallest DAG: hello.nomad.hcl, with a greeting from the run's `conf`."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from ayatori_airflow import NomadDispatchOperator

with DAG(dag_id="hello", schedule=None, params={"greeting": Param("Hello", type="string")}):
    NomadDispatchOperator(
        task_id="hello",
        job="hello",
        meta={"greeting": "{{ params.greeting }}"},
        retries=1,
        retry_delay=timedelta(seconds=10),
    )
