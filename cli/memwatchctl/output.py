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


class Column(NamedTuple, Generic[T]):
    """One column: its head, how a cell is made, and how it is set.

    `style` names a colour for a cell's text; ids are `whole`: never cut to fit a terminal.
    """

    head: str
    cell: Callable[[T], str]
    right: bool = False
    whole: bool = False
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

            self._console().print(Text(printable(text), style))
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
        if self._stream.isatty():
            self._rich_table(columns, cells)
        else:
            self._plain_table(columns, cells)

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

    def _plain_table(self, columns: Sequence[Column[T]], cells: list[list[str]]) -> None:
        table = [[column.head for column in columns], *cells]
        widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
        for row in table:
            set_ = [
                f"{cell:>{width}}" if column.right else f"{cell:<{width}}"
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self._write("  ".join(set_).rstrip() + "\n")

    def _rich_table(self, columns: Sequence[Column[T]], cells: list[list[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.head,
                justify="right" if column.right else "left",
                no_wrap=True,
                overflow="fold" if column.whole else "ellipsis",
                min_width=_widest(column, columns, cells) if column.whole else 4,
            )
        for row in cells:
            table.add_row(
                *(
                    Text(cell, column.style(cell) if column.style else "")
                    for cell, column in zip(row, columns, strict=True)
                )
            )
        self._console().print(table)

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(
            file=self._stream, no_color=self._no_color, highlight=False, emoji=False, markup=False
        )


def _widest(column: Column[T], columns: Sequence[Column[T]], cells: list[list[str]]) -> int:
    index = columns.index(column)
    return max((len(row[index]) for row in cells), default=len(column.head))


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
