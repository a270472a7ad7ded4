"""`trio-chat serve`: what is wrong is seen before anything is made; signals are never lost."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_chat import server
from trio_chat.cli import serve
from trio_chat.errors import BadName, ConfigError
from trio_chat.pki import Authority
from trio_chat.server import ServerConfig


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run it with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        parser = argparse.ArgumentParser()
        serve.add_arguments(parser)
        return serve.run(parser.parse_args(words))

    return run


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--config", "none.toml"), ConfigError),
        (("--config", "."), ConfigError),
        (("--room", "a b"), BadName),
        (("--public-name", "a:1"), ConfigError),
    ],
)
def test_what_is_wrong_is_seen_before_a_ca_is_made(
    type_in: Callable[..., int], tmp_path: Path, words: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        type_in(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("port", ["65536", "99999", "-1", "x", "9" * 5000, ""])
def test_a_port_is_a_number_that_there_is(port: str) -> None:
    """The system would take 99999 for 34463."""
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    assert parser.parse_args(["--port=65535"]).port == 65535
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([f"--port={port}"])
    assert caught.value.code == 2


def test_what_was_made_is_told_though_the_start_fails(
    type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        type_in("--host", "203.0.113.9", "--port", "0")
    assert "made a private CA in pki: ca.crt, ca.key" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot listen on"):
        type_in("--host", "203.0.113.9", "--port", "0")
    assert "made" not in capsys.readouterr().err


def test_a_public_name_that_comes_too_late_is_told_with_the_remedy(
    type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for names in (["a.example"], ["a.example"], ["a.example", "b.example"]):
        words = [f"--public-name={name}" for name in names]
        with pytest.raises(ConfigError, match="cannot listen on"):
            type_in("--host", "203.0.113.9", "--port", "0", *words)
        said.append(
            "".join(line for line in capsys.readouterr().err.splitlines(True) if ": " in line)
        )
    assert "warning" not in said[0] + said[1]
    assert said[2] == (
        "trio-chat: warning: pki/server.crt does not list b.example, so clients refuse that name\n"
        "trio-chat: hint: move it and its key away, then "
        "trio-chat pki issue --server --public-name b.example\n"
    )


class Starting:
    """A server to which a signal is sent before it has started."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.addresses: list[tuple[str, int]] = []
        self.modes: dict[str, str] = {}
        self.drained = trio.Event()

    def drain(self) -> None:
        self.drained.set()

    async def run(self, _config: ServerConfig, *, task_status: trio.TaskStatus[Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()
        task_status.started(self)
        await self.drained.wait()


async def test_a_signal_sent_while_it_starts_is_heeded_when_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = tmp_path / "ca.crt"
    Authority.create(ca)
    starting = Starting(ServerConfig(ca=ca))
    monkeypatch.setattr(server, "serve", starting.run)
    with trio.fail_after(5):
        await serve._serve(lambda: starting.config, None)
    assert starting.drained.is_set()
