# SPDX-License-Identifier: MIT
"""Compiles probes, has the kernel verify them, and puts them into their places."""
