# SPDX-License-Identifier: MIT
"""Figures: pure functions of frames. Only here is matplotlib imported."""
