"""The arguments of `trio-chat admin`'s commands. Nothing is done here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trio_chat.cli.help import Formatter, arguments
from trio_chat.durations import parse_duration

__all__ = ["add_arguments"]

_WORDS = {
    "kick": "USER[/DEVICE] ",
    "ban": "WHO ",
    "unban": "WHO ",
    "mute": "WHO ",
    "unmute": "WHO ",
    "announce": "TEXT ",
    "revoke": "WHAT ",
    "backup": "PATH ",
    "audit": "[verify] ",
}
_EXAMPLES = {
    "status": """\
  trio-chat admin status --watch
  trio-chat admin status --json | jq .behind""",
    "tree": """\
  trio-chat admin tree""",
    "rooms": """\
  trio-chat admin rooms --json""",
    "users": """\
  trio-chat admin users --json""",
    "kick": """\
  trio-chat admin kick alice
  trio-chat admin kick alice/laptop --reason "please update your client\"""",
    "ban": """\
  trio-chat admin ban bob
  trio-chat admin ban bob/laptop --for 7d --reason "spam"
  trio-chat admin ban address:192.0.2.7 --for 2h
  trio-chat admin ban bob --room ops""",
    "unban": """\
  trio-chat admin unban bob
  trio-chat admin unban bob --room ops""",
    "mute": """\
  trio-chat admin mute bob --for 30m""",
    "unmute": """\
  trio-chat admin unmute bob""",
    "bans": """\
  trio-chat admin bans
  trio-chat admin bans --room ops --json""",
    "announce": """\
  trio-chat admin announce "maintenance at noon\"""",
    "drain": """\
  trio-chat admin drain
  trio-chat admin drain --in 300""",
    "reload": """\
  trio-chat admin reload""",
    "revoke": """\
  trio-chat admin revoke alice/laptop
  trio-chat admin revoke 0x1F2E3D4C
  trio-chat admin revoke pki/bob.crt""",
    "backup": """\
  trio-chat admin backup /backup/chat.db""",
    "lockdown": """\
  trio-chat admin lockdown""",
    "unlock": """\
  trio-chat admin unlock""",
    "check": """\
  trio-chat admin check
  trio-chat admin check --json --ca lab/ca.crt""",
    "audit": """\
  trio-chat admin audit --last 1000
  trio-chat admin audit verify""",
}


_LISTED = {
    "ban": "keep somebody out; likewise unban, mute, unmute, bans",
    "lockdown": "let in only devices that were here before; unlock ends it",
}
_UNLISTED = {"unban", "mute", "unmute", "bans", "unlock"}  # the list is to fit on a screen
_JUDGEMENTS = {
    "ban": "keep a person, a device or an address out",
    "unban": "end a ban",
    "mute": "let somebody read and say nothing",
    "unmute": "end a mute",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `admin`."""
    if not parser.add_help:
        # Not listed: the list of commands needs the place.
        parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="admin_command", metavar="COMMAND ...", required=True)

    status = _command(commands, "status", "how the server is, in numbers")
    status.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    _json(status)

    _json(_command(commands, "tree", "the running tasks, with ages and queues"))
    _json(_command(commands, "rooms", "which rooms there are"))
    _json(_command(commands, "users", "who is connected, device by device"))

    kick = _command(commands, "kick", "end somebody's connections; they may come back")
    kick.add_argument("who", metavar="USER[/DEVICE]", help="whose; DEVICE by name or id")
    kick.add_argument("--reason", metavar="TEXT", help="what they are told")

    for name, summary in _JUDGEMENTS.items():
        command = _command(commands, name, summary)
        command.add_argument(
            "who", metavar="WHO", help="USER, USER/DEVICE, or address:ADDRESS of all behind it"
        )
        command.add_argument("--room", metavar="ROOM", help="only in that room")
        if name in ("ban", "mute"):
            command.add_argument(
                "--for",
                dest="seconds",
                metavar="TIME",
                type=_time,
                help="how long: 30m, 2h, 7d (until it is ended)",
            )
            command.add_argument("--reason", metavar="TEXT", help="what they and the room are told")
    bans = _command(commands, "bans", "who is banned or muted, and until when")
    bans.add_argument("--room", metavar="ROOM", help="in that room (on the whole server)")
    _json(bans)

    announce = _command(commands, "announce", "say something to everybody, as the server")
    announce.add_argument("text", metavar="TEXT", help="what to say; - reads standard input")

    drain = _command(commands, "drain", "stop the server in order, and wait for its end")
    drain.add_argument(
        "--in",
        dest="delay",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="not now; everybody is told when. Does not wait",
    )

    _command(commands, "reload", "read certificates, list and configuration anew")

    revoke = _command(commands, "revoke", "end certificates, and their connections at once")
    revoke.add_argument(
        "what", metavar="WHAT", help="USER, USER/DEVICE, a serial number, or a .crt file"
    )

    backup = _command(commands, "backup", "copy the database while it is in use")
    backup.add_argument(
        "path", metavar="PATH", type=Path, help="a new file, on the server's machine"
    )

    _command(commands, "lockdown", "let in only devices that were here before")
    _command(commands, "unlock", "end a lockdown")

    check = _command(commands, "check", "look for what is wrong, also without a server")
    add = check.add_argument
    add("--cert", type=Path, metavar="FILE", help="the server's (server.crt beside the CA)")
    add("--key", type=Path, metavar="FILE", help="its private key (server.key beside the CA)")
    add("--db", type=Path, metavar="FILE", help="the database (chat.db beside the CA)")
    _json(check)

    audit = _command(commands, "audit", "what admins did, and whether nobody changed that")
    audit.add_argument(
        "verify", nargs="?", choices=("verify",), metavar="verify", help="follow the hashes"
    )
    audit.add_argument(
        "--last", metavar="N", type=_entries, default=50, help="so many entries, to 1000 (50)"
    )
    _json(audit)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse._ArgumentGroup:
    listed: dict[str, Any] = {} if name in _UNLISTED else {"help": _LISTED.get(name, summary)}
    parser = commands.add_parser(
        name,
        **listed,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{_EXAMPLES[name]}",
        usage=f"trio-chat admin {name} {_WORDS.get(name, '')}[OPTION ...]",
        formatter_class=Formatter,
        add_help=False,
        allow_abbrev=False,
    )
    group = arguments(parser)
    group.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        help="the server's CA; admin.sock is beside it (pki/ca.crt)",
    )
    if name == "check":
        parser.set_defaults(at=None)
    else:
        _remote(group)
    return group


def _remote(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--at", metavar="HOST:PORT", help="not over admin.sock, but over TLS, with:")
    add("--cert", type=Path, metavar="FILE", help="your certificate, which has the admin role")
    add("--key", type=Path, metavar="FILE", help="its private key")
    add("--pin", metavar="SHA256", help="trust the server with this key, whatever its name")
    add("--passphrase-file", metavar="FILE", help="opens your key; - is standard input")


def _json(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="JSON on standard output")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 30 * 86400:
        raise argparse.ArgumentTypeError("a number of seconds, up to 30 days")
    return seconds


def _time(text: str) -> int:
    seconds = parse_duration(text)
    if seconds is None:
        raise argparse.ArgumentTypeError("a time like 30m, 2h or 7d, at most ten years")
    return seconds


def _entries(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 1000:
        raise argparse.ArgumentTypeError("a whole number, 1 to 1000")
    return int(text)
