"""The checks. `nox` runs lint, types and test; `nox -l` lists everything."""

import shutil

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "test"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False  # skipped, also where CI is set

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format; arguments go to ruff's check (--fix, say)."""
    session.install(*_group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", "--diff")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    session.install("-e.", *_group("types"), "nox")
    session.run("mypy", *session.posargs)


@nox.session(python=PYTHONS)
def test(session: nox.Session) -> None:
    """Run the tests against the built wheel; arguments go to pytest."""
    session.install(".", *_group("test"))
    session.run("pytest", "-n2", "--dist=loadscope", *session.posargs)


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """Run the long tests too: 1,000 hostile connections, a simulated day."""
    session.install("-e.", *_group("test"))
    session.run("pytest", "--stress", "-m", "stress", *session.posargs)


@nox.session(default=False)
def vectors(session: nox.Session) -> None:
    """Run MLS vectors from a directory, say a checkout of mlswg/mls-implementations."""
    session.install(".")
    session.run("python", "tests/mls/run_vectors.py", *session.posargs)


@nox.session(default=False)
def interop(session: nox.Session) -> None:
    """Talk MLS, both ways, with mls-rs and with ts-mls, which needs node 20 and npm."""
    session.install(".", "agentvault-mls-rs-uniffi==0.1.1")
    session.run("python", "tests/mls/interop/live.py", "mls-rs")
    if not (shutil.which("node") and shutil.which("npm")):
        session.error("ts-mls needs node 20 and npm on the PATH: apt-get install nodejs npm")
    folder = session.create_tmp()
    packages = ("ts-mls@1.6.4", "@hpke/chacha20poly1305@1.8.0", "@noble/curves@2.0.1")
    session.run("npm", "install", "--no-save", "--prefix", folder, *packages, external=True)
    session.run("python", "tests/mls/interop/live.py", "ts-mls", folder)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz MLS with atheris, a minute long; arguments are seconds and libFuzzer's options."""
    session.install("-e.", *_group("test"), "atheris>=3")
    session.run("python", "-m", "tests.mls.fuzz", *session.posargs)


@nox.session(default=False)
def simulate(session: nox.Session) -> None:
    """Live 500 random lives of MLS groups; arguments go to pytest."""
    session.install("-e.", *_group("test"))
    session.run("pytest", "--stress", "tests/mls/test_simulation.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against the peers that are installed; arguments go to benchmarks/bench.py."""
    session.install(".")
    session.run("python", "benchmarks/bench.py", *session.posargs)


@nox.session(default=False)
def instructions(session: nox.Session) -> None:
    """Count the server's instructions against the baseline; needs valgrind and openssl."""
    session.install("-e.")
    session.run("python", "benchmarks/instructions.py", *session.posargs)


@nox.session(default=False)
def scale(session: nox.Session) -> None:
    """Try large sizes: 5,000 members, a million lines, 1 GB; needs what bench needs."""
    session.install("-e.")
    session.run("python", "benchmarks/scale.py", *session.posargs)
