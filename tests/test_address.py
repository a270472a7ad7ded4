"""`trio_chat.address`: HOST:PORT as people type it."""

from __future__ import annotations

import pytest

from trio_chat.address import Address
from trio_chat.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 8443),
        ("localhost:1", "localhost", 1),
        ("192.0.2.7:65535", "192.0.2.7", 65535),
        ("[::1]:9000", "::1", 9000),
        ("[::1]", "::1", 8443),
        ("::1", "::1", 8443),
        ("2001:db8::7", "2001:db8::7", 8443),
    ],
)
def test_host_and_port_are_read(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", ":8443", "host:", "host:0", "host:65536", "host:x", "host:-1", "host:٣", "[]:1"],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert "localhost:8443" in caught.value.hint


@pytest.mark.parametrize("text", ["localhost:8443", "[::1]:1"])
def test_it_is_written_as_it_is_read(text: str) -> None:
    assert str(Address.parse(text)) == text
