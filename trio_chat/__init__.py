"""Chat for people who own their certificate authority, structured with Trio.

The public API, loaded when first used:

* `connect` opens a `Client`; its rooms are `Room`s, its events `Message`s and the other
  frames of `trio_chat.protocol.frames`, and those of `trio_chat.client`;
* `serve` runs a server inside another Trio program, as `ServerConfig` says;
* what can go wrong is a `ChatError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trio_chat.client import Client as Client
    from trio_chat.client import Room as Room
    from trio_chat.client import connect as connect
    from trio_chat.errors import ChatError as ChatError
    from trio_chat.protocol.frames import Message as Message
    from trio_chat.server import ServerConfig as ServerConfig
    from trio_chat.server import serve as serve

__all__ = [
    "ChatError",
    "Client",
    "Message",
    "Room",
    "ServerConfig",
    "__version__",
    "connect",
    "serve",
]

_HOMES = {
    "ChatError": "trio_chat.errors",
    "Message": "trio_chat.protocol.frames",
    "Client": "trio_chat.client",
    "Room": "trio_chat.client",
    "connect": "trio_chat.client",
    "ServerConfig": "trio_chat.server",
    "serve": "trio_chat.server",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `--help` need not wait."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
