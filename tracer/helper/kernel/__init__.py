# SPDX-License-Identifier: MIT
"""What the kernel is asked for directly: BPF, perf events, tracefs, threads of /proc."""
