# SPDX-License-Identifier: MIT
"""Records: starts a program or attaches to one, attaches probes, drains, and writes the trace."""
