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
# # Who stole my nanoseconds?
#
# Most forwarded calls take a few hundred nanoseconds, a few take milliseconds. This notebook asks of each slow
# call what made it slow, and says how far the answer can be trusted.
#
# The trace is of `dd`, 20 000 calls a run, four runs under each of two arms, on two CPUs of a virtual machine
# that others were using too. While it ran, a known thief (`memsc-work spin 1`, started by a shell) took one
# CPU or the other for a millisecond at a time. The probes `sched`, `ipi` and `noise` watched both CPUs.

# %%
# %load_ext memsc.commands.magic
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from memsc import analysis as ma
from memsc.analysis.figures.colours import STAGE_COLOURS
from memsc.analysis.figures.style import styled
from memsc.tracer.format import STAGES

pd.set_option("display.float_format", "{:,.3g}".format)
t = ma.open("traces/tail.memsc")
t

# %% [markdown]
# ## How bad is it?

# %%
t.stages.plot_overview()

# %% [markdown]
# Up to p99 the two lines fall steeply: nothing happened to these calls. Behind p99.9 they turn into tails that
# reach milliseconds, ten thousand times the median. The left side shows what that does to means: `memsc` seems
# to spend its time in *poll* and *complete*, but that is the tail speaking. This is why means come with
# intervals, and why nothing is removed.
#
# ## In which stage is it lost?
#
# Percentiles of stages cannot be subtracted. Means of whole calls can: those above p99 minus those up to p90.

# %%
excess = t.tail.df_excess().query("syscall == 'all'")
excess.pivot_table(index="arm", columns="stage", values="excess_share", sort=False)

# %% [markdown]
# A direct call has one stage, so all is lost there. A forwarded call can be robbed on both sides: of the
# application's CPU (it shows in *complete*: the result is there, nobody fetches it) and of the service's (in
# *poll* and *execute*).
#
# ## By whom?
#
# Each call above p99 is laid beside what the kernel did on the CPUs it needed, stage by stage. The excess of a
# stage over its usual time belongs to the event that had the CPU then; what is left and too long for the
# processor belongs to the host, if the side that should have looked did not look; what no evidence supports
# stays unexplained.

# %%
causes = t.tail.df_causes()
causes[causes["band"] == "p999"].groupby("arm", sort=False).head(8).drop(
    columns=["mode", "case", "every"]
)

# %% [markdown]
# Above p99.9 nearly every call under `memsc` has a name beside it: the thief we let in, others of this shared
# machine, timers. A program named in `service preempted by …` sat on the service's CPU. For calls between p99
# and p99.9 the excess is small, a few hundred nanoseconds, and its causes are of another kind:

# %%
between = causes[(causes["band"] == "p99") & (causes["mean_ns"] < 100_000)]
between.groupby("arm", sort=False).head(4).drop(columns=["mode", "case", "every"])

# %% [markdown]
# *Cache line late* and *processor stalled* are short excesses with no event beside them: shorter than any
# hypervisor could take a CPU for. *Unexplained* is honest: the trace holds nothing that would say more. For
# `direct` much of it is the program itself, as `mmap` and `openat` cost more than `read` every time.
#
# ## How much of the lost time has a name?

# %%
calls = t.tail.df_calls()
UNNAMED = ["unexplained", "cache line late", "processor stalled"]
calls["named"] = ~calls["cause"].isin(UNNAMED)
lost = calls.groupby(["arm", "named"], sort=False)["total_ns"].agg(["size", "sum"])
lost["share of the tail's time"] = lost["sum"] / lost.groupby("arm")["sum"].transform("sum")
lost

# %% [markdown]
# Few calls, nearly all of the time: the named ones carry almost everything that was lost above p99.
#
# ## With and without
#
# Outliers are named, never deleted; but one may ask what would be left. The mean of all calls, and of all calls
# but those whose time a named event took:

# %%
rows = []
for arm in t.arms:
    whole = t.stages.df_stages(syscalls=False).query(f"arm == '{arm}' and stage == 'total'").iloc[0]
    robbed = calls[(calls["arm"] == arm) & calls["named"]]
    rest = whole["n"] - len(robbed)
    without = (whole["mean_ns"] * whole["n"] - robbed["total_ns"].sum()) / rest
    rows.append({"arm": arm, "calls": whole["n"], "robbed": len(robbed)})
    rows[-1] |= {"mean_ns": whole["mean_ns"], "without_ns": without, "p50_ns": whole["p50_ns"]}
pd.DataFrame(rows)

# %% [markdown]
# Without the robbed calls, which are less than one in a hundred, the mean comes back to the neighbourhood of the
# median. So does the comparison of the two arms: what a forwarded call costs is the last line of this table,
# what a shared machine costs is the difference.
#
# ## One of them
#
# The slowest call, and where in it the time went.

# %%
figure = Figure(figsize=(8, 2.4), layout="constrained")
worst = t.tail.df_worst(3)
with styled():
    axes = figure.subplots()
    shown = worst[worst["arm"] == "memsc"].reset_index(drop=True)
    for row in shown.itertuples():
        start = 0.0
        for stage in STAGES:
            width = getattr(row, f"{stage}_ns") / 1e6
            axes.barh(row.Index, width, left=start, color=STAGE_COLOURS[stage], height=0.6)
            start += width
        axes.text(start, row.Index, f"  {row.cause}", va="center", size=9, clip_on=False)
    axes.set_yticks(range(len(shown)), [f"{row.syscall}" for row in shown.itertuples()])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("milliseconds: post, poll (orange), execute (green), complete (purple)")
    sns.despine(figure)
figure

# %%
worst[
    ["arm", "syscall", *(f"{stage}_ns" for stage in STAGES), "total_ns", "cause", "side", "stage"]
]

# %% [markdown]
# ## And when nobody is let in?
#
# `memsc trace --isolate` takes the CPUs away from everyone else for the length of a session; the same analysis
# of such a trace shows what is left: timers, and the host.
