"""How the answers to `trio-chat admin` look. Text only; nothing is decided here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from trio_chat.address import Address
from trio_chat.text import safe

__all__ = [
    "audit",
    "bans",
    "chain",
    "findings",
    "rooms",
    "size_text",
    "status",
    "time_text",
    "tree",
    "users",
]

Fields = dict[str, Any]


def status(found: Fields) -> str:
    """Return some lines about how the server is."""
    where = ", ".join(str(Address(*each)) for each in found["addresses"])
    database, now = found["database"], found["time"]
    pairs = [
        ("server", f"{found['server']} at {where}, pid {found['pid']}"),
        ("state", _state(found)),
        (
            "connections",
            f"{found['connections']} of {found['people']} people; {found['behind']} behind, "
            f"{found['unauthenticated']} not let in yet",
        ),
        ("rooms", f"{found['rooms']} in use"),
        ("memory", f"{size_text(found['memory'])}, {found['tasks']} tasks"),
        (
            "database",
            f"{size_text(database['size'])}, {database['commits']} commits, "
            f"{database['failures']} failed, {database['waiting']} waiting",
        ),
        (
            "commits",
            f"the last took {database['last_commit'] * 1000:.1f} ms, the slowest "
            f"{database['slowest_commit'] * 1000:.1f} ms, durability {found['durability']}",
        ),
        ("certificate", _end(found["certificate_ends"], now)),
        ("CA", _end(found["ca_ends"], now)),
        ("list", found["crl_problem"] or _end(found["crl_ends"], now)),
    ]
    return "\n".join(f"{label:>11}  {safe(text)}" for label, text in pairs)


def _state(found: Fields) -> str:
    state = f"running for {time_text(found['uptime'])}"
    if found.get("locked_since") is not None:
        state += ", locked down"
    if found["draining"]:
        state += ", draining"
    elif found["drains_in"] is not None:
        state += f", drains in {time_text(found['drains_in'])}"
    return state


def _end(end: float | None, now: float) -> str:
    if end is None:
        return "none"
    when = time.strftime("%Y-%m-%d", time.gmtime(end))
    return f"ends in {time_text(end - now)}, on {when}" if end > now else f"HAS ENDED on {when}"


def tree(found: Fields) -> str:
    """Return one line a task, indented, with its age and what there is to say of it."""
    return "\n".join(_task(task) for task in found["tasks"])


def _task(task: Fields) -> str:
    known = ("depth", "name", "age")
    more = [f"{key} {_shown(value)}" for key, value in task.items() if key not in known]
    name = safe("  " * task["depth"] + task["name"])
    return f"{name:<60}  {time_text(task['age']):>8}  {safe(', '.join(more))}".rstrip()


def rooms(found: Sequence[Fields]) -> str:
    """Return a table of rooms."""
    head = ("ROOM", "MODE", "MEMBERS", "QUEUE", "MESSAGES", "TOPIC")
    keys = ("room", "mode", "members", "queue", "seq", "topic")
    return _table(head, ([_shown(each[key]) for key in keys] for each in found))


def users(found: Fields) -> str:
    """Return a table of connected devices."""
    head = ("USER", "DEVICE", "ID", "ROLES", "ADDRESS", "ROOMS", "HERE", "SILENT", "AWAY")
    rows = (
        (
            each["user"],
            _shown(each["name"]),
            each["device"][:8] + each["device"][32:],
            ",".join(each["roles"]) or "-",
            each["address"],
            str(each["rooms"]),
            time_text(each["here"]),
            "behind" if each["behind"] else time_text(each["silent"]),
            _shown(each["away"]),
        )
        for each in found["users"]
    )
    return _table(head, rows)


def bans(found: Sequence[Fields]) -> str:
    """Return a table of bans and mutes."""
    head = ("KIND", "WHO", "SINCE (UTC)", "UNTIL (UTC)", "BY", "REASON")
    rows = (
        (
            each["kind"],
            _subject(each),
            _moment(each["since"]),
            _moment(each["until"]),
            each["by"],
            _shown(each["reason"]),
        )
        for each in found
    )
    return _table(head, rows)


def _subject(found: Fields) -> str:
    if found["address"] is not None:
        return f"address:{found['address']}"
    return f"{found['user']}/{found['device']}" if found["device"] else str(found["user"])


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def audit(found: Sequence[Fields]) -> str:
    """Return a table of entries of the audit log."""
    head = ("N", "TIME (UTC)", "WHO", "WHAT", "TO", "OUTCOME")
    return _table(head, map(_entry, found))


def _entry(entry: Fields) -> Sequence[str]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.get("time", 0)))
    of = entry.get("of")
    outcome = entry.get("outcome", "?") + (f" (of {of})" if of else "")
    texts = (_shown(entry.get(key)) for key in ("actor", "action", "target"))
    return (str(entry.get("n", "?")), moment, *texts, outcome)


def chain(found: Fields) -> str:
    """Return whether the audit log is whole."""
    if found["problem"]:
        return safe(f"broken: {found['problem']}; {found['entries']} entries before it are whole")
    lines = [f"whole: {found['entries']} entries; the last one's hash is {found['hash']}"]
    if found["unfinished"]:
        numbers = ", ".join(map(str, found["unfinished"]))
        lines.append(f"without an outcome: {numbers}; the server ended meanwhile, or is at it")
    return "\n".join(lines)


def findings(found: Sequence[Fields]) -> str:
    """Return what a check has found, a line each, with what mends it."""
    lines = []
    for each in found:
        lines.append(safe(f"{each['state']:<7}  {each['what']:<11}  {each['text']}"))
        if each["hint"]:
            lines.append(safe(f"{'':<20}  {each['hint']}"))
    return "\n".join(lines)


def time_text(seconds: float) -> str:
    """Return a span of time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours < 1:
        return f"{minutes} min {int(seconds % 60)} s"
    if days < 1:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h" if days < 100 else f"{days} d"


def size_text(size: int | None) -> str:
    """Return a number of bytes in a unit of its magnitude."""
    if size is None:
        return "unknown"
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _shown(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [tuple(head), *(tuple(map(safe, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
