"""What Airflow is told of this package: the connection type and its form. Read by Airflow's providers manager."""

from typing import Any


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


def get_provider_info() -> dict[str, Any]:
    """Entry point `apache_airflow_provider`."""
    return {
        "package-name": "ayatori-airflow",
        "name": "Nomad batches (Ayatori)",
        "description": "Runs Nomad batches: dispatched once, watched without a worker, stopped when the task is.",
        "integrations": [
            {
                "integration-name": "Nomad",
                "external-doc-url": "https://developer.hashicorp.com/nomad/api-docs",
                "tags": ["service"],
            }
        ],
        "operators": [{"integration-name": "Nomad", "python-modules": ["ayatori_airflow.operator"]}],
        "hooks": [{"integration-name": "Nomad", "python-modules": ["ayatori_airflow.hook"]}],
        "triggers": [{"integration-name": "Nomad", "python-modules": ["ayatori_airflow.trigger"]}],
        "connection-types": [
            {
                "connection-type": "nomad",
                "hook-class-name": "ayatori_airflow.hook.NomadHook",
                "hook-name": "Nomad",
                "conn-fields": {
                    "namespace": _text("Namespace", "Nomad's namespace; empty: default"),
                    "region": _text("Region", "Nomad's region; empty: the agent's own"),
                    "ca_cert": _text("CA certificate", "PEM file that Nomad's certificate is checked with"),
                    "client_cert": _text("Client certificate", "PEM file, where Nomad asks for one"),
                    "client_key": _text("Client key", "PEM file of the client certificate's key"),
                    "tls_server_name": _text("TLS server name", "Name in Nomad's certificate, if not the host"),
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "extra"],
                    "relabeling": {"password": "Token", "schema": "Schema (http or https)"},
                    "placeholders": {"host": "nomad.example.com", "port": "4646", "schema": "https"},
                },
            }
        ],
    }
