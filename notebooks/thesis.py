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
# # Memsc against IPI
#
# memsc rebuilds an idea of I. Stamatis (*Reducing System Call Performance Overhead on Paravirtualized
# L4Linux*, TU Dresden, 2020). There, Memsc replaced forwarding by inter-processor interrupts on a Raspberry Pi
# 3B at 1.2 GHz; here both run on plain Linux. This notebook lays the thesis's tables beside ours.
#
# **Ratios can be compared, times cannot**: other decade, other processor, other kernel. Ours were recorded in
# a virtual machine, where each interrupt leaves to the hypervisor: that makes forwarding by interrupt several
# times dearer than on real hardware, and every ratio *IPI ÷ Memsc* with it.
#
# The thesis's Memsc polls in one thread and wakes another, which executes: our arm `memsc-scanner`. Our arm
# `memsc` executes in the thread that polls, which the thesis did not try.

# %%
# %load_ext memsc.commands.magic
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from memsc import analysis as ma
from memsc.analysis.figures.style import colour, styled

pd.set_option("display.float_format", "{:,.4g}".format)
t = ma.open("traces/thesis.memsc")
ARMS = ["direct", "ipi", "memsc-scanner", "memsc"]
ns = t.session.clock.ns_per_cycle
times = t.timings.df_timings()
times = times[~times["recording"]].pivot_table(index="case", columns="arm", values="mean_ns")[ARMS]

# %% [markdown]
# ## Single calls
#
# `getppid`, N times, one after the other; microseconds in total, as the thesis has them.

# %%
N = [1, 10, 100, 1_000]
thesis = pd.DataFrame(
    {
        "native Linux": [4, 7, 39, 307],
        "IPI": [36, 278, 2_701, 26_949],
        "Memsc": [27, 143, 1_205, 11_702],
    },
    index=pd.Index(N, name="N"),
)
thesis

# %% [markdown]
# Ours: each round timed every call, so the first N of a round are a run of N calls. Median of the rounds.

# %%
raw = t.folder.read("timings").to_pandas()
raw = raw[(raw["case"] == "sync") & (raw["recording"] == 0)]
totals = raw.groupby(["arm", "round"], observed=True)["cycles"].apply(
    lambda cycles: pd.Series(np.cumsum(cycles.to_numpy())[np.array(N) - 1] * ns / 1000, index=N)
)
ours = totals.groupby(level=[0, 2]).median().unstack(0)[ARMS]
ours.index.name = "N"
ours

# %%
both = pd.DataFrame(
    {
        "thesis: IPI ÷ Memsc": thesis["IPI"] / thesis["Memsc"],
        "ours: ipi ÷ memsc-scanner": ours["ipi"] / ours["memsc-scanner"],
        "ours: ipi ÷ memsc": ours["ipi"] / ours["memsc"],
    }
)
both

# %% [markdown]
# In the thesis the first call is the dearest; ours are all alike, since a round begins with calls that are
# not timed. The thesis gains a factor of 2.3 by polling; with the same division of labour we gain about 9,
# since what is saved (an interrupt out of a virtual machine) costs more here. Executing in the polling thread
# saves the remaining wake-up too, and with it another order of magnitude.
#
# The claim is about *forwarding*. A plain system call is cheaper than any forwarded one:

# %%
ratios = t.ratios.df_ratios().query("case == 'sync' and metric == 'p50' and source == 'stamps'")
ratios[ratios["base"] == "direct"][["arm", "base", "ratio", "low", "high"]]

# %% [markdown]
# ## Batches
#
# Several calls are posted before any is waited for. The thesis made 100 000 calls in batches; milliseconds.
# A batch of two was slower there than single calls. Shown here: the gain over single calls of the same system.

# %%
SIZES = [1, 2, 3, 4, 8, 16, 32, 64]
batches = pd.DataFrame({"thesis": [1164, 1195, 856, 301, 196, 115, 82, 77]}, index=SIZES)
gain = pd.DataFrame({"thesis": batches["thesis"].iloc[0] / batches["thesis"]})
for arm in ("memsc-scanner", "memsc"):
    mine = np.array([times.loc[f"batch-{size}", arm] for size in SIZES])
    gain[arm] = mine[0] / mine
gain.index.name = "batch"
gain

# %%
figure = Figure(figsize=(7, 3.6), layout="constrained")
with styled():
    axes = figure.subplots()
    for name, values in gain.items():
        shown = "black" if name == "thesis" else colour(name)
        axes.plot(SIZES, values, marker="o", color=shown, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.set_xlabel("calls posted at once")
    axes.set_title("Gain over calls made one by one")
    axes.legend()
    sns.despine(figure)
figure

# %% [markdown]
# From four on, the scanner's line lies on the thesis's, and for the same reason: one wake-up is shared by
# all calls of a batch. That two are dearer than one, as in the thesis, does not happen here.
# `memsc` has no wake-up to share; what it gains is that calls overlap with the way of the cache lines, down to
# about the time of the call itself:

# %%
times.loc[[f"batch-{size}" for size in SIZES]]

# %% [markdown]
# A batch of 64 under `memsc` against single calls by interrupt, which the thesis gives as 35:

# %%
print(f"{times.loc['batch-1', 'ipi'] / times.loc['batch-64', 'memsc']:.0f}")

# %% [markdown]
# ## Programs
#
# The thesis ran `dd bs=512` (1.76 times faster than by IPI) and `ls -l` (1.31 to 1.44 times) on a file system in
# memory, with a modified C library. Here the programs are Debian's own, unmodified.

# %%
programs = times.loc[["dd", "ls"]].copy()
programs["ipi ÷ memsc-scanner"] = programs["ipi"] / programs["memsc-scanner"]
programs["ipi ÷ memsc"] = programs["ipi"] / programs["memsc"]
programs

# %% [markdown]
# The times are per system call, of the whole program's run: its start and its own computing are in them. That
# is why a short `ls` gains least, here as there: most of its time is not spent in calls.
