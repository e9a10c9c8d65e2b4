"""Control groups: which one is delegated to us, and what is written where; in ordinary folders.

What a kernel makes of it is tested with real groups, where there are any: tests/integration/process/test_guardian.py.
"""

import os

import pytest

from llama_swap.process.cgroup import Cgroup, CgroupRoot, enter_delegated_root, memory_kills, own_cgroup

MOUNTS = """\
22 1 0:20 / /proc rw - proc proc rw
30 22 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw
"""


@pytest.fixture
def unit(tmp_path):
    """A group as systemd makes one for a unit with Delegate=yes."""
    folder = tmp_path / "llama-swap.service"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("")
    try:
        os.setxattr(folder, "user.delegate", b"1")
    except OSError:
        pytest.skip("this file system has no user attributes")
    return folder


def test_our_own_group_is_where_proc_says(tmp_path):
    """Below the mount point of cgroup2."""
    (tmp_path / "cgroup").write_text("4:memory:/x\n0::/system.slice/llama-swap.service\n")
    (tmp_path / "mountinfo").write_text(MOUNTS.format("/sys/fs/cgroup"))
    assert str(own_cgroup(tmp_path)) == "/sys/fs/cgroup/system.slice/llama-swap.service"


def test_in_a_namespace_the_top_is_ours(tmp_path):
    """ProtectControlGroups=private shows the unit its own group as the whole tree."""
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text(MOUNTS.format("/sys/fs/cgroup"))
    assert str(own_cgroup(tmp_path)) == "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [
        ("4:memory:/x\n", MOUNTS.format("/c")),
        ("0::/a\n", "22 1 0:20 / /proc rw - proc proc rw\n"),
        ("0::/a\n", "30 22 0:26 /b /c rw - cgroup2 cgroup2 rw\n"),
    ],
    ids=["v1", "unmounted", "outside"],
)
def test_no_group_of_our_own(tmp_path, cgroup, mounts):
    """Then everything works without."""
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(mounts)
    assert own_cgroup(tmp_path) is None
    assert enter_delegated_root(own_cgroup(tmp_path / "nowhere")) is None


def test_in_a_delegated_group_we_make_room_at_the_top(unit):
    """The service moves into a leaf."""
    assert enter_delegated_root(unit).path == unit
    assert (unit / "service" / "cgroup.procs").read_text() == f"{os.getpid()}\n"


def test_in_the_leaf_of_a_delegated_group_we_stay(unit):
    """The service manager can start us there (DelegateSubgroup=service)."""
    leaf = unit / "service"
    leaf.mkdir()
    assert enter_delegated_root(leaf).path == unit
    assert not (leaf / "cgroup.procs").exists()


def test_what_is_merely_writable_is_not_ours(tmp_path):
    """Root may write everywhere."""
    (tmp_path / "cgroup.procs").write_text("")
    assert enter_delegated_root(tmp_path) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "cgroup.procs"]


def test_a_group_per_instance(unit):
    """Its name shows the model, with nothing in it that a path or a kernel file could mean."""
    group = CgroupRoot(unit).create("author/model:7b", 3)
    assert group.path == unit / "instance-3-author_model_7b"
    assert CgroupRoot(unit).create("author/model:7b", 3) is None
    assert CgroupRoot(unit / "gone").create("m", 4) is None


def test_members_kill_and_removal_reach_groups_below(tmp_path):
    """A child may have made groups of its own."""
    folder = tmp_path / "instance-1-m"
    (folder / "below").mkdir(parents=True)
    group = Cgroup(folder)
    (folder / "below" / "cgroup.procs").write_text("12\n13\n")
    group.add(11)
    assert sorted(group.members()) == [11, 12, 13]
    group.kill()
    assert (folder / "cgroup.kill").read_text() == "1\n"
    for path in (folder / "cgroup.kill", folder / "cgroup.procs", folder / "below" / "cgroup.procs"):
        path.unlink()  # in a cgroup the kernel's files go with their folder
    group.remove()
    assert not folder.exists()
    group.remove()
    group.add(1)
    assert group.members() == []


def test_kills_for_want_of_memory(tmp_path):
    """Counted in the nearest group that has the memory controller; none where nobody counts."""
    inner = tmp_path / "unit" / "instance-1"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent, tmp_path):
        (folder / "cgroup.procs").write_text("")
    assert memory_kills(None) == 0
    assert memory_kills(inner) == 0
    (inner.parent / "memory.events").write_text("low 0\nhigh 7\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n")
    assert memory_kills(inner) == 2
    (inner / "memory.events").write_text("oom 0\noom_kill 0\n")
    assert memory_kills(inner) == 0
