# SPDX-License-Identifier: MIT
"""The domains of an opened trace (`t.stages`, `t.tail`, …): frames, and plots of them."""
