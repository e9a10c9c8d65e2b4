"""Text from outside cannot forge lines or steer a terminal."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.logs.text import escaped, escaped_lines, logfmt_value, quoted

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_escaped_text_is_one_printable_line(text):
    """Whatever comes in, what goes out is one line without controls that can be encoded."""
    out = escaped(text)
    assert len(out.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in out)
    out.encode()


@given(ANY_TEXT)
def test_a_logfmt_value_is_one_word(text):
    """A value never ends its pair: a shell-like reader sees exactly one word."""
    assert len(shlex.split("key=" + logfmt_value(text).replace("'", "\\'").replace("#", "\\#"), comments=False)) == 1


def test_what_is_printable_stays():
    """Letters of any language, quotes and backslashes are left alone."""
    assert escaped('Grüße "日本" \\o/ 🦙') == 'Grüße "日本" \\o/ 🦙'


def test_controls_are_written_out():
    """Newlines, escape sequences and marks of direction appear as what they are."""
    assert escaped("a\nb\x1b[2J\u202ec\x9b\u2028") == "a\\nb\\x1b[2J\\u202ec\\x9b\\u2028"


def test_lines_of_our_own_stay_lines():
    """A traceback keeps its newlines and nothing else."""
    assert escaped_lines("a\nb\r\x1b") == "a\nb\\r\\x1b"


def test_quoted_text_cannot_leave_its_quotes():
    """Quotes and backslashes are escaped, long text is cut."""
    assert quoted('x" 200 "', 20) == '"x\\" 200 \\""'
    assert quoted("x\\", 20) == '"x\\\\"'
    assert quoted("0123456789", 5) == '"0123…"'


def test_logfmt_values():
    """Words are bare, the rest is quoted, None is empty, booleans are lower case."""
    values = [None, True, False, 3, 1.5, "word", "", "two words", 'a"b', "a=b", "a\nb", "c:\\d"]
    assert [logfmt_value(value) for value in values] == [
        *("", "true", "false", "3", "1.5", "word", '""', '"two words"', '"a\\"b"', '"a=b"', '"a\\nb"', '"c:\\\\d"')
    ]
