# SPDX-License-Identifier: MIT
"""The benchmark of a machine: what is run under which arms, and what is judged by it."""
