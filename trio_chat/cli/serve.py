"""`trio-chat serve`: starts a server, and is the one place that knows signals and files of it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.cli.help import arguments
from trio_chat.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import signal

    import trio

    from trio_chat.pki import FirstStart
    from trio_chat.server import Desk, Server, ServerConfig

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "run"]

_WRONG = 78  # EX_CONFIG: what `--check` returns where something is wrong
_HERE = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - compared, not bound

_MODES = {
    "encrypted": "the server cannot read them",
    "plain": "the server can read them",
}

USAGE = "trio-chat serve [--room NAME]... [--ca FILE] [ARGUMENTS]"
SUMMARY = "run a chat server, with a CA of its own on first start"
EPILOG = """\
examples:
  trio-chat serve --room ops --host 0.0.0.0 --public-name chat.example.org
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options. None is what the file or the default says."""
    add = arguments(parser).add_argument
    add(
        "--room",
        dest="rooms",
        action="append",
        metavar="NAME",
        help="have this room; repeatable",
    )
    add("--ca", type=Path, metavar="FILE", help="the CA's certificate (pki/ca.crt)")
    add("--cert", type=Path, metavar="FILE", help="the server's (server.crt beside the CA)")
    add("--key", type=Path, metavar="FILE", help="its private key (server.key beside the CA)")
    add("--passphrase-file", metavar="FILE", help="opens the key; - is standard input")
    add("--host", "-ip", help="listen on this address (127.0.0.1)")
    add("--port", "-p", type=_port, help="listen on this port; 0 is any (8443)")
    add(
        "--public-name",
        dest="public_names",
        action="append",
        metavar="NAME",
        help="what people call this machine, for its certificate",
    )
    add("--db", type=Path, metavar="FILE", help="the database (chat.db beside the CA)")
    add("--config", type=Path, metavar="FILE", help="all of this and the limits, in TOML")
    add(
        "--plain",
        dest="mode",
        action="store_const",
        const="plain",
        help="make the rooms ones that the server can read",
    )
    add(
        "--registration",
        choices=("closed", "invite", "open"),
        metavar="WHO",
        help="who may register: closed, invite, open (invite)",
    )
    add("--verbose", "-v", action="store_const", const=True, help="log every connection")
    add("--check", action="store_true", help="tell what is wrong, and start nothing")
    add("--print-config", action="store_true", help="show what counts, and from where")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text[:6]) < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text[:6])


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    import trio

    from trio_chat.cli.passphrase import read_passphrase
    from trio_chat.cli.settings import settle

    if options.check or options.print_config:
        return _tell(options)
    settings = settle(options)
    config = settings.config(None)  # what is wrong there must be seen before anything is made
    first = _first_start(config, settings.values["public_names"])
    if first is not None:
        _announce_made(first)
    else:
        _warn_of_names(config.ca, config.cert, settings.values["public_names"])
    _set_up_logging(verbose=settings.values["verbose"])
    passphrase = read_passphrase(config.key, _text(settings.values["passphrase_file"]))

    def configure() -> ServerConfig:
        return settle(options).config(passphrase)

    _allow_many_files()
    _settle_memory()
    try:
        trio.run(_serve, configure, first)
    except* (ConfigError, StoreError) as group:
        raise _first_of(group) from None
    return 0


def _text(path: Path | str | None) -> str | None:
    return None if path is None else str(path)


def _tell(options: argparse.Namespace) -> int:
    """Show the configuration, or what is wrong in it and in the files it names."""
    from trio_chat.cli.admin_tables import findings
    from trio_chat.cli.check import Checked, check, findings_as_json
    from trio_chat.cli.settings import settle
    from trio_chat.errors import ChatError
    from trio_chat.pki import Place, server_hosts, server_leaf
    from trio_chat.text import safe

    try:
        settings = settle(options)
        config = settings.config(None)
        server_leaf(server_hosts(settings.values["public_names"]))
    except ChatError as error:
        error.exit_status = _WRONG  # type: ignore[attr-defined]  # main's word for it
        raise
    if options.print_config:
        print("\n".join(map(safe, settings.lines())))
    if not options.check:
        return 0
    if not Place(config.ca).folder.exists() or not any(Place(config.ca).folder.iterdir()):
        print(f"the configuration is in order; {config.ca} is made on first start", file=sys.stderr)
        return 0
    files = Checked(ca=config.ca, cert=config.cert, key=config.key, db=config.db)
    found = findings_as_json(check(files))
    print(findings(found), file=sys.stderr)
    return _WRONG if any(each["state"] == "wrong" for each in found) else 0


async def _serve(configure: Callable[[], ServerConfig], first: FirstStart | None) -> None:
    from functools import partial

    import trio

    from trio_chat.cli.admin_client import socket_of
    from trio_chat.cli.invite import keep_address
    from trio_chat.cli.revoking import revoke
    from trio_chat.cli.upkeep import keep_up
    from trio_chat.server import Desk, Tools, open_admin_socket, serve_admin

    config = configure()
    tools = Tools(configure, partial(revoke, config.ca))
    had_terminal = sys.stderr.isatty()  # asked now: it may be closed at any time
    # Before anything is begun: what is sent while it starts is heeded once it runs.
    with trio.open_signal_receiver(*_signals()) as signals:
        async with trio.open_nursery() as nursery:
            helpers = trio.CancelScope()
            server: Server = await nursery.start(_until_done, config, helpers)
            with helpers, open_admin_socket(socket_of(config.ca)) as admins:
                _announce(server, first)
                await trio.to_thread.run_sync(keep_address, server)
                async with trio.open_nursery() as beside:
                    desk = Desk(server, tools, beside)
                    beside.start_soon(_heed_signals, signals, desk, had_terminal)
                    if admins is not None:
                        beside.start_soon(serve_admin, desk, admins)
                    beside.start_soon(keep_up, config.ca, config.cert)


async def _until_done(
    config: ServerConfig, helpers: trio.CancelScope, *, task_status: trio.TaskStatus[Server]
) -> None:
    """Run the server; when it has ended, what runs beside it ends too."""
    from trio_chat.server import serve

    try:
        await serve(config, task_status=task_status)
    finally:
        helpers.cancel()


def _signals() -> list[signal.Signals]:
    """Return the signals that mean something to a server, as far as the system has them."""
    import signal

    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


async def _heed_signals(signals: AsyncIterator[int], desk: Desk, had_terminal: bool) -> None:
    import logging
    import signal

    from trio_chat.server import Reload, task_tree

    server = desk.server
    log = logging.getLogger("trio_chat.server")
    async for number in signals:
        match signal.Signals(number).name:
            case "SIGTERM" | "SIGINT":
                log.info("draining: telling everybody, then stopping")
                server.drain()
            case "SIGHUP" if had_terminal and not sys.stderr.isatty():
                server.drain()  # the terminal that it ran in has been closed
            case "SIGHUP":
                try:
                    await desk.do("signal HUP", Reload())
                except (ConfigError, StoreError) as error:
                    log.error("not reloaded, everything stays as it was: %s", error)
                else:
                    log.info("reloaded certificates, revocation list and configuration")
            case "SIGUSR1":
                numbers = (server.statistics(), server.store.statistics())
                log.info("%s\n%s\n%s", *numbers, "\n".join(task_tree()))


# --- before it runs ----------------------------------------------------------------------


def _first_start(config: ServerConfig, public_names: list[str]) -> FirstStart | None:
    import getpass

    from trio_chat.pki import ensure_pki

    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = "owner"  # no entry for this user id
    try:
        return ensure_pki(
            config.ca,
            public_names=public_names,
            login=login,
            cert=config.cert,
            key=config.key,
        )
    except PermissionError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from None


def _set_up_logging(*, verbose: bool) -> None:
    import logging

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )


def _allow_many_files() -> None:
    """Raise the limit on open files as far as it goes: each connection is one."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settle_memory() -> None:
    """Keep what start-up made out of the collector's way, and have it look less often."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _announce_made(first: FirstStart) -> None:
    """Say what was made, at once: whatever fails after it, it is there."""
    made = ", ".join(path.name for path in first.files)
    print(f"made a private CA in {first.ca.parent}: {made}", file=sys.stderr)
    if first.server is not None:
        print(f"the server is known as {', '.join(first.hosts)}", file=sys.stderr)
    print(f"{first.user} is the first user and has the admin role", file=sys.stderr, flush=True)


def _warn_of_names(ca: Path, cert: Path | None, names: Sequence[str]) -> None:
    """Say which public names come too late: the certificate was made without them."""
    from cryptography import x509

    from trio_chat.pki import Place, read_certificate, server_leaf

    if not names:
        return
    place = Place(ca)
    cert = cert or place.server_certificate
    try:
        found = read_certificate(cert).extensions
        listed = set(found.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        listed = set()
    for name in names:
        if not listed.issuperset(server_leaf([name]).names):
            print(
                f"trio-chat: warning: {cert} does not list {name}, so clients refuse that name\n"
                f"trio-chat: hint: move it and its key away, then trio-chat pki issue --server "
                f"--public-name {name}{place.as_option()}",
                file=sys.stderr,
            )


def _announce(server: Server, first: FirstStart | None) -> None:
    from trio_chat.address import Address

    if not server.modes:
        print("rooms: none; `/create NAME` makes one", file=sys.stderr)
    for mode, meaning in _MODES.items():
        if rooms := ", ".join(name for name in server.modes if server.modes[name] == mode):
            print(f"rooms: {rooms} ({mode}: {meaning})", file=sys.stderr)
    for host, port in server.addresses:
        print(f"listening on {Address(host, port)}", file=sys.stderr)
    if first is not None:
        host = "localhost" if server.config.host in _HERE else server.config.host
        line = first.join_line(str(Address(host, server.port)))
        print(f"to join: {line}", file=sys.stderr)
    sys.stderr.flush()


def _first_of(group: BaseExceptionGroup[ConfigError | StoreError]) -> ConfigError | StoreError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigError | StoreError)
    return error
