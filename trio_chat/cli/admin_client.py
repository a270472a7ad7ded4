"""Asking a running server: one order, one answer. Over `admin.sock`, if nothing else is said.

That goes without Trio: it waits for one thing at a time, and is to start in no time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trio_chat.errors import ChatError, Unreachable
from trio_chat.files import socket_address

if TYPE_CHECKING:
    from trio_chat.cli.admin_remote import RemoteTalk

__all__ = ["NotPermitted", "NotRunning", "Talk", "ask", "socket_of", "talk_to"]

VERSION = 1
_PATIENCE = 30.0  # s for an answer that takes no time, from a server that is not stuck


class NotRunning(Unreachable):
    """No server answers there."""

    exit_status = 69  # EX_UNAVAILABLE


class NotPermitted(ChatError):
    """One may not administrate this server."""

    exit_status = 77  # EX_NOPERM


def socket_of(ca: Path) -> Path:
    """Return where the server with that CA listens for orders."""
    return ca.with_name("admin.sock")


def talk_to(options: argparse.Namespace) -> Talk | RemoteTalk:
    """Return a way to the server that the options name.

    Raises:
        NotRunning, NotPermitted: nobody is there, or does not talk to us.
    """
    if options.at is None:
        return Talk(options.ca)
    from trio_chat.cli.admin_remote import RemoteTalk

    return RemoteTalk(options)


def ask(
    options: argparse.Namespace, command: str, *, patient: bool = False, **arguments: Any
) -> dict[str, Any]:
    """Give an order and return what the server answers; `patient` waits for ever.

    Raises:
        NotRunning, NotPermitted: nobody is there, or does not talk to us.
        ChatError: it was not done, and why.
    """
    with talk_to(options) as talk:
        return talk.ask(command, patient=patient, **arguments)


class Talk:
    """A connection to `admin.sock`."""

    def __init__(self, ca: Path) -> None:
        self._path = socket_of(ca)
        self._socket = _connect(self._path)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str, *, patient: bool = False, **arguments: Any) -> dict[str, Any]:
        """Do what the function `ask` does."""
        order = {"admin": VERSION, "command": command, "arguments": arguments}
        self._socket.settimeout(None if patient else _PATIENCE)
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            line = self._file.readline()
        except TimeoutError:
            raise NotRunning(
                f"the server at {self._path} has not answered for {_PATIENCE:.0f} s",
                hint="its log may tell why",
            ) from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise NotRunning(f"the server at {self._path} ended before it answered")
        return _result(json.loads(line))

    def wait_for_end(self) -> bool:
        """Wait until the server has ended, its database with it."""
        self._socket.settimeout(None)
        with contextlib.suppress(OSError):  # that is an end, too
            self._file.read()
        return True


def _connect(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise NotRunning(
            "Python has no unix sockets here, so `trio-chat admin` cannot reach a server",
            hint="`trio-chat pki revoke` and the signals of `trio-chat serve` work without",
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(_PATIENCE)
    try:
        sock.connect(socket_address(path))
    except PermissionError:
        sock.close()
        raise NotPermitted(
            f"{path} is not yours to open", hint="run this as the server's user, or as root"
        ) from None
    except OSError as error:
        sock.close()
        raise NotRunning(
            f"no server answers at {path}: {error.strerror or error}",
            hint="start it with trio-chat serve, or say with --ca which one is meant",
        ) from None
    return sock


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("ok"):
        result: dict[str, Any] = answer["result"]
        return result
    kind = NotPermitted if answer.get("code") == "forbidden" else ChatError
    raise kind(answer["text"], hint=answer.get("hint", ""))
