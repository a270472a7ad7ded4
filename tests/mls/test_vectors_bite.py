"""The vectors' runner is tested too: whatever is wrong in a case, the case fails.

One digit of each case is changed by default, one of each of its fields with --stress.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.mls.run_vectors import MESSAGES, Case
from tests.mls.vectors import CASES, needs_vectors

Place = tuple[str | int, ...]

NUMBERS = {"tree-math", "deserialization"}  # the only ones where numbers are the matter


def places(value: Any, numbers: bool, at: Place = ()) -> Iterator[Place]:
    """Find the fields of a case that hold hexadecimal digits, or numbers."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "label":
                yield from places(item, numbers, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, numbers, (*at, index))
    elif (isinstance(value, str) and value) or (numbers and isinstance(value, int)):
        yield at


def fields(name: str, case: Case) -> list[Place]:
    """Find where a case can be changed; what is only decoded and encoded again cannot."""
    found = list(places(case, name in NUMBERS))
    return [(key,) for key in MESSAGES] if name == "messages" else found


def changed(case: Case, place: Place) -> Case:
    """Return a case with one digit changed: not in a bit that a curve's private key ignores."""
    case = copy.deepcopy(case)
    holder: Any = case
    for step in place[:-1]:
        holder = holder[step]
    value = holder[place[-1]]
    if isinstance(value, int):
        holder[place[-1]] = value + 1
        return case
    at = number(place, value) % len(value)
    match place:
        case ("welcome",):  # has secrets for others, which nobody else can judge, but not there
            at = len(value) - 1
        case ("sender_data", "ciphertext"):  # no more of it is sampled
            at %= 64
        case (str() as name,) if name in MESSAGES:  # decoded and encoded again: all but the
            at %= 4  # version is opaque
    digit = int(value[at], 16) ^ (8 if at % 2 else 1)
    holder[place[-1]] = value[:at] + f"{digit:x}" + value[at + 1 :]
    return case


def number(*of: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "big")


def refuses(run: Callable[[Case], None], case: Case) -> bool:
    try:
        run(case)
    except Exception:  # whatever it is
        return True
    return False


MUTABLE = [pytest.param(name, run, case, id=f"{name}-{n}") for name, n, run, case in CASES]


@needs_vectors
@pytest.mark.parametrize(("name", "run", "case"), MUTABLE)
def test_a_case_with_one_digit_changed_fails(
    name: str, run: Callable[[Case], None], case: Case
) -> None:
    found = fields(name, case)
    place = found[number(name, case) % len(found)]
    assert refuses(run, changed(case, place)), place


@needs_vectors
@pytest.mark.stress
@pytest.mark.parametrize(("name", "run", "case"), MUTABLE)
def test_a_case_with_one_digit_of_any_field_changed_fails(
    name: str, run: Callable[[Case], None], case: Case
) -> None:
    for place in fields(name, case):
        assert refuses(run, changed(case, place)), place
