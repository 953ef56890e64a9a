"""What every test here has: the repository's convention for parts that a machine lacks, and a sum in cargo's form.

A test that lacks a part asks `need`: it prints `SKIP name: part: why`, or fails where E2E_REQUIRE names the part. Skipped
tests count as passed in the sum, and each has its SKIP line, as tests in Rust do; `.ci/run` adds both up.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

ANSIBLE = Path(__file__).resolve().parent.parent
REPOSITORY = ANSIBLE.parent


class Need:
    """Says that this test cannot run without a part."""

    def __init__(self, test: str) -> None:
        self._test = test

    def skip(self, part: str, why: str) -> None:
        if part in os.environ.get("E2E_REQUIRE", "").split(","):
            pytest.fail(f"{part} is required: {why}")
        pytest.skip(f"SKIP {self._test}: {part}: {why}")

    def part(self, part: str, variable: str = "") -> str:
        """Where scripts/setup found this part, or something that belongs to it and has a variable of its own."""
        where = os.environ.get(variable or f"AYATORI_{part.upper().replace('-', '_')}", "")
        if not where:
            self.skip(part, "this machine has none; run `make setup`")
        return where


@pytest.fixture
def need(request: pytest.FixtureRequest) -> Need:
    return Need(request.node.name)


@pytest.fixture(scope="session")
def dist() -> Path:
    """What `make dist` makes of the debug programs, or AYATORI_DIST, which was made before. Made once for all workers of a run."""
    if made := os.environ.get("AYATORI_DIST"):
        return Path(made)
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with open(REPOSITORY / "target/dist.lock", "w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = REPOSITORY / "target/dist.made"
        made, _, by = note.read_text().rpartition(" ") if note.exists() else ("", "", "")
        if by != session:
            done = run(REPOSITORY / "scripts/dist", env=os.environ | {"DIST_PROFILE": "debug"})
            made = done.stdout.splitlines()[-1]
            note.write_text(f"{made} {session}")
    return Path(made)


# The tests that take longest begin first, so that the workers end together.
LONG = ["test_site.py", "test_rollouts.py", "test_awx.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Runs a command in ansible/, which must succeed unless `check=False`; its output is in the failure."""
    check = options.pop("check", True)
    options.setdefault("cwd", ANSIBLE)
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seen = terminalreporter.stats
    count = {word: len(seen.get(word, [])) for word in ("passed", "failed", "error", "skipped")}
    for report in seen.get("skipped", []):
        print(report.longrepr[2].removeprefix("Skipped: "))
    failed = count["failed"] + count["error"]
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {count['passed'] + count['skipped']} passed; {failed} failed; 0 ignored;")
