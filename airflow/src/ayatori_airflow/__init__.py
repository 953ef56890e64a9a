"""Runs Nomad batches from Airflow.

A task dispatches a parameterized job once, waits in the triggerer, and ends as the batch ended. `operator` is what a DAG
uses, `hook` the connection, `trigger` the wait; `dispatch`, `verdict` and `logs` decide without IO of their own.
"""

from ayatori_airflow.hook import NomadHook
from ayatori_airflow.operator import NomadDispatchOperator
from ayatori_airflow.trigger import NomadDispatchTrigger

__all__ = ["NomadDispatchOperator", "NomadDispatchTrigger", "NomadHook", "__version__"]

__version__ = "0.1.0"
