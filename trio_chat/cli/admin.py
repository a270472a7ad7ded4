"""`trio-chat admin`: looks after a running server, over a socket beside its CA, or from afar."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trio_chat.cli.admin_arguments import add_arguments
from trio_chat.errors import ConfigError

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "run"]

USAGE = "trio-chat admin COMMAND ..."
SUMMARY = "look after a running server"

EPILOG = """\
examples:
  trio-chat admin revoke alice/laptop   a device was lost
  trio-chat admin ban bob --for 7d      keep him out for a week"""

_INTERVAL = 1.0  # s between looks of `status --watch`


def run(options: argparse.Namespace) -> int:
    """Do what the command says."""
    if options.ca is None and options.at is None:  # afar, it lies beside one's certificate
        options.ca = Path("pki/ca.crt")
    return _ACTIONS[options.admin_command](options)


def _status(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask
    from trio_chat.cli.admin_tables import status

    if options.watch:
        return _watch(options)
    found = ask(options, "status")
    print(_as_json(found) if options.json else status(found))
    return 0


def _watch(options: argparse.Namespace) -> int:
    """Show it again and again, in place where that can be done; Ctrl-C is the way out."""
    import time

    from trio_chat.cli.admin_client import ask
    from trio_chat.cli.admin_tables import status

    in_place = sys.stdout.isatty() and not options.json
    try:
        while True:
            found = ask(options, "status")
            text = json.dumps(found) if options.json else status(found)
            if in_place:
                print("\x1b[H\x1b[J", end="")
            print(text, flush=True)
            time.sleep(_INTERVAL)
    except KeyboardInterrupt:
        return 0


def _tree(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_tables import tree

    return _show(options, "tree", tree)


def _users(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_tables import users

    return _show(options, "users", users)


def _show(options: argparse.Namespace, command: str, table: Callable[[dict[str, Any]], str]) -> int:
    from trio_chat.cli.admin_client import ask

    result = ask(options, command)
    print(_as_json(next(iter(result.values()))) if options.json else table(result))
    return 0


def _rooms(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import talk_to
    from trio_chat.cli.admin_tables import rooms

    found: list[dict[str, Any]] = []
    after: str | None = ""
    with talk_to(options) as talk:
        while after is not None:
            page = talk.ask("rooms", after=after)
            found += page["rooms"]
            after = page["next"]
    print(_as_json(found) if options.json else rooms(found))
    return 0


def _kick(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    ended = ask(options, "kick", who=options.who, reason=options.reason)["ended"]
    _say(f"ended {_connections(ended)}")
    return 0


def _judge(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask
    from trio_chat.durations import spoken

    command = options.admin_command
    given = {"who": options.who, "room": options.room}
    if command in ("ban", "mute"):
        given |= {"seconds": options.seconds, "reason": options.reason}
    result = ask(options, command, **given)
    where = "everywhere" if options.room is None else f"in {options.room}"
    done = f"{_JUDGED[command]} {result['who']} {where}"
    if command in ("ban", "mute"):
        done += f" for {spoken(options.seconds)}" if options.seconds else ""
        done += f"; that is {_connections(result['met'])} now"
    _say(done)
    return 0


_JUDGED = {
    "ban": "banned",
    "unban": "ended the ban of",
    "mute": "muted",
    "unmute": "ended the mute of",
}


def _bans(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask
    from trio_chat.cli.admin_tables import bans

    found = ask(options, "bans", room=options.room)["sanctions"]
    print(_as_json(found) if options.json else bans(found))
    return 0


def _announce(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    text = options.text
    if text == "-":
        text = sys.stdin.read().removesuffix("\n")
    if not text.strip():
        raise ConfigError("there is no text to say")
    _say(f"told {_connections(ask(options, 'announce', text=text)['told'])}")
    return 0


def _drain(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import talk_to

    with talk_to(options) as talk:
        talk.ask("drain", delay=options.delay)
        if options.delay:
            _say(f"the server stops in {options.delay:g} s; everybody was told")
            return 0
        _say("draining")
        if talk.wait_for_end():
            _say("the server has ended")
    return 0


def _reload(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    changes = ask(options, "reload", patient=True)["changes"]
    for change in changes:
        print(_safe(f"{change['name']}: {change['old']} -> {change['new']}"))
    _say("reloaded" if changes else "reloaded; nothing had changed")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    path = Path(options.what)
    certificate = None
    if path.suffix in (".crt", ".pem", ".cer") and path.is_file():
        try:
            certificate = path.read_text(encoding="ascii")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path} holds no certificate in PEM") from None
    result = ask(options, "revoke", patient=True, what=options.what, certificate=certificate)
    for serial in result["serials"]:
        print(serial)
    _say(f"revoked; ended {_connections(result['ended'])}")
    return 0


def _backup(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask
    from trio_chat.cli.admin_tables import size_text

    path = options.path if options.at else options.path.absolute()
    result = ask(options, "backup", patient=True, path=str(path))
    print(_safe(result["path"]))
    _say(f"{size_text(result['size'])}, checked; only {result['key']} opens it: keep that, too")
    return 0


def _lockdown(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    ask(options, "lockdown")
    _say("locked down: only devices that were here before; nobody can enrol. unlock ends it")
    return 0


def _unlock(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask

    locked = ask(options, "unlock")["was_locked"]
    _say("open again" if locked else "it was not locked")
    return 0


def _check(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_tables import findings
    from trio_chat.cli.check import Checked, check, findings_as_json

    place = options.ca.parent
    checked = Checked(
        ca=options.ca,
        cert=options.cert or place / "server.crt",
        key=options.key or place / "server.key",
        db=options.db or place / "chat.db",
    )
    found = findings_as_json(check(checked))
    print(_as_json(found) if options.json else findings(found))
    return int(any(each["state"] == "wrong" for each in found))


def _audit(options: argparse.Namespace) -> int:
    from trio_chat.cli.admin_client import ask
    from trio_chat.cli.admin_tables import audit, chain

    if options.verify:
        result = ask(options, "verify-audit", patient=True)
        print(_as_json(result) if options.json else chain(result))
        return int(result["problem"] is not None)
    entries = ask(options, "audit", limit=options.last)["entries"]
    print(_as_json(entries) if options.json else audit(entries))
    return 0


def _connections(count: int) -> str:
    return f"{count} connection{'s' * (count != 1)}"


def _as_json(found: object) -> str:
    return json.dumps(found, ensure_ascii=False, indent=2)


def _safe(text: str) -> str:
    from trio_chat.text import safe

    return safe(text)


def _say(text: str) -> None:
    sys.stdout.flush()
    print(_safe(text), file=sys.stderr)


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": _status,
    "tree": _tree,
    "rooms": _rooms,
    "users": _users,
    "kick": _kick,
    "ban": _judge,
    "unban": _judge,
    "mute": _judge,
    "unmute": _judge,
    "bans": _bans,
    "announce": _announce,
    "drain": _drain,
    "reload": _reload,
    "revoke": _revoke,
    "backup": _backup,
    "lockdown": _lockdown,
    "unlock": _unlock,
    "check": _check,
    "audit": _audit,
}
