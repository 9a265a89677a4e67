# SPDX-License-Identifier: MIT
"""A session: starts or finds a program, drains what it leaves, aligns clocks, writes the trace."""
