"""upstream: TLS towards it - trusted blindly on this machine only."""

import asyncio
import shutil
import ssl
import subprocess

import pytest

from llama_swap.proxy.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-made certificate for a name that no test uses, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    making = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other.invalid"]
    subprocess.run([*making, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture
async def secure_port(certificate):
    """An upstream that speaks TLS and answers each request."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def serve(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_self_made_certificates_pass_on_this_machine(plane, wire, secure_port, host):
    """The answer comes through TLS, on a connection that is used again."""
    plane.upstream = Upstream(f"https://{host}:{secure_port}")
    for _ in range(2):
        assert (await plane.ask(wire.get)).endswith(b"\r\n\r\nhi")
    plane.upstream.close()


async def test_certificates_of_others_are_checked(plane, wire, secure_port):
    """A server elsewhere that cannot prove its name gets no request."""
    plane.upstream = Upstream(f"https://upstream.invalid:{secure_port}")
    plane.upstream._hosts = ("127.0.0.1",)  # what the name would resolve to
    answer = await plane.ask(wire.get)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"cannot be reached" in answer
    assert b"certificate verify failed" in answer.lower()
