"""Shared by the prototypes and the asyncio peer: options, TLS, the lines on the wire.

client -> server               server -> client
{"t":"hello","u":NAME}         {"t":"welcome"}
{"t":"join","r":ROOM}          {"t":"joined","r":ROOM}
{"t":"msg","r":ROOM,"x":TEXT}  {"t":"msg","r":ROOM,"u":NAME,"x":TEXT}, to every member
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import ssl

loads = json.loads
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(obj: object) -> bytes:
    """One line of the wire."""
    return _encode(obj).encode() + b"\n"


def options() -> argparse.Namespace:
    """The command line that all of them have; opens as many files as the system allows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument(
        "--synchronous", default="full", help="durable.py: SQLite's pragma, `full` or `normal`"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return parser.parse_args()


def calm_collector() -> None:
    """Leave what was made at start out of garbage collection, and collect seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def tls(o: argparse.Namespace, cls: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """A server's context that wants a certificate of every client."""
    context = cls(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(o.cert, o.key)
    context.load_verify_locations(o.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
