# SPDX-License-Identifier: MIT
"""What this machine can do for memsc: each feature is tried."""
