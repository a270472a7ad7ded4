"""Upkeep: lists are signed anew in time, and whoever runs the server is warned in time."""

from __future__ import annotations

import datetime as dt
import logging
import shlex
from pathlib import Path

import pytest

from trio_chat.cli.upkeep import endings, look
from trio_chat.pki import Authority, read_crls

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A CA with a server's certificate of ten days."""
    ca = tmp_path / "ca.crt"
    Authority.create(ca).issue_server(["localhost"], days=10)
    return ca


@pytest.mark.parametrize(("later", "stage"), [(0, 14), (2, 14), (4, 7), (8, 7), (9.5, 1), (12, 0)])
def test_a_warning_is_due_14_7_and_1_days_before_the_end(
    ca: Path, later: float, stage: int
) -> None:
    cert = ca.with_name("server.crt")
    found = {each.path: each for each in endings(ca, cert, NOW + dt.timedelta(later))}
    assert found[cert].stage == stage
    assert found[ca].stage is None
    assert found[ca.with_name("ca.crl")].stage is None


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert endings(tmp_path / "ca.crt", tmp_path / "server.crt", NOW) == []


def test_each_stage_is_warned_of_once(ca: Path, caplog: pytest.LogCaptureFixture) -> None:
    warned: dict[Path, int | None] = {}
    for later in (0.1, 1, 2, 4.1, 5, 9.5):
        look(ca, ca.with_name("server.crt"), warned, NOW + dt.timedelta(later))
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert [text.partition("server.crt ends in ")[2].partition(":")[0] for text in warnings] == [
        "9 days",
        "5 days",
        "0 days",
    ]
    assert "trio-chat pki renew" in warnings[0]


def test_what_has_ended_is_an_error_that_says_so(
    ca: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert = ca.with_name("server.crt")
    look(ca, cert, {}, NOW + dt.timedelta(12))
    (error,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert error.startswith(f"{cert} has ended: trio-chat pki renew {cert} --ca {ca} && kill -HUP")


def test_a_remedy_can_be_typed_whatever_the_path(tmp_path: Path) -> None:
    ca = tmp_path / "our pki" / "ca.crt"
    made = Authority.create(ca).issue_server(["localhost"])
    _, server, crl = (each.remedy for each in endings(ca, made.crt, NOW))
    assert shlex.split(server)[:6] == [
        *("trio-chat", "pki", "renew", str(made.crt), "--ca", str(ca)),
    ]
    assert shlex.split(crl) == ["trio-chat", "pki", "crl", "--ca", str(ca)]


def test_a_list_past_half_of_its_life_is_signed_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = tmp_path / "ca.crt"
    Authority.create(ca, now=NOW - dt.timedelta(days=40))
    (old,) = read_crls(ca.with_name("ca.crl"))
    with caplog.at_level(logging.INFO):
        look(ca, ca.with_name("server.crt"), {}, NOW)
    (new,) = read_crls(ca.with_name("ca.crl"))
    assert new.last_update_utc > old.last_update_utc
    assert "signed the revocation list anew" in caplog.text
