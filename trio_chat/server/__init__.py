"""The daemon: all its tasks, and what it is told; no command line and no signals."""

from trio_chat.server.config import FileConfig, ServerConfig, read_config
from trio_chat.server.server import Server, Statistics, serve
from trio_chat.server.tree import task_tree

__all__ = [
    "FileConfig",
    "Server",
    "ServerConfig",
    "Statistics",
    "read_config",
    "serve",
    "task_tree",
]
