"""What `serve` is to do, from the command line, a file and defaults; and where each came from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trio_chat.limits import Limits
from trio_chat.server import SETTINGS, FileConfig, ServerConfig, read_config

__all__ = ["Settings", "settle"]


@attrs.frozen
class Settings:
    """The values that count, by name.

    Attributes:
        values: Of each of `SETTINGS`.
        origins: Where each is from: `default`, `file` or `flag`.
        file: What the file says, limits among it.
    """

    values: dict[str, Any]
    origins: dict[str, str]
    file: FileConfig

    def config(self, passphrase: bytes | None) -> ServerConfig:
        """Return them as a server wants them.

        Raises:
            BadName: a room cannot be called so.
        """
        own = {field.name for field in attrs.fields(ServerConfig)}
        values = {name: value for name, value in self.values.items() if value is not None}
        known = {name: value for name, value in values.items() if name in own}
        return ServerConfig(**known, limits=self.file.limits, passphrase=passphrase)

    def lines(self) -> Iterator[str]:
        """Yield a configuration file with all of them, and after each where it is from.

        There is no secret among them: passphrases are in files of their own.
        """
        config = self.config(None)
        for name, value in self.values.items():
            shown = getattr(config, name, value) if value is None else value
            if shown is None:
                yield f"# {name} is not set"
            else:
                yield f"{name} = {_toml(shown)}  # {self.origins[name]}"
        yield ""
        yield "[limits]"
        for field in attrs.fields(Limits):
            origin = "file" if field.name in self.file.named else "default"
            yield f"{field.name} = {_toml(getattr(config.limits, field.name))}  # {origin}"


def settle(options: argparse.Namespace) -> Settings:
    """Return what counts: a flag before the file, and the file before the default.

    Raises:
        ConfigError: the file cannot be read, or something in it does not belong there.
    """
    file = read_config(options.config) if options.config else FileConfig()
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        given = getattr(options, setting.name, None)
        if given is not None and given != []:
            values[setting.name], origins[setting.name] = given, "flag"
        elif setting.name in file.options:
            values[setting.name], origins[setting.name] = file.options[setting.name], "file"
        else:
            values[setting.name], origins[setting.name] = setting.default, "default"
    return Settings(values, origins, file)


def _toml(value: Any) -> str:
    """Return a value as TOML has it: texts as in JSON, but for one character."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
