"""What Airflow's processes take up of this package besides its classes: the listener."""

from airflow.plugins_manager import AirflowPlugin

from ayatori_airflow import listener


class NomadPlugin(AirflowPlugin):
    """Entry point `airflow.plugins`."""

    name = "ayatori_airflow"
    listeners = [listener]  # noqa: RUF012 # as AirflowPlugin declares it
