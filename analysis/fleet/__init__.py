# SPDX-License-Identifier: MIT
"""Traces of many hosts as one dataset."""
