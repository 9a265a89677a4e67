# SPDX-License-Identifier: MIT
"""Probes: one pair of files each, its BPF C and its declaration. Standard library only."""
