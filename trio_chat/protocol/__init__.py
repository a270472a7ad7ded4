"""Bytes to lines to frames, and frames to bytes: no I/O, as h11 is."""
