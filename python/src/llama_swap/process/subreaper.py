"""Inherit the orphans of our descendants: prctl(2) PR_SET_CHILD_SUBREAPER (Linux 3.4), which Python has no call for."""

import ctypes

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans(*, wanted: bool) -> bool:
    """Makes this process the parent of every orphan below it, or no longer; False when the kernel refuses."""
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == 0)
