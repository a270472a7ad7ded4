"""The frames: one attrs class each, in the order of docs/protocol.md.

A class's `type` is the wire's; its fields are the wire's, in order, but for `sender`, which
the wire spells `from`. An absent field is None. `id` is chosen by the client and repeated in
the reply. The classes are in commands.py and events.py; this is their table. No bytes, no
sockets, no clock.
"""

from __future__ import annotations

from trio_chat.protocol.commands import (
    Administer,
    Away,
    Chat,
    Create,
    Hello,
    History,
    Join,
    Leave,
    List,
    ListRooms,
    Nick,
    Ping,
    Pong,
    Relay,
    Send,
    SetTopic,
    Typing,
    Whois,
)
from trio_chat.protocol.events import (
    Administered,
    AwayChanged,
    Closing,
    Count,
    Direct,
    Entered,
    Error,
    InputLimit,
    Joined,
    Left,
    Member,
    Message,
    NickChanged,
    Ok,
    Page,
    Person,
    Relayed,
    RoomInfo,
    Rooms,
    Server,
    Topic,
    TypingNow,
    Users,
    Welcome,
)

__all__ = [
    "COMMANDS",
    "EVENTS",
    "PROTOCOL",
    "Administer",
    "Administered",
    "Away",
    "AwayChanged",
    "Chat",
    "Closing",
    "Command",
    "Count",
    "Create",
    "Direct",
    "Entered",
    "Error",
    "Event",
    "Hello",
    "History",
    "InputLimit",
    "Join",
    "Joined",
    "Leave",
    "Left",
    "List",
    "ListRooms",
    "Member",
    "Message",
    "Nick",
    "NickChanged",
    "Ok",
    "Page",
    "Person",
    "Ping",
    "Pong",
    "Relay",
    "Relayed",
    "RoomInfo",
    "Rooms",
    "Send",
    "Server",
    "SetTopic",
    "Topic",
    "Typing",
    "TypingNow",
    "Users",
    "Welcome",
    "Whois",
]

PROTOCOL = 1
"""The version of the protocol that `hello` names."""

Command = (
    Hello
    | Join
    | Leave
    | Create
    | Send
    | History
    | List
    | ListRooms
    | SetTopic
    | Typing
    | Away
    | Nick
    | Whois
    | Chat
    | Relay
    | Ping
    | Pong
    | Administer
)
Event = (
    Welcome
    | Ok
    | Error
    | Joined
    | Message
    | Topic
    | Entered
    | Left
    | Count
    | AwayChanged
    | NickChanged
    | TypingNow
    | Direct
    | Page
    | Users
    | Rooms
    | Person
    | Server
    | Relayed
    | Ping
    | Pong
    | Closing
    | Administered
)

COMMANDS: dict[str, type[Command]] = {kind.type: kind for kind in Command.__args__}
EVENTS: dict[str, type[Event]] = {kind.type: kind for kind in Event.__args__}
