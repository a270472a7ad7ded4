"""Where the official vectors are, if anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mls.run_vectors import vector_files

_PLACES = (os.environ.get("TRIO_CHAT_MLS_VECTORS"), str(Path(__file__).parents[1] / "vectors/mls"))
DIRECTORY = next((Path(p) for p in _PLACES if p and Path(p).is_dir()), None)
CASES = [
    (path.stem, n, run, case)
    for path, run, cases in (vector_files(DIRECTORY) if DIRECTORY else ())
    for n, case in enumerate(cases)
]
COUNTS = {  # of the official cases, those of suites 1 to 3 and of none
    "crypto-basics": 3,
    "deserialization": 14,
    "key-schedule": 3,
    "message-protection": 3,
    "messages": 30,
    "passive-client-handling-commit": 39,
    "passive-client-welcome": 24,
    "psk_secret": 33,
    "secret-tree": 9,
    "transcript-hashes": 3,
    "tree-math": 10,
    "tree-operations": 5,
    "tree-validation": 42,
    "treekem": 33,
    "welcome": 3,
}

needs_vectors = pytest.mark.skipif(
    DIRECTORY is None,
    reason="set TRIO_CHAT_MLS_VECTORS to the test-vectors of github.com/mlswg/mls-implementations",
)
