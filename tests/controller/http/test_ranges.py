import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.api.http.ranges import Span, UnsatisfiableError, parse


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", None),
        ("bytes=0-", Span(0, 100)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header, span):
    """One range is understood; what is not is answered with everything."""
    assert parse(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_behind_the_end(header):
    """A range without a single byte is an error, not an empty answer."""
    with pytest.raises(UnsatisfiableError):
        parse(header, 100)


@given(header=st.text(max_size=30) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True))
def test_any_header_gives_bytes_that_are_there(header):
    """No header makes us read outside of the blob."""
    try:
        span = parse(header, 1000)
    except UnsatisfiableError:
        return
    assert span is None or 0 <= span.start < span.end <= 1000
