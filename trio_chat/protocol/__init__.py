"""Bytes to frames and frames to bytes, and which frame is legal when: no I/O, as h11 is."""
