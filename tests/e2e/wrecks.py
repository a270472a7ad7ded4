"""Programs that end themselves with SIGKILL at a named step: `python -m tests.e2e.wrecks ...`.

A client that joins a room, says some texts, and prints what it learns; and a server. The steps
are found by wrapping functions of the program, which knows nothing of this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from trio_chat import Message, connect
from trio_chat.client import asking, encryption, sealed
from trio_chat.client.connection import Connection
from trio_chat.client.news import Readable, Unreadable
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import Said
from trio_chat.e2ee.outbox import Outbox
from trio_chat.store import writer
from trio_chat.store.operations import Append

__all__ = ["CLIENT_STEPS"]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: Any, name: str, after: Callable[..., object], *, early: bool = False) -> None:
    """Call `after(result, *args)` behind a function, or `after(None, *args)` before it."""
    inner = getattr(owner, name)

    def sync(*args: Any, **options: Any) -> Any:
        if early:
            after(None, *args)
        found = inner(*args, **options)
        if not early:
            after(found, *args)
        return found

    async def waiting(*args: Any, **options: Any) -> Any:
        if early:
            after(None, *args)
        found = await inner(*args, **options)
        if not early:
            after(found, *args)
        return found

    import inspect

    setattr(owner, name, waiting if inspect.iscoroutinefunction(inner) else sync)


class Countdown:
    """Dies at the n-th time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> object:
        self.left -= 1
        if self.left == 0:
            die()
        return None


def sealed_not_written(kind: str, down: Countdown) -> None:
    wrap(Outbox, "seal", lambda _n, _self, _changes, row, *_: row.kind == kind and down())


def written_not_sent(kind: str, down: Countdown) -> None:
    def look(_: None, _self: object, _conversation: object, parcels: Any, *_rest: object) -> None:
        for parcel in parcels:
            if parcel.kind == kind:
                down()

    wrap(sealed.SealedRoom, "_send", look, early=True)


def sent_not_echoed(kind: str, down: Countdown) -> None:
    armed = False

    def arm(_: None, _self: object, frame: Any) -> None:
        nonlocal armed
        armed = armed or getattr(frame, "kind", None) == kind

    def look(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            down()

    wrap(Connection, "write", arm)
    wrap(trio.SSLStream, "send_all", look)


def echoed_not_dealt_with(kind: str, down: Countdown) -> None:
    def look(_: None, room: Any, frame: Any) -> None:
        ours = getattr(frame, "device", None) == room.encryption.account.wire
        if ours and getattr(frame, "kind", None) == kind:
            down()

    wrap(sealed.SealedRoom, "entry", look, early=True)


def dealt_with_not_told(kind: str, down: Countdown) -> None:
    def look(_: None, _self: object, _onlooker: object, events: Any, *_more: object) -> None:
        for event in events:
            ours = isinstance(event, Said) and event.id is not None
            if ours if kind == "message" else type(event).__name__ == "Entered":
                down()

    wrap(sealed.SealedRoom, "_tell", look, early=True)


def uploaded_not_named(_: str, down: Countdown) -> None:
    wrap(sealed, "upload", lambda *_: down())


def welcome_fetched(_: str, down: Countdown) -> None:
    wrap(asking, "fetch_welcome", lambda found, *_: found is not None and down())


def welcome_taken(_: str, down: Countdown) -> None:
    wrap(Conversation, "welcomed", lambda _none, _self, found, *_: found is not None and down())


def packages_made(_: str, down: Countdown) -> None:
    wrap(encryption, "make_packages", lambda *_: down())


CLIENT_STEPS: dict[str, Callable[[str, Countdown], None]] = {
    step.__name__: step
    for step in (
        sealed_not_written,
        written_not_sent,
        sent_not_echoed,
        echoed_not_dealt_with,
        dealt_with_not_told,
        uploaded_not_named,
        welcome_fetched,
        welcome_taken,
        packages_made,
    )
}


async def client(given: dict[str, Any]) -> None:
    """Join, say the texts, and print what is known at the end."""
    folder = Path(given["folder"])
    seen: dict[str, list[str]] = {"said": [], "read": [], "unreadable": []}
    async with connect(
        f"localhost:{given['port']}",
        cert=folder / given["cert"],
        key=folder / given["key"],
        ca=given["ca"],
        device="laptop",
        data=Path(given["data"]),
    ) as found:

        async def take() -> None:
            async for event in found:
                match event:
                    case Message(text=text):
                        seen["read"].append(text)
                    case Unreadable(reason=reason):
                        seen["unreadable"].append(reason)
                    case Readable():
                        pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            room = await found.join(given["room"])
            for text in given["texts"]:
                await room.send(text)
                print(json.dumps(text), flush=True)
            history = await room.history()
            texts = [each.text for each in history if isinstance(each, Message)]
            print(json.dumps({"history": texts, **seen}), flush=True)
            nursery.cancel_scope.cancel()


def server(times: int, *, early: bool) -> None:
    """Have the server die at a transaction that appends to a log: before it, or after it."""
    down = Countdown(times)

    def look(_: object, _self: object, operations: Any, *_rest: object) -> None:
        for operation in operations:
            if isinstance(operation, Append):
                down()

    wrap(writer._Thread, "commit", look, early=early)


def main() -> None:
    given = json.loads(sys.argv[1])
    if "serve" in given:
        from trio_chat.cli.main import main as program

        if given["times"]:
            server(given["times"], early=given["early"])
        sys.argv = ["trio-chat", *given["serve"]]
        sys.exit(program())
    if given["step"] is not None:
        CLIENT_STEPS[given["step"]](given["kind"], Countdown(given["times"]))
    trio.run(client, given)


if __name__ == "__main__":
    main()
