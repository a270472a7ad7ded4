"""The client library: `connect` gives a `Client`, that gives `Room`s and events."""

from __future__ import annotations

from trio_chat.client.administering import administer as administer
from trio_chat.client.client import Client as Client
from trio_chat.client.connecting import connect as connect
from trio_chat.client.devices import AUTO as AUTO
from trio_chat.client.events import ClientEvent as ClientEvent
from trio_chat.client.events import Connected as Connected
from trio_chat.client.events import Gap as Gap
from trio_chat.client.events import Offline as Offline
from trio_chat.client.events import RoomClosed as RoomClosed
from trio_chat.client.events import RoomReset as RoomReset
from trio_chat.client.room import Room as Room

__all__ = [
    "AUTO",
    "Client",
    "ClientEvent",
    "Connected",
    "Gap",
    "Offline",
    "Room",
    "RoomClosed",
    "RoomReset",
    "administer",
    "connect",
]
