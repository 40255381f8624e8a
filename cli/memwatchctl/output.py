"""What a command prints: a table for people, JSON or YAML for programs.

JSON is protobuf's own mapping with the field names of the proto files, every field
present; YAML is the same document. Tables are plain columns where the output is no
terminal, so that `awk` and `grep` work. Names from outside never reach a terminal raw.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TextIO, TypeVar

from memwatchctl.text import printable

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

T = TypeVar("T")

#: A column is not cut below this: less says nothing.
MIN_CUT_WIDTH = 8


class Column(NamedTuple, Generic[T]):
    """One column: its head, how a cell is made, and how it is set.

    `style` names a colour for a cell's text. Only a column that may be `cut` is shortened to
    fit a terminal: ids, figures and paths never are.
    """

    head: str
    cell: Callable[[T], str]
    right: bool = False
    cut: bool = False
    style: Callable[[str], str] | None = None


class Output:
    """Prints values in the format that was asked for.

    Args:
        format_: `table`, `json` or `yaml`.
        no_color: colours are off whatever the terminal can do.
        stream: where to; standard output by default.
    """

    def __init__(self, format_: str, no_color: bool = False, stream: TextIO | None = None) -> None:
        self.format = format_
        self._no_color = no_color or bool(os.environ.get("NO_COLOR"))
        self._stream = stream or sys.stdout
        self._documents = 0

    @property
    def is_table(self) -> bool:
        """Whether people read it."""
        return self.format == "table"

    def line(self, text: str = "", style: str = "") -> None:
        """Prints one line for people."""
        if style and self._stream.isatty():
            from rich.text import Text

            self._console().print(Text(printable(text), style), soft_wrap=True)
        else:
            self._write(printable(text) + "\n")

    def text(self, text: str) -> None:
        """Prints a text that is a document already; it escapes its own names."""
        self._write(text.rstrip("\n") + "\n")

    def document(self, value: object) -> None:
        """Prints one JSON or YAML document of plain values."""
        if self.format == "yaml":
            import yaml

            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000)
            self._write(("---\n" if self._documents else "") + text)
        else:
            self._write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        self._documents += 1

    def identifier(self, name: str, value: str) -> None:
        """Prints an id and nothing else, or `{name: value}`."""
        if self.is_table:
            self.line(value)
        else:
            self.document({name: value})

    def event(self, value: object) -> None:
        """Prints one of a series of documents: JSON in one line each, YAML after `---`."""
        if self.format == "yaml":
            self._documents += 1
            self.document(value)
        else:
            self._write(json.dumps(value, ensure_ascii=False) + "\n")
        self._stream.flush()

    def messages(
        self, name: str, messages: Iterable["Message"], columns: Sequence[Column[Any]]
    ) -> None:
        """Prints a list: a table, or `{name: […]}`."""
        if self.is_table:
            self.table(columns, list(messages))
        else:
            self.document({name: [plain(message) for message in messages]})

    def table(self, columns: Sequence[Column[T]], rows: Sequence[T]) -> None:
        """Prints rows under the heads of their columns."""
        cells = [[printable(column.cell(row)) for column in columns] for row in rows]
        heads = [column.head for column in columns]
        if self._stream.isatty():
            self._styled_table(columns, [heads, *cells])
        else:
            self._plain_table(columns, [heads, *cells])

    def flush(self) -> None:
        """Lets what was printed be seen now."""
        self._stream.flush()

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Prints the facts of one thing, those that are empty left out."""
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0) + 1
        for name, value in shown:
            self._write(f"{name + ':':<{width}} {printable(value)}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)

    def _plain_table(self, columns: Sequence[Column[T]], table: list[list[str]]) -> None:
        """Sets a table for programs and pipes: nothing is cut."""
        widths = fit(columns, table, len)
        for row in table:
            cells = [
                f"{cell:>{width}}" if column.right else f"{cell:<{width}}"
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self._write("  ".join(cells).rstrip() + "\n")

    def _styled_table(self, columns: Sequence[Column[T]], table: list[list[str]]) -> None:
        """Sets a table with colours, cut to the width of the terminal."""
        from rich.cells import cell_len
        from rich.text import Text

        console = self._console()
        widths = fit(columns, table, cell_len, console.width)
        for number, row in enumerate(table):
            line = Text(end="")
            for column, cell, width in zip(columns, row, widths, strict=True):
                style = "bold" if number == 0 else (column.style(cell) if column.style else "")
                set_ = Text(cell, style)
                set_.truncate(width, overflow="ellipsis")
                set_.align("right" if column.right else "left", width)
                line.append("  " if line else "").append_text(set_)
            line.rstrip()
            console.print(line, soft_wrap=True)

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(
            file=self._stream, no_color=self._no_color, highlight=False, emoji=False, markup=False
        )


def fit(
    columns: Sequence[Column[T]],
    table: Sequence[Sequence[str]],
    length: Callable[[str], int],
    width: int = 0,
) -> list[int]:
    """The widths of columns; those that may be cut are, the widest first, to fit `width`. Pure.

    A `width` of 0 cuts nothing. Where the rest is too wide lines grow beyond the width.
    """
    widths = [max(length(row[i]) for row in table) for i in range(len(columns))]
    over = sum(widths) + 2 * (len(columns) - 1) - width if width else 0
    while over > 0:
        cuttable = [i for i, c in enumerate(columns) if c.cut and widths[i] > MIN_CUT_WIDTH]
        if not cuttable:
            break
        widest = max(cuttable, key=lambda i: widths[i])
        widths[widest] -= 1
        over -= 1
    return widths


def plain(message: "Message") -> Any:
    """A message as JSON's plain values: proto field names, in their order, every field present."""
    from google.protobuf.json_format import MessageToDict

    value = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _in_order(value, message.DESCRIPTOR)


def _in_order(value: Any, descriptor: Any) -> Any:
    """The same values with the fields in the order of the proto file, at every depth."""
    if not isinstance(value, dict):
        return value  # a well-known type, such as a time, is a word
    ordered = {}
    for field in descriptor.fields:
        if field.name not in value:
            continue
        inner, type_ = value[field.name], field.message_type
        if type_ is None or type_.GetOptions().map_entry:
            ordered[field.name] = inner
        elif isinstance(inner, list):
            ordered[field.name] = [_in_order(one, type_) for one in inner]
        else:
            ordered[field.name] = _in_order(inner, type_)
    return ordered


def word(message: "Message", field: str) -> str:
    """The value of an enum field in lower case without prefix: `capturing_before`.

    Empty for the zero value; a value of a newer peer is its number.
    """
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    return enum_word(descriptor.enum_type, getattr(message, field))


def enum_word(enum: Any, number: int) -> str:
    """The word of one value of an enum; see `word`."""
    value = enum.values_by_number.get(number)
    if number == 0 or value is None:
        return str(number) if number else ""
    prefix = "".join("_" + c if c.isupper() else c for c in enum.name).lstrip("_").upper() + "_"
    return str(value.name).removeprefix(prefix).lower()
