"""The modules' types, judged by mypy."""

import os

from conftest import ANSIBLE, REPOSITORY, run


def test_mypy_finds_nothing_in_strict_mode():
    options = ["--strict", "--namespace-packages", "--explicit-package-bases", "--ignore-missing-imports"]
    cache = REPOSITORY / "target/mypy"
    run(
        "mypy",
        *options,
        "--cache-dir",
        cache,
        "collections",
        env={**os.environ, "MYPYPATH": str(ANSIBLE / "collections")}
    )
