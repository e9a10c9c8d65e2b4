"""Who has a port."""

import os
import socket

from llama_swap.process.listener import Listener, foreign_listener, inodes_from_tables, listening_inodes
from llama_swap.process.procfs import read_stat

FUTURE = 1 << 60


def inode(sock):
    """The inode of one of our sockets."""
    return os.fstat(sock.fileno()).st_ino


def test_both_ways_find_the_listening_sockets_of_both_families():
    """The kernel's own answer and the tables agree; connections on the port do not count."""
    with socket.create_server(("127.0.0.1", 0)) as four:
        port = four.getsockname()[1]
        with (
            socket.create_server(("::1", port), family=socket.AF_INET6) as six,
            socket.create_connection(("127.0.0.1", port)),
        ):
            assert listening_inodes(port) == inodes_from_tables(port) == {inode(four), inode(six)}
    assert listening_inodes(port) == set()


def test_the_tables_are_read_as_the_kernel_writes_them(tmp_path):
    """Port 5800 is 16A8; state 0A listens, 01 is a connection."""
    row = "   0: 0100007F:16A8 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0\n"
    (tmp_path / "tcp").write_text("  sl  local_address ...\n" + row.format("0A", 77) + row.format("01", 78))
    assert inodes_from_tables(5800, tmp_path) == {77}
    assert inodes_from_tables(5801, tmp_path) == set()


def test_where_the_kernel_does_not_answer_the_tables_do(monkeypatch):
    """A sandbox without netlink, a kernel without inet_diag."""
    real = socket.socket

    def refuse(family=-1, *rest, **options):
        if family == socket.AF_NETLINK:
            raise PermissionError
        return real(family, *rest, **options)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(socket, "socket", refuse)
        assert listening_inodes(server.getsockname()[1]) == {inode(server)}


def test_a_listener_is_foreign_when_it_is_older_and_not_of_the_tree():
    """Ourselves, here: foreign to a younger child, not to an older one, not to ourselves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = foreign_listener(port, own=[], before_ticks=FUTURE)
        assert isinstance(found, Listener)
        assert found.pid == os.getpid()
        assert "python" in found.program
        assert foreign_listener(port, own=[], before_ticks=read_stat(os.getpid()).start_ticks) is None
        assert foreign_listener(port, own=[os.getpid()], before_ticks=FUTURE) is None
    assert foreign_listener(port, own=[], before_ticks=FUTURE) is None
