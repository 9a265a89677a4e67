# SPDX-License-Identifier: MIT
"""A fleet in an object store is read as one on disk is: `make test-s3`."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pandas as pd
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.runtime.errors import MemscError


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    s3fs = pytest.importorskip("s3fs", reason="make test-s3 brings it")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("traces")
    yield "s3://traces"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_a_fleet_lies_in_an_object_store(bucket: str, tmp_path: Path) -> None:
    import s3fs  # pyright: ignore[reportMissingImports]

    for seed, host in enumerate(("web1", "web2")):
        (tmp_path / f"host={host}").mkdir()
        path = tmp_path / f"host={host}" / f"run={seed}.memsc"
        traces.fabricate(path, arms=("direct", "memsc"), rounds=3, calls=3000, seed=seed)
    s3fs.S3FileSystem().put(f"{tmp_path}/", f"{bucket}/fleet", recursive=True)

    fleet = ma.open_many(f"{bucket}/fleet/*/")
    assert [one.path for one in fleet.partitions] == [
        f"{bucket}/fleet/host={host}/run={seed}.memsc" for seed, host in enumerate(("web1", "web2"))
    ]
    pd.testing.assert_frame_equal(fleet.df_stages(), ma.open_many(str(tmp_path)).df_stages())
    one = ma.open(f"{bucket}/fleet/host=web1/run=0.memsc")
    assert len(one.stages.df_stages()) > 0
    with pytest.raises(MemscError, match="nothing is there"):
        ma.open_many(f"{bucket}/none/*/")
