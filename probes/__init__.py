# SPDX-License-Identifier: MIT
"""Probes: each one is its BPF C and its declaration."""
