# SPDX-License-Identifier: MIT
"""What a benchmark runs: its cases, the programs of them, peers and other tracers."""
