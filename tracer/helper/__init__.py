# SPDX-License-Identifier: MIT
"""All that runs as root, and what it is asked by: `boot` is its first file, `server` its heart.

It imports the standard library, BCC, `memsc.probes` and the plainest of `memsc.runtime`, and
believes nothing it is told. The session imports from here; nothing here imports from the session.
"""
