"""What is printed: columns that fit, documents that are stable, words of enums."""

import io
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from memwatch_proto.v1 import sessions_pb2, targets_pb2
from memwatchctl.output import MIN_CUT_WIDTH, Column, Output, fit, plain, word

texts = st.text(max_size=30)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.lists(st.booleans(), min_size=n, max_size=n),
            st.lists(st.lists(texts, min_size=n, max_size=n), min_size=1, max_size=5),
        )
    ),
    st.integers(0, 200),
)
def test_fit(shape, width):
    """Only columns that may be cut are, never below the minimum, and no more than needed."""
    cuts, table = shape
    columns: list[Column[str]] = [Column("x", str, cut=cut) for cut in cuts]
    natural, fitted = fit(columns, table, len), fit(columns, table, len, width)

    assert natural == [max(len(row[i]) for row in table) for i in range(len(columns))]
    for cut, before, after in zip(cuts, natural, fitted, strict=True):
        assert after == before or (cut and min(before, MIN_CUT_WIDTH) <= after < before)
    if fitted != natural:
        assert sum(fitted) + 2 * (len(columns) - 1) >= width


def test_table_without_a_terminal():
    """Plain columns: heads, left and right, no blank at the end, nothing cut, controls escaped."""
    out = io.StringIO()
    columns: list[Column[Any]] = [
        Column("NAME", lambda row: row[0], cut=True),
        Column("N", lambda row: row[1], True),
    ]
    Output("table", stream=out).table(columns, [("a" * 200, "1"), ("b\n\x1b[m", "22")])

    assert out.getvalue().splitlines() == [
        "NAME" + " " * 196 + "   N",
        "a" * 200 + "   1",
        r"b\n\x1b[m" + " " * 191 + "  22",
    ]


def test_documents():
    """One JSON document; several events are JSON lines, or YAML documents with separators."""
    for format_, parse in (
        ("json", lambda text: [json.loads(line) for line in text.splitlines()]),
        ("yaml", lambda text: list(yaml.safe_load_all(text))),
    ):
        stream = io.StringIO()
        out = Output(format_, stream=stream)
        out.event({"a": 1})
        out.event({"a": "ü\n"})
        assert parse(stream.getvalue()) == [{"a": 1}, {"a": "ü\n"}]


def test_plain_has_every_field():
    """Fields that are not set are there, nested ones too; 64-bit numbers are strings."""
    session = sessions_pb2.Session(id="s", plan=sessions_pb2.SessionPlan(timeframe_millis=5))
    session.plan.labels["b"] = "1"
    value = plain(session)

    assert value["state"] == "SESSION_STATE_UNSPECIFIED"
    assert value["plan"]["timeframe_millis"] == "5"
    assert value["plan"]["labels"] == {"b": "1"}
    assert value["targets"] == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (sessions_pb2.Session(state="SESSION_STATE_CAPTURING_BEFORE"), "capturing_before"),
        (sessions_pb2.Session(), ""),
        (targets_pb2.Target(state="TARGET_STATE_GONE"), "gone"),
        (sessions_pb2.Session.FromString(b"\x20\x63"), "99"),
    ],
)
def test_word(message, expected):
    """An enum's value is its word; one of a newer peer is its number."""
    assert word(message, "state") == expected


def test_pairs_leave_out_the_empty():
    """Facts that are empty are not shown."""
    out = io.StringIO()
    Output("table", stream=out).pairs([("A", "1"), ("Empty", ""), ("Long name", "2")])
    assert out.getvalue() == "A:         1\nLong name: 2\n"
