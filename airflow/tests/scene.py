"""What an end-to-end test works with: an Airflow, a Nomad, and runs known by the names of tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_lab import until

if TYPE_CHECKING:
    from airflow_lab import Airflow
    from nomad_double import NomadDouble
    from nomad_lab import Nomad, Way

# Scripts of batches. The first runs until it is stopped, and says so; the second until the test opens its gate.
STOPPABLE = "trap 'echo stopped >>{file}; exit 1' TERM INT; echo run >>{file}; while sleep 0.1; do :; done"
GATED = "echo run >>{file}; while [ ! -e {file}.go ]; do sleep 0.1; done; echo through"


@dataclass
class Scene:
    """What the tests work with."""

    folder: Path
    airflow: Airflow
    nomad: Nomad
    double: NomadDouble
    way: Way
    runs: dict[str, tuple[str, str]] = field(default_factory=dict)

    def start(self, name: str, dag: str, script: str = "", **conf: Any) -> None:
        """A DAG run, known by the test's name for it; `{file}` in its script is a file of its own."""
        script = script.format(file=self.file(name))
        self.runs[name] = (dag, self.airflow.run(dag, script=script, **conf))

    def file(self, name: str) -> Path:
        """What a batch writes."""
        return self.folder / f"{name}.out"

    def wrote(self, name: str) -> list[str]:
        """The lines that a run's batches wrote."""
        file = self.file(name)
        return file.read_text().split() if file.exists() else []

    def await_lines(self, name: str, lines: list[str], seconds: float = 180) -> None:
        """A run's batches wrote exactly this."""
        until(f"{name} wrote {lines}", lambda: self.wrote(name) == lines, seconds)

    def open_gate(self, name: str) -> None:
        """Lets a gated batch end."""
        Path(f"{self.file(name)}.go").touch()

    def task(self, name: str) -> dict[str, Any]:
        """The task instance of a run."""
        return self.airflow.task(*self.runs[name])

    def end(self, name: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        """Awaits a state; without one, the end."""
        return self.airflow.await_state(*self.runs[name], *(states or ("success", "failed")), seconds=seconds)

    def await_trigger(self, name: str, number: int = 1) -> None:
        """A try that is paused and in the triggerer's hands: before, Airflow calls nobody when a person kills it."""
        until(f"{name} is in the triggerer", lambda: f"/{number} (ID " in self.log(name, number), 180, pause=0.5)

    def log(self, name: str, number: int = 1) -> str:
        """The log of a run's try."""
        return self.airflow.log(*self.runs[name], number)

    def batch(self, name: str) -> str:
        """The child's id, as XCom tells it."""
        return str(self.airflow.xcom(*self.runs[name], "nomad_job_id"))

    def tokens(self, name: str) -> list[str]:
        """Of all batches of a run, the numbers."""
        dag, run = self.runs[name]
        prefix = f"{dag}.batch.{run}.-1."
        return [job["DispatchIdempotencyToken"].removeprefix(prefix) for job in self.nomad.children(prefix)]

    def cancel(self, name: str) -> None:
        """As the UI does when a person marks a task as failed."""
        dag, run = self.runs[name]
        body = {"new_state": "failed", "include_downstream": False}
        self.airflow.call("PATCH", f"/dags/{dag}/dagRuns/{run}/taskInstances/batch", json=body)

    def clear(self, name: str) -> None:
        """As the UI does when a person clears a task."""
        dag, run = self.runs[name]
        body = {"dag_run_id": run, "task_ids": ["batch"], "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.airflow.call("POST", f"/dags/{dag}/clearTaskInstances", json=body)
