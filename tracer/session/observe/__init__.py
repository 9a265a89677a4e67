# SPDX-License-Identifier: MIT
"""The session's side of the privileged helper: its channel, its probes' rings, its counters."""
