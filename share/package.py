# SPDX-License-Identifier: MIT
"""Forward system calls through shared memory to another CPU, and show where the time goes."""
