"""Errors a user may see: each says what happened, why, and what to press or change."""

from __future__ import annotations


class CaptureError(Exception):
    """A capture cannot go on; the message is one sentence or two in the user's terms, ready to show."""


class CaptureCancelled(Exception):
    """The user pressed Esc (or sent an interrupt); nothing was written."""
