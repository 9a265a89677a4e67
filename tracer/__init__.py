# SPDX-License-Identifier: MIT
"""A session: starts the target, attaches probes, drains, aligns clocks, writes the trace."""
