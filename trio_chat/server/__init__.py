"""The daemon: all its tasks, and what it is told; no command line and no signals."""

from trio_chat.server.admin_socket import open_admin_socket, serve_admin
from trio_chat.server.config import SETTINGS, FileConfig, ServerConfig, Setting, read_config
from trio_chat.server.desk import Desk, Tools
from trio_chat.server.orders import Reload
from trio_chat.server.revocation import Revocations
from trio_chat.server.server import Server, Statistics, serve
from trio_chat.server.tree import task_tree
from trio_chat.store import Inspection, inspect_database, key_path

__all__ = [
    "SETTINGS",
    "Desk",
    "FileConfig",
    "Inspection",
    "Reload",
    "Revocations",
    "Server",
    "ServerConfig",
    "Setting",
    "Statistics",
    "Tools",
    "inspect_database",
    "key_path",
    "open_admin_socket",
    "read_config",
    "serve",
    "serve_admin",
    "task_tree",
]
