"""The client library: `connect` gives a `Client`, that gives `Room`s and events."""

from __future__ import annotations

from trio_chat.client.accounts import Trust, change_password, get_account, log_in, register
from trio_chat.client.administering import administer as administer
from trio_chat.client.client import Client as Client
from trio_chat.client.connecting import connect as connect
from trio_chat.client.devices import AUTO as AUTO
from trio_chat.client.enrolling import Enrolment as Enrolment
from trio_chat.client.enrolling import enrol as enrol
from trio_chat.client.events import ClientEvent as ClientEvent
from trio_chat.client.events import Connected as Connected
from trio_chat.client.events import Gap as Gap
from trio_chat.client.events import Offline as Offline
from trio_chat.client.events import RoomClosed as RoomClosed
from trio_chat.client.events import RoomReset as RoomReset
from trio_chat.client.news import ComparisonAsked as ComparisonAsked
from trio_chat.client.news import ComparisonDone as ComparisonDone
from trio_chat.client.news import ComparisonFailed as ComparisonFailed
from trio_chat.client.news import ComparisonShown as ComparisonShown
from trio_chat.client.news import Excluded as Excluded
from trio_chat.client.news import KeyChanged as KeyChanged
from trio_chat.client.news import MembersChanged as MembersChanged
from trio_chat.client.news import News as News
from trio_chat.client.news import Readable as Readable
from trio_chat.client.news import Unreadable as Unreadable
from trio_chat.client.own_devices import list_devices, revoke_device
from trio_chat.client.remembered import Remembered as Remembered
from trio_chat.client.remembered import recall as recall
from trio_chat.client.room import Room as Room
from trio_chat.client.trusting import RoomReader as RoomReader
from trio_chat.e2ee.people import Number as Number
from trio_chat.e2ee.people import Standing as Standing

__all__ = [
    "AUTO",
    "Client",
    "ClientEvent",
    "ComparisonAsked",
    "ComparisonDone",
    "ComparisonFailed",
    "ComparisonShown",
    "Connected",
    "Enrolment",
    "Excluded",
    "Gap",
    "KeyChanged",
    "MembersChanged",
    "News",
    "Number",
    "Offline",
    "Readable",
    "Remembered",
    "Room",
    "RoomClosed",
    "RoomReader",
    "RoomReset",
    "Standing",
    "Trust",
    "Unreadable",
    "administer",
    "change_password",
    "connect",
    "enrol",
    "get_account",
    "list_devices",
    "log_in",
    "recall",
    "register",
    "revoke_device",
]
