"""The documents say what the program does: tables, frames, links and command lines."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import pytest

from trio_chat.cli.main import SUBCOMMANDS, build_parser
from trio_chat.cli.reference import reference
from trio_chat.errors import CODES
from trio_chat.limits import Limits
from trio_chat.protocol.codec import decode_command, decode_event, encode
from trio_chat.protocol.frames import Command, Event
from trio_chat.server import read_config

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "docs" / "protocol.md"
OPERATIONS = ROOT / "docs" / "operations.md"
SECURITY = ROOT / "docs" / "security.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DIRECTIONS = [
    pytest.param("4", Command.__args__, decode_command, id="commands"),
    pytest.param("5", Event.__args__, decode_event, id="events"),
]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FRAME = re.compile(r"^### (\d+)\.(\d+) `([a-z.-]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_FIRST_CELL = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_NUMBERED = re.compile(r"^((?:\d+\.)+)\s", re.MULTILINE)
_REFERENCE = re.compile(r"\b(\d{1,2}(?:\.\d{1,2}){1,2})\b")


def sections(chapter: str) -> list[tuple[str, str]]:
    """Return (type, text) of each frame's section in a chapter of the protocol, in order."""
    found = _FRAME.findall(PROTOCOL.read_text())
    return [(kind, text) for major, _, kind, text in found if major == chapter]


def wire_fields(kind: type[Any]) -> list[str]:
    return ["from" if f.name == "sender" else f.name for f in attrs.fields(kind)]


def examples(text: str) -> list[bytes]:
    """Return the lines in the fenced blocks of JSON."""
    blocks = [body for language, body in _FENCED.findall(text) if language == "json"]
    return [line.encode() for body in blocks for line in body.splitlines()]


def part(document: Path, heading: str) -> str:
    """Return what stands below a heading of the second level."""
    text = document.read_text()
    start = text.index(f"\n## {heading}\n")
    end = text.find("\n## ", start + 1)
    return text[start : end if end > 0 else None]


# --- protocol.md -----------------------------------------------------------------------


def test_table_of_errors_has_the_codes_in_the_order_of_the_program() -> None:
    assert _FIRST_CELL.findall(part(PROTOCOL, "8 Errors")) == list(CODES)


@pytest.mark.parametrize(("chapter", "kinds", "_decode"), DIRECTIONS)
def test_each_frame_has_its_section_in_order(chapter: str, kinds: Any, _decode: Any) -> None:
    assert [name for name, _ in sections(chapter)] == [kind.type for kind in kinds]


@pytest.mark.parametrize(("chapter", "kinds", "_decode"), DIRECTIONS)
def test_each_frame_s_table_has_its_fields_in_order(chapter: str, kinds: Any, _decode: Any) -> None:
    documented = [(name, _FIRST_CELL.findall(text)) for name, text in sections(chapter)]
    assert documented == [(kind.type, wire_fields(kind)) for kind in kinds]


@pytest.mark.parametrize(("chapter", "kinds", "_decode"), DIRECTIONS)
def test_a_field_is_called_optional_where_it_may_be_absent(
    chapter: str, kinds: Any, _decode: Any
) -> None:
    row = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)
    for (name, text), frame in zip(sections(chapter), kinds, strict=True):
        fields = dict(zip(wire_fields(frame), attrs.fields(frame), strict=True))
        for field, kind in row.findall(text):
            # A message has other defaults too, for the fields that an erased entry lacks.
            default = fields[field].default
            may_be_absent = default is None or default is False
            assert kind.endswith(", optional") == may_be_absent, (name, field)


@pytest.mark.parametrize(("chapter", "kinds", "decode"), DIRECTIONS)
def test_each_frame_has_one_example_that_the_codec_reads_and_would_write(
    chapter: str, kinds: Any, decode: Any
) -> None:
    for (_name, text), wanted in zip(sections(chapter), kinds, strict=True):
        (line,) = examples(text)
        frame = decode(line)
        assert type(frame) is wanted
        written = encode(frame).rstrip(b"\n").replace(b',"erased":false', b"")
        assert written == line


def test_every_line_of_the_hand_written_session_is_a_frame() -> None:
    commands, events = [
        [line.encode() for line in body.splitlines()]
        for language, body in _FENCED.findall(part(PROTOCOL, "12 A session by hand"))
        if language == "json"
    ]
    assert [decode_command(line).type for line in commands][:2] == ["hello", "join"]
    assert [decode_event(line).type for line in events][:2] == ["welcome", "joined"]


def test_the_specification_s_numbers_are_in_order_and_references_meet_one() -> None:
    text = PROTOCOL.read_text()
    numbers = [label.rstrip(".") for label in _NUMBERED.findall(text)]
    numbers += [f"{major}.{minor}" for major, minor, _, _ in _FRAME.findall(text)]
    assert len(set(numbers)) == len(numbers)
    for label in numbers:
        *above, last = label.split(".")
        before = ".".join([*above, str(int(last) - 1)])
        assert last == "1" or before in numbers, f"{label} without {before}"
    prose = re.sub(r"`[^`\n]*`", "", _FENCED.sub("", text))
    prose = re.sub(r"TLS 1\.[0-9]|VERSION [0-9.]+", "", prose)
    references = set(_REFERENCE.findall(prose))
    assert references <= set(numbers), references - set(numbers)


# --- operations.md ---------------------------------------------------------------------


def test_table_of_limits_is_the_program_s() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| (.*) \|$", part(OPERATIONS, "Limits"), re.MULTILINE
    )
    fields = attrs.fields(Limits)
    assert rows == [(f.name, f"{f.default:.15g}", f.metadata["reason"]) for f in fields]


def test_the_reference_of_the_configuration_is_made_from_the_program() -> None:
    """If it differs: python -m trio_chat.cli.reference > docs/configuration.md"""
    assert (ROOT / "docs" / "configuration.md").read_text() == reference()


def test_the_example_of_the_configuration_is_one(tmp_path: Path) -> None:
    for name in ("configuration.md", "operations.md"):
        (example,) = [
            body
            for language, body in _FENCED.findall((ROOT / "docs" / name).read_text())
            if language == "toml"
        ]
        (tmp_path / "server.toml").write_text(example)
        assert read_config(tmp_path / "server.toml").options["rooms"]


def test_each_sentence_of_troubleshooting_is_one_that_the_program_says() -> None:
    said = "\n".join(strings(path) for path in (ROOT / "trio_chat").rglob("*.py"))
    rows = re.findall(r"^\| (`[^|]+?) \|", part(OPERATIONS, "Troubleshooting"), re.MULTILINE)
    for sentence in re.findall(r"`([^`]+)`", "\n".join(rows)):
        pattern = ".*".join(re.escape(piece.strip()) for piece in sentence.split("..."))
        assert re.search(pattern, said), sentence


def strings(path: Path) -> str:
    """Return the strings of a module, one a line, with dots for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "..." for p in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return "\n".join(found)


# --- security.md -----------------------------------------------------------------------


def test_each_test_that_security_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", SECURITY.read_text()))
    paths = (ROOT / "tests").rglob("test_*.py")
    written = set(re.findall(r"def (test_\w+)\(", "\n".join(path.read_text() for path in paths)))
    assert len(named) > 50
    assert named <= written, named - written


# --- all of them -----------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(_FENCED.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, made as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_lines_name_only_what_the_parsers_know(document: Path) -> None:
    for words in command_lines(document.read_text()):
        parser = build_parser()
        allowed = set(parser._option_string_actions)
        for word in words:
            name = word.partition("=")[0]
            deeper = subcommands(parser).get(word)
            if deeper is not None:
                parser = deeper
                allowed |= set(parser._option_string_actions)
            elif re.match(r"--?[a-z]", word):
                assert name in allowed, f"{shlex.join(words)}: {name}"


def test_command_lines_are_found() -> None:
    found = [words[0] for document in DOCUMENTS for words in command_lines(document.read_text())]
    assert {"serve", "pki"} <= set(found)


def test_each_subcommand_is_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in SUBCOMMANDS if f"`trio-chat {name}`" not in text] == []


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words after `trio-chat` of each command line in blocks and in code spans."""
    blocks = [body for language, body in _FENCED.findall(text) if language != "json"]
    spans = re.findall(r"`(trio-chat [^`\n]+)`", _FENCED.sub("", text))
    for line in (*"\n".join(blocks).replace("\\\n", " ").splitlines(), *spans):
        try:
            words = shlex.split(line.removeprefix("ExecStart="), comments=True)
        except ValueError:
            continue  # part of a longer quotation: no command line
        names = [PurePosixPath(word).name for word in words]
        if "trio-chat" not in names:
            continue
        words = words[names.index("trio-chat") + 1 :]
        end = next((i for i, word in enumerate(words) if word in {"|", "&&", ";", "&"}), None)
        if words and (words[0] in SUBCOMMANDS or words[0].startswith("-")):
            yield words[:end]


def test_examples_are_compact_and_begin_with_their_type() -> None:
    for line in examples(PROTOCOL.read_text()):
        assert line.startswith(b'{"type":"')
        found = json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False)
        assert len(found) <= len(line) <= len(found) + 4  # a time may end with zeros
