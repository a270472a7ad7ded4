"""The reference of the configuration file, made from its tables: docs/configuration.md.

python -m trio_chat.cli.reference > docs/configuration.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import attrs

from trio_chat.limits import Limits
from trio_chat.server import SETTINGS, Setting

__all__ = ["reference"]

_BEGINNING = """\
# Configuration file

Made from the program's own tables; a test compares it.

`trio-chat serve --config FILE` reads TOML. Everything in it is optional, and an unknown name is an
error. An option of the command line counts before the file, and the file before the default. Paths
are relative to the file's folder. `trio-chat serve --check` tells what is wrong, in the file and in
the files that it names, without starting anything; `trio-chat serve --print-config` shows the
values that count, each with where it is from.

```toml
ca = "pki/ca.crt"
host = "0.0.0.0"
public_names = ["chat.example.org"]
rooms = ["lobby", "ops"]
registration = "closed"

[limits]
retention = 604800  # one week
```

## Options

| name | value | default | meaning | on the command line |
|---|---|---|---|---|
"""

_LIMITS = """
## The table `[limits]`

Times are in seconds (s), sizes in bytes (B). Every value is above zero.

| name | value | default | reason |
|---|---|---|---|
"""


def reference() -> str:
    """Return the whole document."""
    return "".join((_BEGINNING, *map(_option, SETTINGS), _LIMITS, *_limits()))


def _option(setting: Setting) -> str:
    default = "" if setting.default is None else f"`{_shown(setting.default)}`"
    flag = f"`{setting.flag}`" if setting.flag else ""
    return f"| `{setting.name}` | {setting.wanted} | {default} | {setting.meaning} | {flag} |\n"


def _shown(value: object) -> str:
    return json.dumps(value if isinstance(value, bool | int | list) else str(value))


def _limits() -> Iterator[str]:
    for field in attrs.fields(Limits):
        kind = "whole number" if isinstance(field.default, int) else "number"
        reason = field.metadata["reason"]
        yield f"| `{field.name}` | {kind} | {field.default:.15g} | {reason} |\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
