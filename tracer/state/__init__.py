# SPDX-License-Identifier: MIT
"""What memsc keeps on this machine beside traces: folders of the living, and what the dead left."""
