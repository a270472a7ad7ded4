"""What the terminal client keeps between two runs: how far each room was read.

One small file in the state folder, written whole. May know files, no client and no terminal.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from trio_chat import names
from trio_chat.errors import ConfigError
from trio_chat.files import replace_file

__all__ = ["Cursors", "open_cursors", "state_folder"]


def state_folder() -> Path:
    """Return the folder for state, made on demand; only its owner may look into it.

    Raises:
        ConfigError: it cannot be made.
    """
    import platformdirs

    folder = Path(platformdirs.user_state_path("trio-chat", appauthor=False))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from None
    return folder


@attrs.define
class Cursors:
    """The last entry seen of each room, of one person and one history of the server.

    Attributes:
        path: The file; None keeps nothing.
        log: The history's id: another one means that the numbers mean nothing any more.
        user: Whose cursors these are.
    """

    path: Path | None
    log: str
    user: str
    _seen: dict[str, int] = attrs.field(factory=dict)
    _dirty: bool = False

    def get(self, room: str) -> int | None:
        """Return the last entry seen in a room, None if it was never open."""
        return self._seen.get(names.key(room))

    def set(self, room: str, seq: int) -> None:
        """Note that a room was read up to `seq`; it never goes back."""
        key = names.key(room)
        if seq > self._seen.get(key, -1):
            self._seen[key] = seq
            self._dirty = True

    def forget(self, room: str) -> None:
        """Drop what is known of a room, whose history began anew."""
        self._seen.pop(names.key(room), None)
        self._dirty = True

    def save(self) -> None:
        """Write the file if something changed; what other programs wrote stays.

        Raises:
            ConfigError: it cannot be written.
        """
        if self.path is None or not self._dirty:
            return
        found = _load(self.path)
        mine = found.setdefault(self.log, {}).setdefault(names.key(self.user), {})
        for room, seq in self._seen.items():
            mine[room] = max(seq, mine.get(room, 0))
        replace_file(self.path, json.dumps(found, indent=1).encode() + b"\n", mode=0o600)
        self._dirty = False


def open_cursors(path: Path | None, log: str, user: str) -> Cursors:
    """Read the cursors of `user`; a file that is missing or damaged counts as empty."""
    found = _load(path) if path is not None else {}
    return Cursors(path, log, user, found.get(log, {}).get(names.key(user), {}))


def _load(path: Path) -> dict[str, dict[str, dict[str, int]]]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        log: {
            user: {room: seq for room, seq in rooms.items() if type(seq) is int and seq >= 0}
            for user, rooms in people.items()
            if isinstance(rooms, dict)
        }
        for log, people in found.items()
        if isinstance(people, dict)
    }
