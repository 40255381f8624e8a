import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.api import fields
from memwatch_controller.errors import InvalidArgumentError


@pytest.mark.parametrize(
    "bad", ["../x", "a/b", "a\x00", "a\nb", ".hidden", "a" * 129, "ü", "a b", "%2e%2e"]
)
def test_bad_ids_are_refused_with_the_fields_name(bad):
    """Whatever is no id of ours never gets further than the border."""
    with pytest.raises(InvalidArgumentError, match="field 'session_id' is "):
        fields.ident("session_id", bad)


@pytest.mark.parametrize("bad", ["a\x00b", "a\nb", "a\x1b[31m", "x" * 513, "\u2028"])
def test_bad_names_are_refused(bad):
    """Names are data, but one line of printable text."""
    with pytest.raises(InvalidArgumentError, match="field 'service'"):
        fields.name("service", bad)
    assert fields.name("service", "Büro & <b>☃</b>") == "Büro & <b>☃</b>"


@pytest.mark.parametrize("bad", ["../x", "a/b", "a\\b", "..", "/etc/passwd"])
def test_file_names_hold_no_path(bad):
    """A file's name is never a path."""
    with pytest.raises(InvalidArgumentError, match="without a path"):
        fields.file_name("file_name", bad)


def test_refusals_never_echo_control_characters():
    """What is quoted in a refusal is escaped and cut."""
    with pytest.raises(InvalidArgumentError) as caught:
        fields.ident("id", "\x1b]0;evil\x07" + "x" * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(time=st.integers(0, 1 << 61), last=st.text(max_size=40))
def test_tokens_come_back_as_they_went(time, last):
    """A page token names the item after which the list goes on."""
    assert fields.cursor(fields.token(time, last)) == (time, last)


@given(token=st.text(min_size=1, max_size=60))
def test_foreign_tokens_are_refused(token):
    """Any text that is no token of ours is an INVALID_ARGUMENT, never a crash."""
    with pytest.raises(InvalidArgumentError, match="page_token"):
        fields.cursor(token)


@pytest.mark.parametrize(("asked", "given"), [(0, 100), (5, 5), (1000, 1000), (5000, 1000)])
def test_page_sizes_are_bounded(asked, given):
    """0 means 100, and no page is larger than 1000."""
    assert fields.page_size(asked) == given


def test_a_negative_page_size_is_refused():
    """A negative size is a mistake, not a default."""
    with pytest.raises(InvalidArgumentError, match="page_size"):
        fields.page_size(-1)


def test_pages_end_where_the_list_ends():
    """The last page has no token, the others name their last item."""
    assert fields.page([1, 2, 3], 2) == ([1, 2], 2)
    assert fields.page([1, 2], 2) == ([1, 2], None)
