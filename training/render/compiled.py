"""Where compiled code is cached: never inside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mocap_anything" / "numba"
os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache))

import numba  # noqa: E402  (numba reads the variable when it is imported)

_settings: Any = numba.config
if not _settings.CACHE_DIR:
    _settings.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The project's numba decorator: releases the interpreter lock, cached on disk, fast floating point."""
    return numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", **options)
