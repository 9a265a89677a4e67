# SPDX-License-Identifier: MIT
"""What others' readers show of memsc's files: the table of docs/readers.md, made by trying."""
