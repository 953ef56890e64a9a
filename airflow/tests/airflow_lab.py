"""A real Airflow for the tests: API servers, scheduler with its workers, DAG processor and triggerer, each a process.

All of it lives in one folder, on ports that the kernel chose. Processes are ended by their ids, and can be killed and
started again one by one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

# People's API and the workers' are servers of their own: in one, requests of both can wait for each other for ever.
COMPONENTS = {
    "api-server": ("api-server", "--apps", "core"),
    "execution-api": ("api-server", "--apps", "execution"),
    "dag-processor": ("dag-processor",),
    "scheduler": ("scheduler",),
    "triggerer": ("triggerer",),
}
DAGS = Path(__file__).parent / "e2e" / "dags"


def free_port() -> int:
    """A port that is given to nobody else for about a minute. A connection that its listening side closed leaves it in
    TIME_WAIT, from which only those have it who ask for it by number, and with SO_REUSEADDR, as servers do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            listener.accept()[0].close()
    return int(address[1])


def until(what: str, true: Callable[[], Any], seconds: float, pause: float = 0.25) -> Any:
    """Awaits a state, with a deadline; gives what `true` gave."""
    end = time.monotonic() + seconds
    while not (value := true()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return value


class Airflow:
    """One Airflow."""

    def __init__(self, folder: Path, database: str, variables: dict[str, str]) -> None:
        self.folder, self.database = folder, database
        self.port, self.execution_port = free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {**_clean_environment(), **self._settings(), **variables}
        self.client = httpx.Client(base_url=f"{self.address}/api/v2", timeout=120, trust_env=False)

    def _settings(self) -> dict[str, str]:
        settings = {
            "CORE__DAGS_FOLDER": str(DAGS),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.execution_port}/execution/",
            "CORE__TEST_CONNECTION": "Enabled",
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
            "API__PORT": str(self.port),
            "API__HOST": "127.0.0.1",
            "API__BASE_URL": self.address,
            "API__WORKERS": "1",
            "API__SECRET_KEY": "only for this test",
            "API_AUTH__JWT_SECRET": "only for this test, and long enough for its hash function to be content with it",
            "DATABASE__SQL_ALCHEMY_CONN": self.database,
            "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
            # A killed worker is noticed when its heartbeat is missing for this long.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "4",
            "TRIGGERER__TRIGGERER_MIN_HEARTBEAT_INTERVAL": "1",
            "LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "TRACES__OTEL_ON": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        return {
            "AIRFLOW_HOME": str(self.folder),
            **{f"AIRFLOW__{key}": value for key, value in settings.items()},
        }

    def start(self) -> None:
        """Sets up the database and starts everything."""
        self._run("db", "migrate")
        for component in COMPONENTS:
            self.start_one(component)
        until("the API server answers", self._log_in, 180)

    def _run(self, *arguments: str) -> None:
        with (self.folder / "setup.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
                check=True,
            )

    def start_one(self, component: str) -> None:
        """In a process group of its own, whose workers a kill reaches too."""
        ports = {"AIRFLOW__API__PORT": str(self.execution_port)} if component == "execution-api" else {}
        with (self.folder / f"{component}.log").open("ab") as log:
            self.processes[component] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *COMPONENTS[component]],
                env={**self.environment, **ports},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )

    def kill(self, component: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends a component and all that it started."""
        process = self.processes.pop(component)
        kill_group(process.pid, how)
        process.wait(30)
        kill_group(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ends everything."""
        for component in list(self.processes):
            self.kill(component)
        self.client.close()

    def _log_in(self) -> bool:
        dead = [name for name, process in self.processes.items() if process.poll() is not None]
        if dead:
            raise AssertionError(f"{', '.join(dead)} ended; see {self.folder}/{dead[0]}.log")
        try:
            answer = httpx.get(f"{self.address}/auth/token", trust_env=False, follow_redirects=True)
        except httpx.TransportError:
            return False
        if answer.status_code not in (200, 201):
            return False
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    # The REST API, as people and their programs use it.

    def call(self, method: str, path: str, **more: Any) -> Any:
        """A request whose answer must be good."""
        answer = self.client.request(method, path, **more)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    def run(self, dag: str, **conf: Any) -> str:
        """Starts a DAG run and gives its id."""
        run = self.call("POST", f"/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def task(self, dag: str, run: str, task: str = "batch") -> dict[str, Any]:
        """A task instance."""
        found: dict[str, Any] = self.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}")
        return found

    def await_state(self, dag: str, run: str, *states: str, task: str = "batch", seconds: float = 180) -> dict[str, Any]:
        """A task in one of these states."""
        last = {"state": None}

        def there() -> dict[str, Any] | None:
            last.update(self.task(dag, run, task))
            return last if last["state"] in states else None

        try:
            found: dict[str, Any] = until(f"{dag}.{task} is {' or '.join(states)}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last['state']}") from None
        return found

    def log(self, dag: str, run: str, number: int, task: str = "batch") -> str:
        """The log of a try, as the UI shows it."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{number}"
        answer = self.call("GET", path, params={"full_content": "true"}, headers={"Accept": "application/json"})
        return "\n".join(_line(entry) for entry in answer["content"])

    def xcom(self, dag: str, run: str, key: str, task: str = "batch") -> Any:
        """What a task pushed."""
        return self.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}")["value"]


def _line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    detail = entry.get("error_detail") or []
    return " ".join([str(entry.get("event", "")), *(f"{one.get('exc_type')}: {one.get('exc_value')}" for one in detail)])


def _clean_environment() -> dict[str, str]:
    """Without settings of another Airflow, and without proxies: everything here is on this machine."""
    dropped = ("airflow", "http_proxy", "https_proxy", "all_proxy", "nomad_")
    return {key: value for key, value in os.environ.items() if not key.lower().startswith(dropped)}


def kill_group(leader: int, how: signal.Signals) -> None:
    """A process group that was started here; one that is over is fine."""
    try:
        os.killpg(leader, how)
    except ProcessLookupError:
        return
