"""Checks what callers send, and cuts lists into pages; each refusal names the field."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from memwatch_controller.errors import InvalidArgumentError
from memwatch_controller.model import Millis, is_id

_Item = TypeVar("_Item")

#: Characters of a name from outside.
MAX_NAME_CHARS = 512

#: Items of a page where the caller does not say, and the most.
PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000

_DOING = "accept the request"


def bad_field(field: str, why: str) -> InvalidArgumentError:
    """The refusal of a field."""
    return InvalidArgumentError(_DOING, f"field '{field}' {why}")


def ident(field: str, value: str) -> str:
    """An id of ours, which must be there.

    Raises:
        InvalidArgumentError: it is missing or cannot be one.
    """
    if not value:
        raise bad_field(field, "is missing")
    if not is_id(value):
        raise bad_field(
            field, f"is {_shown(value)}, expected at most 128 characters of [A-Za-z0-9._-]"
        )
    return value


def optional_ident(field: str, value: str) -> str:
    """An id of ours, or nothing."""
    return ident(field, value) if value else ""


def name(field: str, value: str) -> str:
    """A name from outside: data, but one line of it.

    Raises:
        InvalidArgumentError: it is too long, or holds NUL, a newline or another control.
    """
    if len(value) > MAX_NAME_CHARS:
        raise bad_field(field, f"has {len(value)} characters, expected at most {MAX_NAME_CHARS}")
    if not value.isprintable():
        raise bad_field(field, f"is {_shown(value)}, expected one line without control characters")
    return value


def file_name(field: str, value: str) -> str:
    """A name of a file without a path.

    Raises:
        InvalidArgumentError: as for `name`, or it holds a separator or is "..".
    """
    if "/" in value or "\\" in value or value in (".", ".."):
        raise bad_field(field, f"is {_shown(value)}, expected the name of a file without a path")
    return name(field, value)


def named(kinds: Any, prefix: str, field: str, name: str) -> Any:
    """A value of a protobuf enum by its name, with or without the prefix, in any case.

    Raises:
        InvalidArgumentError: the enum has no such value.
    """
    upper = name.upper().replace("-", "_")
    full = upper if upper.startswith(prefix) else f"{prefix}{upper}"
    if full not in kinds.keys():  # noqa: SIM118  an enum wrapper, no dict
        raise bad_field(field, f"is {name[:40]!r}, expected one such as {kinds.keys()[1]}")
    return kinds.Value(full)


def page_size(value: int) -> int:
    """How many items a page holds.

    Raises:
        InvalidArgumentError: it is negative.
    """
    if value < 0:
        raise bad_field("page_size", f"is {value}, expected 0 or more")
    return min(value or PAGE_SIZE, MAX_PAGE_SIZE)


def cursor(token: str) -> tuple[Millis, str] | None:
    """Where a page token goes on; None from the start.

    Raises:
        InvalidArgumentError: it is not one of ours.
    """
    if not token:
        return None
    try:
        time, last = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError, binascii.Error) as error:
        raise bad_field("page_token", "is not one that a list answered") from error
    if type(time) is not int or not isinstance(last, str) or abs(time) >= 1 << 62:
        raise bad_field("page_token", "is not one that a list answered")
    return time, last


def token(time: Millis, last: str) -> str:
    """The token of a list that goes on after this item."""
    return base64.urlsafe_b64encode(json.dumps([time, last]).encode()).decode("ascii")


def page(items: Sequence[_Item], size: int) -> tuple[Sequence[_Item], _Item | None]:
    """The items of a page, and the last one where more follow; ask the store for `size + 1`."""
    return (items[:size], items[size - 1]) if len(items) > size else (items, None)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:79] + "…")
