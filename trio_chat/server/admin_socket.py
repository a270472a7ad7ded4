"""`admin.sock`: orders of whoever may run the server, one JSON object a line each way.

    {"admin":1,"command":"kick","arguments":{"who":"alice"}}
    {"admin":1,"ok":true,"result":{"ended":2}}
    {"admin":1,"ok":false,"code":"no-user","text":"...","hint":"..."}

Internal to one version of the program; the number tells when the two ends differ. Who may
open the file may give orders; where the system says whose the other end is, that counts too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_chat.errors import BadFrame, ChatError, Forbidden, WrongProtocol
from trio_chat.files import lock, socket_address
from trio_chat.protocol.lines import LineBuffer
from trio_chat.server.desk import Desk
from trio_chat.server.orders import read_order

__all__ = ["VERSION", "open_admin_socket", "serve_admin"]

VERSION = 1
LINE = 256 * 1024  # bytes of an order
_BACKLOG = 16

log = logging.getLogger("trio_chat.server")


@contextlib.contextmanager
def open_admin_socket(path: Path) -> Iterator[socket.socket | None]:
    """Listen at `path`, which only we can open; None where that cannot be.

    A server does without rather than not start, and the log says so. What a dead server left
    is replaced, that of a live one never: the lock beside it tells which, and is dropped by
    the system with whoever has it.
    """
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(_listening(path))
        except _Impossible as error:
            log.warning("this server runs without `trio-chat admin`: %s", error)
            sock = None
        except OSError as error:
            why = f"cannot listen at {path}: {error.strerror}"
            log.warning("this server runs without `trio-chat admin`: %s", why)
            sock = None
        yield sock


class _Impossible(Exception):
    """There can be no socket, for the reason given."""


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    if not hasattr(socket, "AF_UNIX"):
        raise _Impossible("this system has no unix sockets for Python")
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock(descriptor, wait=False):
            raise _Impossible(f"another server listens at {path}")
        _clear(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.bind(socket_address(path))
            try:
                path.chmod(0o600)  # before it listens, so nobody could connect yet
                sock.listen(_BACKLOG)
                sock.setblocking(False)
                yield sock
            finally:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove what a dead server has left."""
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found):
        raise _Impossible(f"{path} is there and is no socket")
    path.unlink()


async def serve_admin(
    desk: Desk,
    listener: socket.socket,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take orders until cancelled."""
    own = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_listeners, handler_nursery=nursery)
        await nursery.start(serve, partial(_attend, desk), [own])
        task_status.started()


async def _attend(desk: Desk, stream: trio.SocketStream) -> None:
    """Serve one connection; nothing that goes wrong in it reaches further."""
    async with stream:
        try:
            await _converse(desk, stream, _actor(stream))
        except Forbidden as error:
            log.warning("refused at the admin socket: %s", error)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(_refusal(error))
        except trio.BrokenResourceError:
            pass  # it has left
        except Exception:
            log.exception("internal error at the admin socket")
            failed = ChatError("internal error", hint="the server's log has more")
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(_refusal(failed))


async def _converse(desk: Desk, stream: trio.SocketStream, actor: str) -> None:
    lines = LineBuffer(LINE)
    while data := await stream.receive_some():
        for line in lines.feed(bytes(data)):
            answer, afterwards = await _answer(desk, actor, line)
            try:
                await stream.send_all(answer)
            finally:
                if afterwards is not None:
                    afterwards()  # what was ordered happens, whether or not it is still there
        if lines.too_long:
            await stream.send_all(_refusal(BadFrame(f"an order may have {LINE} bytes")))
            return


async def _answer(desk: Desk, actor: str, line: bytes) -> tuple[bytes, Callable[[], None] | None]:
    try:
        done = await desk.do(actor, read_order(*_read(line)))
    except ChatError as error:
        return _refusal(error), None
    return _encode({"ok": True, "result": done.result}), done.afterwards


def _read(line: bytes) -> tuple[Any, Any]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadFrame("an order is one JSON object a line")
    if found.get("admin") != VERSION:
        raise WrongProtocol(
            f"the server speaks version {VERSION} of the admin protocol and was asked in "
            "another; use the trio-chat that it was started with"
        )
    return found.get("command"), found.get("arguments", {})


def _refusal(error: ChatError) -> bytes:
    code = getattr(error, "code", "failed")
    return _encode({"ok": False, "code": code, "text": str(error), "hint": error.hint})


def _encode(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"admin": VERSION, **fields}) + b"\n"


def _actor(stream: trio.SocketStream) -> str:
    """Say whose the other end is.

    Raises:
        Forbidden: it is another user's, and not root's.
    """
    uid = _peer_uid(stream.socket)
    if uid is None:
        return "socket"
    if uid not in (0, os.geteuid()):
        raise Forbidden(f"uid {uid} may not administrate this server")
    return f"uid {uid}"


def _peer_uid(sock: trio.socket.SocketType) -> int | None:
    """Return the user id of the other end, where the system tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(uid)
