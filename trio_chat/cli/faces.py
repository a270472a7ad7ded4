"""The user's part of `join` and `demo`: chooses a face, and runs it with a client."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from trio_chat.client import Client
    from trio_chat.ui.state import Cursors

__all__ = ["Conversation", "interactive"]


def interactive() -> bool:
    """Is there a terminal on which a prompt can be drawn?"""
    return (
        sys.stdin is not None
        and sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM") != "dumb"
    )


@attrs.frozen(kw_only=True)
class Conversation:
    """What a face needs to be run.

    Attributes:
        connecting: What `connect` returned.
        fingerprint: Of one's own key, for `/fp`.
        rooms: Where to go first.
        folder: Where what was read and typed is kept; None keeps nothing.
        colour: `auto`, `always` or `never`.
        answer_time: Seconds to stay after the end of piped input.
    """

    connecting: AbstractAsyncContextManager[Client]
    fingerprint: str
    rooms: Sequence[str]
    folder: Path | None
    colour: Literal["auto", "always", "never"] = "auto"
    toolbar: bool = True
    answer_time: float = 0.0

    def run(self, *, plain: bool) -> int:
        """Chat until the user leaves; return the exit status, 130 after SIGINT."""
        return self._run_plain() if plain else self._run_prompt()

    def _run_plain(self) -> int:
        import trio

        from trio_chat.ui import looks, plain, session

        # Descriptors, not Python's streams: a thread that waits in one must not hold the exit up.
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
        face = plain.PlainFace(out, err, looks.wanted(self.colour, os.isatty(out), os.environ))

        async def chat(client: Client) -> None:
            await plain.chat(
                client,
                face,
                source=None if sys.stdin is None else sys.stdin.fileno(),
                rooms=self.rooms,
                cursors=self._cursors(client),
                fingerprint=self.fingerprint,
                answer_time=self.answer_time,
            )

        return trio.run(partial(session.run, self.connecting, chat, interrupt=True))

    def _run_prompt(self) -> int:
        from trio_chat.ui import hosted, looks, prompt, session
        from trio_chat.ui.typed import open_history

        face = prompt.PromptFace(
            colour=looks.wanted(self.colour, True, os.environ),
            toolbar=self.toolbar,
            history=open_history(self.folder / "history") if self.folder else None,
        )

        async def chat(client: Client) -> None:
            await prompt.chat(
                client,
                face,
                rooms=self.rooms,
                cursors=self._cursors(client),
                fingerprint=self.fingerprint,
            )

        return hosted.run(partial(session.run, self.connecting, chat, interrupt=False))

    def _cursors(self, client: Client) -> Cursors:
        from trio_chat.ui.state import open_cursors

        path = self.folder and self.folder / "read.json"
        return open_cursors(path, client.log, client.user)
