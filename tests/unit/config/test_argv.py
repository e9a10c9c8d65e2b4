"""The splitting of commands."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config.argv import drop_comments, fill_env, split_command, split_words

ARGUMENTS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), max_size=6)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("", ()),
        (" \t\n ", ()),
        ("a  b\tc\nd", ("a", "b", "c", "d")),
        ("a\rb \x0b", ("a\rb", "\x0b")),
        ("'a b' \"c d\"", ("a b", "c d")),
        ('a="b c"d', ("a=b cd",)),
        ("'' x \"\"", ("", "x", "")),
        (r"'a\b'", (r"a\b",)),
        (r'"\$ \` \" \\ \n"', (r"$ ` " + '"' + r" \ \n",)),
        (r"\'a\ b\n", ("'a bn",)),
        ("a\\\nb", ("ab",)),
        ('"a\\\nb"', ("ab",)),
        ("'unclosed x", ("unclosed x",)),
        ('"unclosed x', ("unclosed x",)),
        ('"', ("",)),
        ("x \\", ("x",)),
        ("x#y # z", ("x#y", "#", "z")),
        ("$HOME ~ *.py ; | && `ls` $(ls) ${X:-y}", ("$HOME", "~", "*.py", ";", "|", "&&", "`ls`", "$(ls)", "${X:-y}")),
    ],
)
def test_words(text, argv):
    """Quotes, escapes and blanks mean what they mean for llama-swap; nothing else means anything."""
    assert split_words(text, {}) == argv


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("a \\\n  b \\\nc", ("a", "b", "c")),
        ("a \\  \n b", ("a", "b")),
        ("a\n# x 'y\n  # z\nb", ("a", "b")),
        ("a \\\n# x \\\n b", ("a", "b")),
        ("# only\n  # comments", ()),
        ("a 'b\n# in quotes\nc'", ("a", "b\nc")),
    ],
)
def test_lines(command, argv):
    """Comment lines go first, even inside quotes, then the backslash that ends a line."""
    assert split_command(command) == argv


def test_drop_comments_leaves_the_rest():
    """Only whole lines are dropped."""
    assert drop_comments("a # b\n #c\n  d \\\n") == "a # b\n  d \\\n"


@given(ARGUMENTS)
def test_quoted_arguments_come_back(arguments):
    """What :func:`shlex.join` quotes is split into the same arguments."""
    assert split_words(shlex.join(arguments), {}) == tuple(arguments)


@given(ARGUMENTS)
def test_double_quoted_arguments_come_back(arguments):
    """So does what is escaped by hand in double quotes."""
    escaped = ("".join(f"\\{char}" if char in '$`"\\' else char for char in argument) for argument in arguments)
    assert split_words(" ".join(f'"{argument}"' for argument in escaped), {}) == tuple(arguments)


@given(st.text("ab'\"\\ \t\n#$`{}", max_size=30))
def test_any_text_is_split(text):
    """No text makes the splitter fail, and no character is invented."""
    words = split_words(text, {})
    assert sum(map(len, words)) <= len(text)


@given(st.lists(st.text("ab -'\"\\", min_size=1, max_size=6), min_size=1, max_size=4))
def test_closed_text_is_split_as_a_shell_does(pieces):
    r"""Where the standard library's POSIX splitter accepts a text, ours gives the same, but for `\\$` and newlines."""
    text = " ".join(pieces)
    try:
        expected = shlex.split(text)
    except ValueError:
        return
    assert split_words(text, {}) == tuple(expected)


def test_same_as_a_real_shell():
    """A command with every kind of quote is split as `sh` splits it."""
    text = r"""--a='{"b": [1, "c d"]}' "x\"y\\z\$" \"q\" a'b'"c"\ d ''"""
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True, text=True)
    assert split_words(text, {}) == tuple(done.stdout.split("\0")[:-1])


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("x ${env.V}", ("x", "a'b", "c\\")),
        ("x=${env.V}y", ("x=a'b", "c\\y")),
        ("'${env.V}'", ("a'b c\\",)),
        ('p"${env.V}"s', ("pa'b c\\s",)),
        ("${env.EMPTY} x", ("x",)),
        ('"${env.EMPTY}" x', ("", "x")),
        ("${env.BLANKS}x", ("x",)),
        ("y${env.BLANKS}", ("y",)),
        ("${env.OTHER}", ("${env.OTHER}",)),
        (r"\${env.V}", ("${env.V}",)),
    ],
)
def test_environment_values_are_data(text, argv):
    """The quotes and backslashes of a value are part of it; its blanks separate words outside quotes only."""
    assert split_words(text, {"V": "a'b c\\", "EMPTY": "", "BLANKS": "  "}) == argv


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_quoted_environment_value_is_one_argument(value):
    """In double quotes any value is exactly one argument."""
    assert split_words('a "${env.V}" b', {"V": value}) == ("a", value, "b")


def test_fill_env():
    """Known macros are replaced once; a value is not searched again."""
    assert fill_env("${env.A} ${env.B}", {"A": "${env.A}"}) == "${env.A} ${env.B}"
