# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A fleet with Dask
#
# One machine on one day says little. Here are twelve traces of three hosts, four runs each, read as one data set:
# first in this process, then on a cluster, with the same result.
#
# They lie as a fleet's traces would in a bucket, `host=NAME/run=N.memsc`; `ma.open_many` takes any place that
# fsspec reads. These were recorded by one machine at twelve times, which stands for three.

# %%
# %load_ext memsc.commands.magic
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from memsc import analysis as ma
from memsc.analysis.figures.style import colour, styled

pd.set_option("display.float_format", "{:,.4g}".format)
fleet = ma.open_many("traces/fleet")
fleet.df_partitions()[["host", "run", "calls", "lost", "status"]]

# %% [markdown]
# Each trace is a partition and is judged by itself: had one lost calls, it would be `withheld`, and so would the
# verdict over all.
#
# ## All together
#
# Every partition is reduced to histograms, where it lies, and the histograms are merged by adding counts. So a
# p99 of the fleet is the p99 of all its calls. The mean of twelve p99s would be another number, and no
# percentile of anything.

# %%
whole = fleet.df_stages(syscalls=False).query("stage == 'total'")
whole[
    ["arm", "n", "rounds", "mean_ns", "mean_low_ns", "mean_high_ns", "p50_ns", "p99_ns", "interval"]
]

# %% [markdown]
# The unit of replication is the run: intervals are over the twelve traces, not over their thousands of calls.
# For the mean they are wide, since a few calls of milliseconds decide it. The median hardly moves.
#
# ## Host by host

# %%
hosts = fleet.df_stages(by="host", syscalls=False).query("stage == 'total'")
hosts[["host", "arm", "n", "mean_ns", "mean_low_ns", "mean_high_ns", "p50_ns", "p99_ns"]]

# %%
figure = Figure(figsize=(7, 2.8), layout="constrained")
with styled():
    axes = figure.subplots()
    for place, (_, rows) in enumerate(hosts.groupby("host")):
        for shift, row in zip((-0.13, 0.13), rows.itertuples(), strict=True):
            axes.plot([row.p50_low_ns, row.p50_high_ns], [place + shift] * 2, color=colour(row.arm))
            axes.plot(
                row.p50_ns,
                place + shift,
                "o",
                color=colour(row.arm),
                label=row.arm if place == 0 else None,
            )
    axes.set_yticks(range(hosts["host"].nunique()), sorted(hosts["host"].unique()))
    axes.set_ylim(hosts["host"].nunique() - 0.5, -0.5)
    axes.set_xlim(0)
    axes.set_xlabel("median of the total, ns, with its 95 % interval over runs")
    axes.legend(loc="lower left")
    sns.despine(figure)
figure

# %% [markdown]
# The medians of the three agree within their intervals, as they should: it is one machine. Where they do not, a
# fleet's question begins.
#
# ## The same on a cluster
#
# `dask.distributed` runs the same function on each partition; here by two worker processes of this machine, else
# by whatever answers at the address. The workers must see the same paths, and send back histograms, not calls.

# %%
from distributed import LocalCluster

with LocalCluster(
    n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
) as cluster:
    there = ma.open_many("traces/fleet", cluster=cluster.scheduler_address)
    same = there.df_stages().equals(fleet.df_stages())
same

# %% [markdown]
# Not nearly the same: equal, to the last bit, whatever worker was first.
#
# ## A damaged one
#
# Of many traces one is always broken. It is named, and nothing is computed as if it were not there:

# %%
from memsc.runtime.errors import MemscError

scratch = tempfile.TemporaryDirectory()
copy = Path(scratch.name) / "fleet"
shutil.copytree("traces/fleet", copy)
part = next((copy / "host=birch" / "run=2.memsc" / "calls").iterdir())
part.write_bytes(part.read_bytes()[:1000])
try:
    ma.open_many(str(copy)).df_stages()
except MemscError as error:
    print(str(error).replace(scratch.name, "…"))

# %% [markdown]
# Unless told so; then it is counted as skipped and stands in the table with its reason.

# %%
rest = ma.open_many(str(copy), skip_failed=True)
table = rest.df_partitions()
print(table["status"].value_counts().to_string())
rest.df_stages(syscalls=False).query("stage == 'total'")[["arm", "n", "rounds", "p50_ns"]]
