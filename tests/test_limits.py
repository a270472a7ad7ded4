"""`trio_chat.limits`: every buffer has a limit, every limit a name and a reason."""

from __future__ import annotations

import attrs
import pytest

from trio_chat.limits import Limits

FIELDS = [field.name for field in attrs.fields(Limits)]


@pytest.mark.parametrize("name", FIELDS)
def test_a_limit_is_a_number_above_zero_with_a_reason(name: str) -> None:
    field = attrs.fields_dict(Limits)[name]
    assert field.metadata["reason"]
    assert field.default is not None
    assert field.default > 0
    for wrong in (0, -1, "5", None, float("nan")):
        with pytest.raises((ValueError, TypeError)):
            Limits(**{name: wrong})  # type: ignore[arg-type]  # on purpose


def test_counts_are_whole() -> None:
    with pytest.raises(TypeError):
        Limits(text_size=1.5)  # type: ignore[arg-type]
    assert Limits(handshake_timeout=1.5).handshake_timeout == 1.5


def test_a_message_fits_into_a_frame_and_limits_into_each_other() -> None:
    limits = Limits()
    assert limits.hello_size < limits.text_size < limits.frame_size
    assert limits.heartbeat_interval < limits.heartbeat_timeout
    assert limits.input_burst <= limits.bot_input_burst


def test_the_defaults_are_the_promised_ones() -> None:
    limits = Limits()
    assert (limits.input_burst, limits.input_rate) == (20, 5.0)
    assert (limits.bot_input_burst, limits.bot_input_rate) == (100, 50.0)
    assert (limits.text_size, limits.frame_size) == (64 * 1024, 256 * 1024)
    assert (limits.connections_per_identity, limits.connections_per_address) == (10, 64)
    assert limits.retention == 30 * 24 * 3600
