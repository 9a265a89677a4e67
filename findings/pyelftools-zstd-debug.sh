#!/bin/bash
# SPDX-License-Identifier: MIT
# pyelftools says has_dwarf_info() of a file whose debug sections are compressed by zstd (ELFCOMPRESS_ZSTD, as binutils
# 2.40 and newer write them), and get_dwarf_info() then raises. Concerns whoever reads a structure's layout or line
# numbers from builds with -gz=zstd: ask by trying, and name -gz=none.
#
# Seen with pyelftools 0.33 and binutils 2.40:
#     none: has_dwarf_info True, 1 compile unit(s)
#     zlib: has_dwarf_info True, 1 compile unit(s)
#     zstd: has_dwarf_info True, ELFCompressionError: Unknown compression type: 0x2
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
python3 -m venv v
v/bin/python -m pip install --quiet --disable-pip-version-check pyelftools==0.33
for i in $(seq 200); do echo "struct s$i { int a$i; } v$i; int f$i(struct s$i *p) { return p->a$i; }"; done >code.c
gcc -g -c code.c -o none
for how in zlib zstd; do objcopy --compress-debug-sections=$how none $how; done
objcopy --version | head -1
cat >read.py <<'PY'
from elftools.elf.elffile import ELFFile

for name in ("none", "zlib", "zstd"):
    with open(name, "rb") as file:
        elf = ELFFile(file)
        try:
            units = f"{len(list(elf.get_dwarf_info().iter_CUs()))} compile unit(s)"
        except Exception as error:
            units = f"{type(error).__name__}: {error}"
        print(f"{name}: has_dwarf_info {elf.has_dwarf_info()}, {units}")
PY
v/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep pyelftools
v/bin/python read.py | tee seen
diff - seen <<'SEEN'
none: has_dwarf_info True, 1 compile unit(s)
zlib: has_dwarf_info True, 1 compile unit(s)
zstd: has_dwarf_info True, ELFCompressionError: Unknown compression type: 0x2
SEEN
