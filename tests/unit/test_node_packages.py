# SPDX-License-Identifier: MIT
"""What `make test` fetches by npm: it trusts whom the system trusts, and says why it failed."""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READERS = "tests/unit/readers"


class _Nothing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response_only(404)  # which writes no line
        self.end_headers()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A tree where nothing was fetched yet."""
    (tmp_path / READERS).mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / READERS / name, tmp_path / READERS)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@pytest.fixture
def registry(tmp_path: Path) -> Generator[int]:
    """The port of an HTTPS server that has nothing, by a certificate that is in `own.pem`."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "own.pem"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    with http.server.ThreadingHTTPServer(("localhost", 0), _Nothing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def fetched(place: Path, registry: str, **variables: str) -> str:
    """What `make` says when it cannot be fetched there."""
    known = {k: v for k, v in os.environ.items() if not k.startswith(("NODE_", "npm_", "SSL_"))}
    settings = {"registry": registry, "cache": str(place / "cache"), "fetch_retries": "0"}
    done = subprocess.run(
        ["make", f"{READERS}/node_modules/.package-lock.json"],
        cwd=place,
        env=known | {f"npm_config_{k}": v for k, v in settings.items()} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done
    return done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the package openssl")
def test_it_trusts_whom_the_system_trusts(place: Path, registry: int) -> None:
    where = f"https://localhost:{registry}"
    assert "SELF_SIGNED" in fetched(place, where)
    assert "code E404" in fetched(place, where, SSL_CERT_FILE=str(place / "own.pem"))


def test_a_failure_says_why(place: Path) -> None:
    assert "code ECONNREFUSED" in fetched(place, "http://127.0.0.1:9")
