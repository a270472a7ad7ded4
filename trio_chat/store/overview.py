"""What there is, for whoever runs the server: also what nobody else is shown."""

from __future__ import annotations

import apsw
import attrs

from trio_chat import names
from trio_chat.store.database import rows_of

__all__ = ["RoomOverview", "every_room"]


@attrs.frozen
class RoomOverview:
    """A room, as an admin sees it."""

    name: str
    mode: str
    topic: str
    seq: int


def every_room(after: str, limit: int, db: apsw.Connection) -> list[RoomOverview]:
    """Return up to `limit` rooms after that name, by key, but for two-person rooms."""
    statement = """
        SELECT name, mode, topic, coalesce(
            (SELECT last FROM batch WHERE batch.room = room.id ORDER BY first DESC LIMIT 1), floor)
        FROM room WHERE direct = 0 AND key > ? ORDER BY key LIMIT ?
    """
    with rows_of(db, statement, names.key(after), limit) as rows:
        return [RoomOverview(*row) for row in rows]
