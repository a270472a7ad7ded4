"""`HOST:PORT` as people type it."""

from __future__ import annotations

import attrs

from trio_chat.errors import ConfigError

__all__ = ["DEFAULT_PORT", "Address"]

DEFAULT_PORT = 8443


@attrs.frozen
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST`, `HOST:PORT` or `[IPV6]:PORT`; the port is 8443 if left out.

        Raises:
            ConfigError: it is none of these.
        """
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
            host, port = text, str(DEFAULT_PORT)  # no port, or a bare IPv6 address
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"{text!r} is no HOST:PORT", hint=f"write it like localhost:{DEFAULT_PORT}"
            )
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
