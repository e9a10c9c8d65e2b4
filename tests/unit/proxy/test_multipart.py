"""multipart: forms whose file is never held whole."""

import asyncio
import io
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.multipart import (
    FieldScanner,
    FormUpload,
    read_form,
    read_urlencoded,
    remove_urlencoded,
    rename_urlencoded,
)

TYPE = b"Content-Type: multipart/form-data; boundary=BOUND\r\n"


def part(name, value, extra=b""):
    """One part of a form."""
    head = b'--BOUND\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
    return head % (name, extra) + value + b"\r\n"


FILE = part(b"file", b"\0\r\n--BOUN\r\n" * 1000, b'; filename="model"\r\nContent-Type: audio/wav')
END = b"--BOUND--\r\n"


def scan(body, step, names=(b"model",)):
    """Feed a body in pieces of ``step`` bytes."""
    scanner = FieldScanner(b"BOUND", names)
    for start in range(0, len(body), step):
        scanner.feed(body[start : start + step])
    return scanner


@pytest.mark.parametrize("step", [1, 3, 64, 100_000])
@pytest.mark.parametrize(
    ("body", "value"),
    [
        (part(b"model", b"whisper") + FILE + END, b"whisper"),
        (FILE + part(b"model", b"whisper") + END, b"whisper"),
        (b"preamble\r\n" + part(b"x", b"") + part(b"model", b"") + END, b""),
        (part(b"model", b"first") + part(b"model", b"second") + END, b"first"),
        (part(b"model", b"a file", b'; filename="x"') + part(b"model", b"m") + END, b"m"),
        (part(b"modelx", b"m") + part(b"x", b'name="model"') + END, None),
        (FILE + END + part(b"model", b"after the end"), None),
    ],
)
def test_field_is_found_however_the_bytes_come(body, value, step):
    """The value and where it lies do not depend on how the network cut the body."""
    found = scan(body, step).fields.get(b"model")
    assert (found is not None) == (value is not None)
    if found is not None:
        assert (found.value, body[found.start : found.end]) == (value, value)


@given(
    before=st.binary(max_size=200), value=st.from_regex(rb"[a-z/:.-]{1,30}", fullmatch=True), step=st.integers(1, 50)
)
def test_any_file_before_the_field(before, value, step):
    """Whatever bytes a file has, unless they are the delimiter, the field behind it is found."""
    body = part(b"file", before, b'; filename="f"') + part(b"model", value) + END
    assert scan(body, step).fields[b"model"].value == value


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("order", list(permutations(("keep_alive", "model", "ttl", "other"))))
async def test_fields_are_taken_out(step, order):
    """Wherever they stand before the file: what is left is the form without them, to the byte."""
    parts = {name: part(name.encode(), name.encode() * 2) for name in order}
    body = b"".join(parts[name] for name in order) + FILE + END
    form = FormUpload(io.BytesIO(body), scan(body, step, (b"model", b"keep_alive", b"ttl")), len(body))
    assert [form.text(name) for name in ("keep_alive", "ttl", "other")] == ["keep_alive" * 2, "ttl" * 2, None]
    for name in ("keep_alive", "ttl", "other"):
        form.remove(name)
    form.rename("n")
    sent = b"".join([piece async for piece in form.chunks()])
    left = b"".join(parts[name] for name in order if name in ("model", "other"))
    assert sent == left.replace(b"modelmodel", b"n") + FILE + END
    assert form.length_bytes == len(sent)


def test_looking_ends_at_the_file_or_with_the_form():
    """What comes behind the file is not waited for, and what comes behind the end is nothing."""
    names = (b"model", b"keep_alive")
    late = part(b"model", b"m") + FILE[:200]
    assert (scan(late, 10, names).done, list(scan(late, 10, names).fields)) == (True, [b"model"])
    assert not scan(FILE + part(b"model", b"m"), 1000, names).done
    after = scan(FILE + part(b"model", b"m") + part(b"keep_alive", b"5m") + END, 10, names)
    assert (after.done, list(after.fields)) == (True, [b"model", b"keep_alive"])


@pytest.mark.parametrize("body", [part(b"model", b"m" * 5000), b"--BOUND\r\nX: " + b"a" * 20_000])
def test_oversized_fields_are_refused(body):
    """Neither a field nor a part's head can fill the memory."""
    with pytest.raises(RequestError) as caught:
        scan(body, 1000)
    assert caught.value.reason is Reason.INVALID_REQUEST


@pytest.fixture
def form_plane(plane):
    """A plane that forwards forms and renames their model; ``plane.forms`` has them."""
    plane.forms = []

    async def on_request(request, exchange):
        form = await read_form(request)
        plane.forms.append(form)
        form.rename("a-longer-name")
        outgoing = Outgoing("POST", request.raw_path, request.raw_headers, form, "m")
        try:
            return await forward(request, plane.upstream, outgoing, exchange)
        finally:
            form.close()

    plane.on_request = on_request
    return plane


@pytest.mark.parametrize("order", ["model first", "file first", "no model"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_form_is_forwarded_with_its_model_renamed(form_plane, wire, order, chunked):
    """Only the field's value changes, and the length with it."""
    file = part(b"file", bytes(range(256)) * 20_000, b'; filename="f"')
    model = part(b"model", b"m")
    body = {"model first": model + file, "file first": file + model, "no model": file}[order] + END
    request = wire.post(body, TYPE)
    if chunked:
        head, _, _ = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        coded = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        request = b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + b"\r\n\r\n" + coded
    answer = await form_plane.ask(request, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    peer = form_plane.requests[0]
    assert peer.body == body.replace(b"\r\n\r\nm\r\n", b"\r\n\r\na-longer-name\r\n")
    assert form_plane.forms[0].model == (None if order == "no model" else "m")
    assert ("content-length" in dict(peer.headers)) == (not chunked)


async def test_rest_of_a_form_streams(form_plane):
    """Once the model is known the upstream gets bytes while the client still holds the rest."""
    arrived = asyncio.Event()
    body = part(b"model", b"m") + part(b"file", b"x" * 100_000, b'; filename="f"') + END

    async def serve(reader, writer):
        await reader.readuntil(b"xxxx")
        arrived.set()
        await reader.readuntil(END)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    form_plane.upstream = type(form_plane.upstream)(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    reader, writer = await form_plane.client()
    async with asyncio.timeout(10):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n" % (len(body), TYPE) + body[:50_000])
        await arrived.wait()
        writer.write(body[50_000:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    server.close()
    form_plane.upstream.close()


@pytest.mark.parametrize("broken", [b"Content-Type: multipart/form-data\r\n", b"Content-Type: text/plain\r\n"])
async def test_form_without_boundary(form_plane, wire, broken):
    """A form that cannot be parted is refused."""
    assert b"invalid_request" in await form_plane.ask(wire.post(b"x", broken))


def test_urlencoded():
    """The first model counts; a rename leaves all other bytes alone."""
    body = b"a=%20+&mo%64el=m%2F1+x&b=&model=second"
    assert read_urlencoded(body, "model") == "m/1 x"
    assert rename_urlencoded(body, "n /") == b"a=%20+&mo%64el=n+%2F&b=&model=n+%2F"
    assert read_urlencoded(b"a=model", "model") is None
    assert remove_urlencoded(body, ("model", "b")) == b"a=%20+"
