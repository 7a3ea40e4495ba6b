"""Asks the kernel to tell this process when its parent ends, so that it does not work on for nobody (Linux only)."""

from __future__ import annotations

import ctypes
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def ask_for_signal(number: signal.Signals) -> bool:
    """Ask for a signal when the parent ends; whether the kernel can. One that has ended already is not told of."""
    if not sys.platform.startswith("linux"):
        return False
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, number)
    return True
