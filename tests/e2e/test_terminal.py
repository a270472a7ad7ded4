"""The terminal client in a real pseudo-terminal, against a real server: what a person sees."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.people import People

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")

PROGRAM = (sys.executable, "-m", "trio_chat")
COLUMNS, ROWS = 80, 20
PATIENCE = 20.0  # seconds until something must be on the screen


@attrs.define
class Terminal:
    """A program in a terminal of its own, and what its screen shows."""

    child: Any
    screen: Any
    stream: Any
    before: list[Any]

    @classmethod
    def start(cls, *words: str, **environment: str) -> Terminal:
        import termios

        import pexpect
        import pyte

        child = pexpect.spawn(
            words[0],
            list(words[1:]),
            dimensions=(ROWS, COLUMNS),
            env={**os.environ, "TERM": "xterm-256color", **environment},
            encoding=None,
            timeout=PATIENCE,
        )

        class Screen(pyte.HistoryScreen):
            def write_process_input(self, data: str) -> None:
                """Answer where the cursor is, as every terminal does."""
                with contextlib.suppress(OSError):
                    child.send(data)

        screen = Screen(COLUMNS, ROWS, history=10_000)
        ours, theirs = os.openpty()  # what every terminal starts with; this one may have changed
        before = termios.tcgetattr(ours)
        os.close(ours)
        os.close(theirs)
        return cls(child, screen, pyte.ByteStream(screen), before)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def scrollback(self) -> list[str]:
        """All lines, those that have left the screen first."""
        gone = [
            "".join(line[column].data for column in range(COLUMNS)).rstrip()
            for line in self.screen.history.top
        ]
        return gone + self.text.split("\n")

    @property
    def last_line(self) -> str:
        """The line with the prompt."""
        lines = [line for line in self.text.split("\n") if line.startswith(">")]
        return lines[-1] if lines else ""

    def read(self) -> bool:
        """Take what the program has written; False when it has ended."""
        import pexpect

        try:
            self.stream.feed(self.child.read_nonblocking(65536, timeout=0.05))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def until(self, what: str | Callable[[], object]) -> None:
        """Wait until the screen shows some text, or something is so."""
        end = time.monotonic() + PATIENCE
        while not (what in self.text if isinstance(what, str) else what()):
            assert time.monotonic() < end, f"no {what!r} on the screen:\n{self.text}"
            assert self.read(), f"the program ended before {what!r}:\n{self.text}"

    def type(self, keys: str) -> None:
        self.child.send(keys.encode())

    def end(self) -> int:
        """Wait for the program's end and return its exit status; the terminal is as it was."""
        import termios

        end = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < end, f"the program goes on:\n{self.text}"
        after = termios.tcgetattr(self.child.child_fd)
        self.child.close()
        assert after == self.before, "the terminal is not as it was"
        assert not self.screen.mode & {2004 << 5}, "bracketed paste is still on"
        status: int | None = self.child.exitstatus
        assert status is not None, f"died of signal {self.child.signalstatus}:\n{self.text}"
        return status

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)


@attrs.define
class Running:
    """A server of the real program, with a room for each test."""

    process: subprocess.Popen[str]
    port: int
    rooms: Iterator[str]


@contextlib.contextmanager
def running(people: People, folder: Path, *options: str) -> Iterator[Running]:
    rooms = [f"room{number}" for number in range(30)]
    words = ["serve", "--ca", str(people.ca), "--db", str(folder / "chat.db"), "--port", "0"]
    words += [*options]
    words += [word for room in rooms for word in ("--room", room)]
    config = folder / "server.toml"
    config.write_text("[limits]\ninput_burst = 100000\ninput_rate = 1000000\n")
    words += ["--config", str(config)]
    with subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = (re.search(r"listening on .*:(\d+)$", line) for line in process.stderr)
        port = next((int(match[1]) for match in found if match), 0)
        assert port, "the server did not start"
        try:
            yield Running(process, port, iter(rooms))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(people: People, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(people, tmp_path_factory.mktemp("server"), "--plain") as server:
        yield server


@attrs.define
class Start:
    """Starts programs as somebody, in a room of the test's own."""

    people: People
    server: Running
    state: Path
    room: str
    mode: str = "plain"

    def words(self, command: str, name: str, *more: str) -> list[str]:
        issued = self.people.certificate(name)
        where = f"localhost:{self.server.port}"
        words = [*PROGRAM, command, where, "--cert", str(issued.crt), "--key", str(issued.key)]
        return [*words, "--ca", str(self.people.ca), "--room", self.room, *more]

    @property
    def environment(self) -> dict[str, str]:
        folders = dict.fromkeys(("XDG_STATE_HOME", "XDG_DATA_HOME"), str(self.state))
        return {**folders, "NO_COLOR": "1"}

    def join(self, name: str, *more: str) -> Terminal:
        terminal = Terminal.start(*self.words("join", name, *more), **self.environment)
        toolbar = "--no-toolbar" not in more
        terminal.until(f"{self.room} ({self.mode})" if toolbar else f"{self.room} is {self.mode}")
        return terminal

    def send(self, name: str, text: str) -> None:
        subprocess.run(
            self.words("send", name, text),
            check=True,
            timeout=PATIENCE,
            env={**os.environ, **self.environment},
        )


@pytest.fixture
def start(people: People, server: Running, tmp_path: Path) -> Start:
    return Start(people, server, tmp_path / "state", next(server.rooms))


@pytest.fixture
def alice(start: Start) -> Iterator[Terminal]:
    terminal = start.join("alice")
    yield terminal
    terminal.child.close(force=True)


def test_a_line_is_said_and_quit_leaves(alice: Terminal) -> None:
    alice.type("hello\r")
    alice.until("<alice> hello")
    alice.type("/quit\r")
    assert alice.end() == 0


def test_the_menu_of_commands_opens_and_tab_completes(alice: Terminal) -> None:
    alice.type("/to")
    alice.until("/topic [TEXT]")
    alice.type("p\t")
    alice.until(lambda: alice.last_line == "> /topic")
    alice.type("tea\r")
    alice.until("alice has set the topic: tea")
    alice.type("\x04")
    assert alice.end() == 0


def test_a_message_appears_above_a_half_typed_line(alice: Terminal, start: Start) -> None:
    alice.type("half a li")
    alice.until("> half a li")
    start.send("bob", "hello\n09:99 <carol> forged")
    alice.until("<bob> hello")
    alice.until(lambda: alice.last_line == "> half a li")
    assert "\n      09:99 <carol> forged" in alice.text
    alice.type("ne\r")
    alice.until("<alice> half a line")
    alice.type("\x04")
    assert alice.end() == 0


def test_what_is_typed_during_a_flood_is_neither_lost_nor_in_the_messages(
    alice: Terminal, start: Start
) -> None:
    count = 400
    with subprocess.Popen(
        start.words("join", "bob", "--plain"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **start.environment},
    ) as bob:
        assert bob.stdin is not None
        bob.stdin.writelines(f"word {number}.\n" for number in range(count))
        bob.stdin.close()
        typed = ""
        while bob.poll() is None:
            if len(typed) < 60:
                typed += "q"
                alice.type("q")
            alice.read()
    alice.until(f"word {count - 1}.")
    alice.until(lambda: alice.last_line == f"> {typed}")
    words = [line for line in alice.scrollback if "word" in line]
    assert [line[6:] for line in words] == [f"<bob> word {number}." for number in range(count)]
    assert len(typed) > 5
    alice.type("\x15\x04")
    assert alice.end() == 0


def test_a_resize_keeps_the_line_and_the_status(alice: Terminal) -> None:
    alice.type("half a line")
    alice.until("> half a line")
    alice.resize(50, 12)
    alice.until(lambda: "> half a line" in alice.text and "(plain)" in alice.text)
    alice.type("\r")
    alice.until("<alice> half a line")
    alice.type("\x04")
    assert alice.end() == 0


def test_ctrl_c_clears_and_twice_on_an_empty_line_leaves(alice: Terminal) -> None:
    alice.type("never sent")
    alice.until("> never sent")
    alice.type("\x03")
    alice.until(lambda: alice.last_line == ">")
    alice.type("\x03")
    alice.until("^C again leaves")
    alice.type("\x03")
    assert alice.end() == 0
    assert "<alice> never sent" not in alice.text


def test_ctrl_d_leaves(alice: Terminal) -> None:
    alice.type("\x04")
    assert alice.end() == 0


def test_a_paste_of_several_lines_is_one_message(alice: Terminal) -> None:
    alice.type("\x1b[200~one\r/quit\rthree\x1b[201~")
    alice.until("three")
    alice.type("\r")
    alice.until("<alice> one")
    assert "\n      /quit\n      three" in alice.text
    alice.type("\x04")
    assert alice.end() == 0


def test_ctrl_r_searches_what_was_typed(alice: Terminal) -> None:
    alice.type("a line to remember\r")
    alice.until("<alice> a line to remember")
    alice.type("\x12remem")
    alice.until("reverse-i-search")
    alice.type("\x07")
    alice.until(lambda: "i-search" not in alice.text)
    alice.type("\x15/quit\r")
    assert alice.end() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_with_status_0(alice: Terminal, name: str) -> None:
    alice.type("half a line")
    alice.until("> half a line")
    alice.child.kill(getattr(signal, name))
    assert alice.end() == 0


def test_sigint_from_outside_is_as_ctrl_c(alice: Terminal) -> None:
    alice.type("half a line")
    alice.until("> half a line")
    alice.child.kill(signal.SIGINT)
    alice.until(lambda: alice.last_line == ">")
    alice.type("\x04")
    assert alice.end() == 0


def test_a_server_that_is_gone_is_said_and_one_can_leave(people: People, tmp_path: Path) -> None:
    with running(people, tmp_path) as server:
        terminal = Start(people, server, tmp_path / "state", "room0", "encrypted").join("alice")
        server.process.kill()
        terminal.until("OFFLINE")
        terminal.type("unheard\r")
        terminal.until("1 not sent yet")
        terminal.type("/quit\r")
        assert terminal.end() == 0
    assert "error: 1 message was not delivered" in terminal.text


def test_a_connection_that_ends_for_good_ends_the_program(
    own_people: People, tmp_path: Path
) -> None:
    with running(own_people, tmp_path) as server:
        terminal = Start(own_people, server, tmp_path / "state", "room0", "encrypted").join("alice")
        terminal.type("half a line")
        terminal.until("> half a line")
        own_people.revoke("alice")
        assert terminal.end() == 1
    assert "trio-chat: error: " in terminal.text
    assert "revoked" in terminal.text


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash here")
def test_ctrl_z_gives_the_terminal_back_and_fg_returns(start: Start) -> None:
    terminal = Terminal.start("/bin/bash", "--norc", "--noprofile", **start.environment, PS1="$ ")
    terminal.until("$")
    command = " ".join(start.words("join", "alice"))
    Path(start.state.parent, "run").write_text(f"exec {command}\n")
    terminal.type(f"bash {start.state.parent}/run\r")
    terminal.until("(plain)")
    terminal.type("half a line")
    terminal.until("> half a line")
    terminal.type("\x1a")
    terminal.until("Stopped")
    terminal.type("echo shell-$((40+2))\r")
    terminal.until("shell-42")
    terminal.type("fg\r")
    terminal.until(lambda: terminal.text.count("half a line") >= 1 and "42" in terminal.text)
    terminal.type("!\r")
    terminal.until("<alice> half a line!")
    terminal.type("\x04")
    terminal.until(lambda: terminal.text.endswith("$"))
    terminal.type("exit\r")
    terminal.end()


def test_without_a_status_line_there_is_none(start: Start) -> None:
    terminal = start.join("alice", "--no-toolbar")
    assert "connected |" not in terminal.text
    terminal.type("\x04")
    assert terminal.end() == 0


def test_a_dumb_terminal_gets_plain_lines(start: Start) -> None:
    words = start.words("join", "alice")
    terminal = Terminal.start(*words, **{**start.environment, "TERM": "dumb"})
    terminal.until("is plain")
    terminal.type("hello\r")
    terminal.until("<alice> hello")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_a_server_ends_with_the_terminal_that_it_ran_in(start: Start) -> None:
    ca = start.state.parent / "pki" / "ca.crt"
    words = [sys.executable, "-m", "trio_chat", "serve", "--port", "0", "--ca", str(ca)]
    terminal = Terminal.start(*words, **start.environment)
    terminal.until("listening on")
    pid = terminal.child.pid
    terminal.child.ptyproc.fileobj.close()
    _wait_for_the_end(pid)


def test_a_terminal_that_goes_away_takes_the_program_with_it(start: Start) -> None:
    terminal = start.join("alice")
    pid = terminal.child.pid
    terminal.child.ptyproc.fileobj.close()  # not the number, which others may get then
    _wait_for_the_end(pid)


def _wait_for_the_end(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, "the program goes on without a terminal"
        time.sleep(0.02)


# --- encrypted rooms ---------------------------------------------------------------------


def test_two_people_meet_in_an_encrypted_room_and_compare_keys(
    people: People, tmp_path: Path
) -> None:
    with running(people, tmp_path) as server:
        start = Start(people, server, tmp_path / "state", next(server.rooms), "encrypted")
        alice = start.join("alice")
        alice.until(f"{start.room} is encrypted: only who is in it can read it, not the server")
        compare_keys(alice, start.join("bob"))


def compare_keys(alice: Terminal, bob: Terminal) -> None:
    alice.until("bob can read now")
    alice.type("hello\r")
    bob.until("<alice> hello")
    bob.type("/msg alice psst\r")
    alice.until("[private] bob -> you: psst")
    bob.type("/verify alice\r")
    alice.until("wants to compare keys with you")
    alice.type("/verify bob\r")
    for each in (alice, bob):
        each.until("the same seven")
        each.until("7 ")
    alice.type("/verify bob yes\r")
    alice.until("bob is verified")
    bob.type("/verify alice no\r")
    bob.until("the symbols differ")
    alice.type("/users\r")
    alice.until("bob (verified; reads on")
    for each in (alice, bob):
        each.type("\x04")
        assert each.end() == 0
