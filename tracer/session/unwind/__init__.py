# SPDX-License-Identifier: MIT
"""From a thread's innermost frame to its first, without frame pointers: rules, tables, walks."""
