"""The rings: who imports whom, read from the source. An arrow that is not here is a mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_chat

PACKAGE = Path(trio_chat.__file__).parent
MODULES = sorted(set(PACKAGE.rglob("*.py")) - set((PACKAGE / "examples").rglob("*.py")))
# A wheel holds copies of the examples, which are programs of their own.
LINES = 400

BOTTOM = (
    *("errors", "names", "text", "limits", "address", "files", "identity", "invitation"),
    "durations",
)
CORE = (*BOTTOM, "protocol", "chat")
FACES = ("", "server", "client", "pki")  # the packages themselves: what they export

# Part of the package -> what it may import of the package. "x" stands for x and all below
# it, "x!" for what x itself exports.
RINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(BOTTOM, BOTTOM),
    "mls": ("mls",),
    "e2ee": (*BOTTOM, "mls!", "e2ee"),
    "protocol": (*BOTTOM, "protocol"),
    "chat": CORE,
    "tls": (*BOTTOM, "tls"),
    "transport": (*BOTTOM, "tls", "transport"),
    "store": (*CORE, "store"),
    "server": ("!", *CORE, "tls", "transport", "store!", "pki!", "server"),
    "client": ("!", *CORE, "tls", "transport", "mls!", "e2ee", "client"),
    "pki": (*BOTTOM, "pki"),
    "ui": ("!", *BOTTOM, "protocol.frames", "protocol.lines", "client!", "ui"),
    "cli": ("!", *BOTTOM, "protocol.frames", "server!", "client!", "pki!", "ui", "cli"),
    "__main__": ("cli",),
    "": ("errors", "protocol.frames", "server!", "client!"),
}

# The core is given its time, randomness and files.
NOT_IN_THE_CORE = {
    *("trio", "asyncio", "time", "datetime", "os", "random", "secrets", "socket", "ssl"),
    *("threading", "subprocess", "pathlib", "io", "tempfile", "logging"),
}
PURE_E2EE = {
    f"e2ee.{name}" for name in ("device", "identity", "trust", "people", "policy", "payload")
}
PURE = ("mls", *(part for part in CORE if part != "files"), *PURE_E2EE)
ALLOWED = {  # keys and nonces are made where they are used; certificates are read by date
    "mls": {"secrets"},
    "e2ee": {"secrets", "datetime"},
}
CLOCKS = {"now", "utcnow", "today"}
ONE_SYSTEM_ONLY = {
    *("fcntl", "termios", "tty", "pty", "pwd", "grp", "resource", "curses", "readline", "syslog"),
    *("msvcrt", "winreg", "winsound", "_winapi", "ctypes.wintypes", "posix", "nt"),
}


def name_of(path: Path) -> str:
    """The module's name below the package: `server.room`, `server`, or nothing."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all that is imported anywhere in `tree`, under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where things come from"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def resolve(full: str) -> str | None:
    """Turn an import into `server.room` or, for what a package exports, `server!`."""
    if full != "trio_chat" and not full.startswith("trio_chat."):
        return None
    parts = full.split(".")[1:]
    while parts:
        place = PACKAGE.joinpath(*parts)
        if place.with_suffix(".py").exists():
            return ".".join(parts)
        if (place / "__init__.py").exists():
            return ".".join(parts) + "!"
        parts.pop()
    return "!"


def allows(rule: str, found: str) -> bool:
    if rule.endswith("!"):
        return found == rule
    bare = found.removesuffix("!")
    return bare == rule or bare.startswith(rule + ".")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_its_own_ring_and_those_below(path: Path) -> None:
    name = name_of(path)
    rules = RINGS[name.partition(".")[0]]
    for full in imported(parse(path)):
        found = resolve(full)
        assert found is None or any(allows(rule, found) for rule in rules), full


def test_the_rings_forbid_what_they_should() -> None:
    for part, full in (
        ("server", "trio_chat.client.session"),
        ("server", "trio_chat.client"),
        ("client", "trio_chat.server"),
        ("server", "trio_chat.mls"),
        ("mls", "trio_chat.errors"),
        ("mls", "trio_chat.names"),
        ("mls", "trio_chat.e2ee.identity"),
        ("e2ee", "trio_chat.mls.group"),
        ("e2ee", "trio_chat.client"),
        ("server", "trio_chat.e2ee.identity"),
        ("protocol", "trio_chat.tls"),
        ("chat", "trio_chat.store"),
        ("ui", "trio_chat.client.connection"),
        ("cli", "trio_chat.server.room"),
        ("pki", "trio_chat.tls"),
    ):
        rules = RINGS[part]
        assert not any(allows(rule, full.removeprefix("trio_chat.")) for rule in rules), full


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if name_of(p).partition(".")[0] in {"server", "store", "protocol", "chat"}],
    ids=name_of,
)
def test_the_server_is_blind_it_imports_nothing_that_could_decrypt(path: Path) -> None:
    for full in imported(parse(path)):
        found = (resolve(full) or "").rstrip("!")
        assert found.partition(".")[0] not in {"mls", "e2ee"}, full


def test_every_part_has_its_place_in_the_rings() -> None:
    assert {name_of(path).partition(".")[0] for path in MODULES} <= RINGS.keys()


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if {name_of(p), name_of(p).partition(".")[0]} & {*PURE}],
    ids=name_of,
)
def test_the_core_has_no_clock_no_files_no_randomness_and_no_trio(path: Path) -> None:
    allowed = ALLOWED.get(name_of(path).partition(".")[0], set())
    tree = parse(path)
    for full in imported(tree):
        assert full.partition(".")[0] not in NOT_IN_THE_CORE - allowed, full
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Attribute) and node.attr in CLOCKS), node.attr


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("mls")], ids=name_of)
def test_mls_knows_nothing_of_certificates(path: Path) -> None:
    for full in imported(parse(path)):
        assert not full.startswith("cryptography.x509"), full


def test_only_the_host_of_the_terminal_knows_asyncio() -> None:
    users = {
        name_of(path)
        for path in MODULES
        if any(full.partition(".")[0] == "asyncio" for full in imported(parse(path)))
    }
    assert users <= {"ui.hosted"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_needs_one_system_to_be_imported(path: Path) -> None:
    tree = parse(path)
    for node in ast.walk(tree):  # what functions import, they import when called
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    for full in imported(tree):
        assert full.partition(".")[0] not in ONE_SYSTEM_ONLY, full


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_one_duty_that_fits_into_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(parse(path)) or not path.read_text().strip()
