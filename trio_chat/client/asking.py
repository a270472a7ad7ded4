"""What an encrypted room asks of the server, and what its answers are to a conversation.

Nothing that a server or a member sends may be more than useless: what is no base64 becomes
nothing, which nobody takes for a key; what cannot go on without the server is a `ChatError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

from trio_chat.client.blobs import decode, download, encode
from trio_chat.client.requests import Asking
from trio_chat.client.state import UnknownEntry
from trio_chat.e2ee.changes import Cursor
from trio_chat.e2ee.delivery import Info, Kind, LogEntry, Offer, Parcel, Welcomed
from trio_chat.errors import NoGroup, NoUser, NoWelcome, ProtocolError, Refused
from trio_chat.protocol import frames
from trio_chat.protocol.codec import decode_event_object

__all__ = ["claim", "fetch_info", "fetch_welcome", "following", "log_entry", "page", "sent"]

PAGE = 200  # entries asked for at once
TRIES = 3  # for a tree that is dropped while it is fetched, since another has taken its place

Ask = Callable[[Asking], Awaitable[frames.Event]]
Frame = frames.Message | frames.Topic | frames.Acted | UnknownEntry


async def fetch_welcome(ask: Ask, room: str) -> Welcomed | None:
    """Return the Welcome for this device, if there is one."""
    try:
        found = await ask(frames.GetWelcome(room))
    except NoWelcome:
        return None
    assert isinstance(found, frames.MlsWelcome)
    tree = await _tree(ask, room, found.tree)
    return Welcomed(epoch=found.epoch, seq=found.seq, body=_bytes(found.body), tree=tree)


async def fetch_info(ask: Ask, room: str) -> Info | None:
    """Return what lets this device join by itself, if the room has a group.

    Raises:
        ProtocolError: The server has not what it says it has.
    """
    for _ in range(TRIES):
        try:
            found = await ask(frames.GetInfo(room))
        except NoGroup:
            return None
        assert isinstance(found, frames.Info)
        tree = await _tree(ask, room, found.tree)
        if tree:
            return Info(epoch=found.epoch, seq=found.seq, body=_bytes(found.body), tree=tree)
    raise ProtocolError(f"the server has lost the tree of {room}'s group")


async def claim(ask: Ask, users: Iterable[str]) -> tuple[dict[str, list[Offer]], Refused | None]:
    """Claim key packages; return them by user, and why not those of all, if the server refused."""
    offers: dict[str, list[Offer]] = {}
    for user in users:
        try:
            offers[user] = await _claim(ask, user)
        except Refused as error:
            return offers, error
    return offers, None


async def _claim(ask: Ask, user: str) -> list[Offer]:
    """Return a key package of each device of a user."""
    try:
        found = await ask(frames.ClaimPackages(user))
    except NoUser:
        return []
    assert isinstance(found, frames.Packages)
    return [Offer(each.device, _bytes(each.package)) for each in found.packages]


async def page(ask: Ask, room: str, after: int, end: int) -> tuple[list[LogEntry], int]:
    """Return what follows `after` in a room's log, before `end`, and where that begins.

    Returns:
        Entries without a gap among them, and the place before the first of them: it is more
        than `after` if the log is no longer kept so far back.

    Raises:
        ProtocolError: The server has left something out.
    """
    reply = await ask(frames.History(room, after=after, limit=PAGE))
    assert isinstance(reply, frames.Page)
    before = min(max(after, reply.first - 1), end - 1)
    found = [e for e in map(_paged, reply.entries) if before < e.seq < end]
    places = [each.seq for each in found]
    if places != list(range(before + 1, before + 1 + len(found))):
        raise ProtocolError(f"the server left out an entry of {room}'s log")
    if not found and before < end - 1:
        raise ProtocolError(f"the server gave nothing of what {room}'s log is said to have")
    return found, before


def next_entries(queue: Iterable[LogEntry], limit: int, *, careful: bool) -> list[LogEntry]:
    """Return the first entries, at most `limit`, and if `careful` none after a commit.

    What comes after a commit that takes us out may be for us again.
    """
    found = list(islice(queue, limit))
    if careful:
        turns = (at for at, entry in enumerate(found) if entry.kind in ("commit", "create"))
        return found[: next(turns, limit) + 1]
    return found


def following(entries: Sequence[LogEntry], cursor: Cursor | None) -> list[LogEntry]:
    """Return what follows the cursor, as far as it is here without a gap."""
    found: list[LogEntry] = []
    last = -1 if cursor is None else cursor.seq
    for entry in entries:
        if cursor is None or entry.seq > last + 1:
            break
        last = max(last, entry.seq)
        found.append(entry)
    return found


def log_entry(frame: Frame) -> LogEntry:
    """Return an entry as the conversation takes it; what is not encrypted is `other`.

    It is never taken for something that this device has sent: no device has the name "".
    """
    if isinstance(frame, frames.Message) and frame.kind in _KINDS and frame.body is not None:
        return LogEntry(
            seq=frame.seq,
            time=frame.time,
            user=frame.sender,
            device=frame.device,
            n=frame.n,
            epoch=frame.epoch or 0,
            kind=frame.kind,  # type: ignore[arg-type]  # one of these
            body=_bytes(frame.body),
        )
    user = "" if isinstance(frame, UnknownEntry) else frame.sender
    kind: Kind = "act" if isinstance(frame, frames.Acted) else "other"
    return LogEntry(
        seq=frame.seq, time=frame.time, user=user, device="", n=0, epoch=0, kind=kind, body=b""
    )


_KINDS = ("message", "proposal", "commit", "create")


def sent(room: str, parcel: Parcel, tree: str | None) -> frames.SendSealed:
    """Return a parcel as it is sent; `tree` is the blob that it names."""
    welcomes = [frames.WelcomeFor(list(to), encode(body)) for to, body in parcel.welcomes]
    return frames.SendSealed(
        room=room,
        n=parcel.n,
        epoch=parcel.epoch,
        kind=parcel.kind,  # type: ignore[arg-type]  # never `other`
        body=encode(parcel.body),
        welcomes=welcomes or None,
        info=None if parcel.info is None else encode(parcel.info),
        tree=tree,
    )


def _paged(found: object) -> LogEntry:
    """Return an entry of a page."""
    if not isinstance(found, dict) or type(found.get("seq")) is not int:
        raise ProtocolError("the server sent a page of something else")
    try:
        entry: object = decode_event_object(found)
    except ProtocolError as error:
        if error.code != "unknown-type":
            raise
        time = found.get("time")
        entry = UnknownEntry("", found["seq"], time if isinstance(time, float) else 0.0)
    if isinstance(entry, Frame):
        return log_entry(entry)
    raise ProtocolError("the server sent a page of something else")


async def _tree(ask: Ask, room: str, blob: str) -> bytes:
    """Return a group's tree, or nothing if it is no longer kept."""
    try:
        return await download(ask, room, blob)
    except Refused as error:
        if error.code == "no-blob":
            return b""
        raise


def _bytes(text: str) -> bytes:
    """Return the bytes of a frame's field that a member has filled in."""
    try:
        return decode(text)
    except ProtocolError:
        return b""
