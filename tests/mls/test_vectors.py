"""The official vectors, each a test, and their number, so that none is lost unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mls.run_vectors import Case, main
from tests.mls.vectors import CASES, COUNTS, DIRECTORY, needs_vectors


@needs_vectors
def test_there_are_as_many_as_there_should_be() -> None:
    found: dict[str, int] = {}
    for name, *_ in CASES:
        found[name] = found.get(name, 0) + 1
    assert found == COUNTS
    assert sum(found.values()) == 254


@needs_vectors
@pytest.mark.parametrize(
    ("run", "case"),
    [pytest.param(run, case, id=f"{name}-{n}") for name, n, run, case in CASES],
)
def test_a_case_holds(run: Callable[[Case], None], case: Case) -> None:
    run(case)


@needs_vectors
def test_the_runner_counts_what_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert DIRECTORY is not None
    assert main([str(DIRECTORY)]) == 0
    assert capsys.readouterr().out.endswith("254 passed, 0 failed\n")


def test_the_runner_fails_where_a_case_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deserialization.json").write_text('[{"vlbytes_header": "01", "length": 2}]')
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith("0 passed, 1 failed\n")


def test_the_runner_fails_where_there_is_nothing_to_run(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([]) == 2
