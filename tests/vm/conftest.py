# SPDX-License-Identifier: MIT
"""These tests run in the emulated machine (`make test-vm`) and nowhere else."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("MEMSC_VM") else ["test_*.py"]
