"""One input for the fuzzer: its first letter says what is fed with the rest, the byte 255 ends a read.

``python tests/fuzz/target.py [OPTIONS OF LIBFUZZER] FOLDER...`` needs atheris; the tests run its corpus without.
"""

import asyncio
import contextlib
import json
import sys

import structlog

try:
    import atheris
except ImportError:  # the corpus is replayed without
    atheris = None

# Its coverage of our own code guides the fuzzer.
with atheris.instrument_imports(include=["llama_swap.proxy"]) if atheris else contextlib.nullcontext():
    from harness import check_answer, check_requests

    from llama_swap.errors import RequestError
    from llama_swap.proxy.body import BodyRules, apply_rules, read_model
    from llama_swap.proxy.multipart import FieldScanner

BOUNDARY = b"b"
_LONGEST_BYTES = 4096


class Fuzzer:
    """Feeds inputs one after another on one loop."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

    def feed(self, data):
        """Raise an AssertionError, or whatever our code raises, for an input that shows a defect."""
        selector, reads = data[:1], [read for read in data[1:_LONGEST_BYTES].split(b"\xff") if read]
        match selector:
            case b"r":
                self._loop.run_until_complete(check_requests(reads))
            case b"a" | b"A":
                self._loop.run_until_complete(check_answer(reads, modern=selector == b"a"))
            case b"h":
                self._loop.run_until_complete(check_answer(reads, method=b"HEAD"))
            case b"f":
                check_form(reads)
            case b"j":
                check_json(b"".join(reads))

    def close(self):
        """End the loop."""
        self._loop.close()


def check_form(reads):
    """However a form is cut, the same fields are found in it, at the places that are told."""
    whole = b"".join(reads)
    found = _scan([whole])
    assert found == _scan(reads)
    for field in found.values() if found else ():
        assert whole[field.start : field.end] == field.value
        assert b"\r\n--" + BOUNDARY not in field.value
        assert whole[field.part_start :].startswith(b"--" + BOUNDARY)
        assert field.part_start < field.start <= field.end < field.part_end


def _scan(reads):
    """The fields of a form; None where it is refused."""
    scanner = FieldScanner(BOUNDARY, (b"model", b"ttl"))
    try:
        for read in reads:
            scanner.feed(read)
    except RequestError:
        return None
    return scanner.fields


def check_json(body):
    """A model that we find in a body is the one that another parser finds, and a rewrite changes nothing else."""
    try:
        name = read_model(body).name
        changed = apply_rules(body, BodyRules(use_model_name="other", strip_params=("gone",), set_params={"set.it": 1}))
    except RequestError:
        return
    if name is None:
        return
    before, after = _parse(body), _parse(changed)
    assert isinstance(before["model"], str | int | float | list | dict)
    assert not isinstance(before["model"], str) or before["model"] == name
    assert after.pop("model") == "other"
    if isinstance(before.get("set"), list):
        assert after["set"] == before["set"]  # an array has no place of that name
    else:
        assert after["set"]["it"] == 1
    before.pop("model")
    for key in ("gone", "set"):
        before.pop(key, None)
        after.pop(key, None)
    assert repr(before) == repr(after)


def _parse(body):
    # msgspec does not look into strings that nobody asks for, so whatever bytes they hold must pass here as well.
    return json.loads(body.decode("utf-8", "surrogateescape"), strict=False)


if __name__ == "__main__":
    atheris.Setup(sys.argv, Fuzzer().feed)
    atheris.Fuzz()
