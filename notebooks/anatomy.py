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
# # Anatomy of a forwarded call
#
# A program wants a system call made. Under memsc it writes the call into shared memory, a service thread
# on another CPU finds it there, makes it, and writes the result back. This notebook takes such calls apart:
# first a single one, stamp by stamp, then the means of all, then what distinguishes the slow ones.
#
# The trace is of `dd bs=512 count=300`, an unmodified program, run four times under each of three arms:
# `direct` (plain system calls), `ipi` (both sides sleep and wake each other by interrupt) and `memsc`.
# `notebooks/record.py` records it anew, on your machine.

# %%
# %load_ext memsc.commands.magic
import pandas as pd

from memsc import analysis as ma
from memsc.analysis.export.kernel_events import kernel_events
from memsc.tracer.format import STAGES, STAMPS

pd.set_option("display.float_format", "{:.4g}".format)
t = ma.open("traces/calls.memsc")
t

# %% [markdown]
# ## Can it be believed?
#
# Before any time: were calls lost, do the stages add up in every row, and is each arm what it claims to
# be? No check failed. Per call, the kernel counted about one interrupt each way under `ipi`, with two
# context switches, and under `memsc` none. That the service slept between runs and was woken once for each
# is told apart: of a call that waits nothing is promised.

# %%
checks = t.checks.df_checks()
counted = checks[checks["name"].str.endswith("_per_call") & checks["value"].notna()]
assert checks["held"].ne(False).all()
counted.pivot_table(index="name", columns="arm", values="value", sort=False)

# %% [markdown]
# ## One call
#
# Each call is stamped five times with the CPU's cycle counter. Of all `read`s under `memsc`, here is the one
# with the median total. `called` and `completed` are stamped by the application's CPU, `picked` and `executed`
# by the service's: the two counters were compared before, and the clock says how far they may be apart.

# %%
calls = t.folder.read("calls").to_pandas()
reads = calls[(calls["arm"] == "memsc") & (calls["syscall"] == "read")]
total = reads["completed"] - reads["called"]
call = reads.loc[total.sort_values().index[len(total) // 2]]
ns = t.session.clock.ns_per_cycle
pd.DataFrame(
    {
        "stamp": STAMPS,
        "by CPU": [
            call[f"{'service' if s in ('picked', 'executed') else 'app'}_cpu"] for s in STAMPS
        ],
        "ns since called": [(call[s] - call["called"]) * ns for s in STAMPS],
    }
)

# %% [markdown]
# Between two stamps lies a stage. Four stages, no remainder: they add up to the total exactly, in this call
# and in every other.

# %%
stages = {s: call[b] - call[a] for s, a, b in zip(STAGES, STAMPS[:-1], STAMPS[1:], strict=True)}
assert sum(stages.values()) == call["completed"] - call["called"]
pd.Series(stages) * ns

# %% [markdown]
# *post* is a few stores. *poll* and *complete* are each mostly one cache line travelling from one CPU to the
# other: the entry to the service, the result back. *execute* is the system call itself, which a direct call
# would need too.
#
# ## All calls
#
# Means add up, so they may be stacked. Percentiles do not, so they are given of the total alone.

# %%
frame = t.stages.df_stages(syscalls=False)
frame.pivot_table(index="arm", columns="stage", values="mean_ns", sort=False)

# %%
t.stages.plot_overview()

# %% [markdown]
# Left: a call forwarded by interrupt spends 98 % of its time asleep, waiting for the other CPU to wake up,
# in *poll* as well as in *complete*. Under `memsc` most of the time is the call itself. Right: `ipi` lies two
# decades behind for nine calls out of ten. From p90 on, `direct` and `memsc` share one line: that tail is the
# program's own expensive calls (`mmap`, `openat`), which cost the same wherever they are made.
#
# ## What the kernel did meanwhile
#
# The stamps say how long; the kernel's own events say why. This is the median `read` under `ipi`, with
# everything that the probes `sched` and `ipi` saw on the two CPUs between its first stamp and its last.

# %%
slow = calls[(calls["arm"] == "ipi") & (calls["syscall"] == "read")]
total = slow["completed"] - slow["called"]
call = slow.loc[total.sort_values().index[len(total) // 2]]
stamps = t.session.clock.ns(call[list(STAMPS)].to_numpy("int64"))
story = [
    {"ns": 0, "cpu": call["app_cpu"], "what": "called"},
    *(
        {"ns": at - stamps[0], "cpu": call[f"{side}_cpu"], "what": what}
        for what, at, side in zip(
            STAMPS[1:], stamps[1:], ("app", "service", "service", "app"), strict=True
        )
    ),
]
for events in kernel_events(t.folder, stamps[:1], stamps[-1:]):
    rows = events.table.to_pandas()
    names = rows["kind"].astype(str)
    story += [
        {"ns": at - stamps[0], "cpu": cpu, "what": f"  {events.probe}: {kind}"}
        for at, cpu, kind in zip(rows["time"], rows["cpu"], names, strict=True)
    ]
pd.DataFrame(story).sort_values("ns", kind="stable", ignore_index=True)

# %% [markdown]
# The application wakes the service (an interrupt is sent and taken), goes to sleep itself (`switch`), the
# service runs, makes the call, wakes the application by another interrupt and sleeps. The call itself is the
# short stretch between `picked` and `executed`.
#
# ## What slow calls are made of
#
# Calls sorted by their total and cut into bands: within a band, whose mean total stands at its right, this is
# what a call is made of.

# %%
t.tail.plot_bands()

# %% [markdown]
# Under `memsc`, calls between p90 and p99 are slow because of what they do: nearly all is *execute*. Beyond
# p99, *poll* is back. Under `ipi` every band looks alike, as every call pays for the same two wake-ups.
#
# The slowest, one by one, tell what that *poll* is. They are in every figure above; nothing was removed.

# %%
worst = t.tail.df_worst(3)
worst[["arm", "syscall", *(f"{stage}_ns" for stage in STAGES), "total_ns"]]

# %% [markdown]
# The slowest calls of `memsc` are each the first of a run, a `getrandom` that the program makes when it
# starts: the service was still asleep, and one interrupt had to wake it. Afterwards it polls.
#
# ## Elsewhere
#
# The same calls in a viewer: slices on the threads' and the service's tracks, arrows from one to the other,
# the kernel's events below. Drag the file onto ui.perfetto.dev.

# %%
import tempfile
from pathlib import Path

from memsc.analysis.export.formats import Options, export

with tempfile.TemporaryDirectory() as folder:
    print(export(t, "perfetto", Path(folder) / "calls.pftrace", Options(arm="memsc")))
