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
# # Counters and stages
#
# Stamps say how long each stage of a call took. Counters say what the threads did meanwhile: how much CPU time
# it cost both sides, how often they were switched, moved, or touched a page that was not there, and, where the
# machine has a PMU, how many cycles, instructions and cache misses. This notebook lays the two beside
# each other.
#
# The trace is of `dd`, some five hundred calls a run, four runs under each of three arms, recorded with
# `memsc trace --probes sched,counters` on a virtual machine with two CPUs.

# %%
# %load_ext memsc.commands.magic
import pandas as pd

from memsc import analysis as ma

pd.set_option("display.float_format", "{:,.3g}".format)
t = ma.open("traces/counters.memsc")
t

# %% [markdown]
# ## What this machine does not count
#
# First what is missing. The hypervisor of the recording machine shows its guests no PMU, so every hardware event
# is *unavailable*: it has no value here, and not 0. On a machine that has one the tables below would have columns
# more, and `t.counters.df_ratios()` the instructions per cycle of each side.

# %%
pd.Series(t.counters.unavailable, name="why not").to_frame()

# %% [markdown]
# ## Per call, by arm
#
# Counted is a whole run of the program, from its first instruction to the end of its last thread, divided by the
# calls. The side is that of the CPU: what happened on the service's CPU is the service's.

# %%
t.counters.plot_counters()

# %% [markdown]
# `direct` is the program and its own system calls. Under `ipi` both sides sleep and are woken for each call: about
# one context switch per call on either side, and most of the CPU time goes into sleeping and waking. Under
# `memsc` both sides poll: hardly a switch, and the service's CPU time is that of a thread which stays awake.
#
# The same in figures. Much of the application's CPU time, and nearly all page faults, are those of the program's
# start, the same under every arm; they are divided by few calls here. A figure per call of a whole run is one
# of calls only where calls are many.

# %%
frame = t.counters.df_counters()
frame[frame["side"] != "all"].pivot_table(
    index=["arm", "side"], columns="event", values="per_call", sort=False
)

# %% [markdown]
# Each has its interval over the four rounds:

# %%
switches = frame[(frame["event"] == "context-switches") & (frame["side"] == "all")]
switches[["arm", "event", "per_call", "low", "high", "interval", "calls"]]

# %% [markdown]
# ## CPU time beside the stages
#
# The five stamps make four stages, and their mean is the time of a call. Beside it stands the CPU time that both
# sides spent per call.

# %%
stages = t.stages.df_stages(syscalls=False)
means = stages.pivot_table(index="arm", columns="stage", values="mean_ns", sort=False)
clock = frame[frame["event"] == "task-clock"]
cpu = clock.pivot_table(index="arm", columns="side", values="per_call", sort=False)
means.join(cpu[["app", "service"]].rename(columns="CPU ns, {}".format))

# %% [markdown]
# The CPU time contains the start of the program and its work between calls, which are no part of any call; under
# `direct`, where nobody waits, that is the difference. Under `ipi` the total is longer than the CPU time
# of either side: both sleep through much of it, while an interrupt is on its way and the other CPU wakes up.
#
# ## In which stage?
#
# A counter has no time, so it cannot say in which stage a switch happened. Events have: each switch that `sched`
# saw is laid beside the call that was under way in its thread. (With `--probes sched,noise` page faults are
# placed, too.) Where there is a PMU this is not told of its events: they would have to be read at every stamp.

# %%
placed = t.counters.df_stages()
often = placed[placed["per_call"] > 0.001].sort_values("per_call", ascending=False)
often.head(12)

# %% [markdown]
# Under `ipi` the caller sleeps once per call, mostly in *poll*: it has posted, and sleeps before the service has
# picked the call up; sometimes the service is faster, and the caller falls asleep in a later stage. The service
# sleeps *between* calls, once per call, too. These are the two hand-offs whose price the stage table shows as
# *poll* and *complete*. `memsc` has neither: where it slept at all, it had waited too long.
#
# Counters and events were taken by different means and should agree. Context switches of `ipi` per call, once
# counted and once seen:

# %%
counted = frame[(frame["arm"] == "ipi") & (frame["event"] == "context-switches")]
seen = placed[(placed["arm"] == "ipi") & placed["event"].isin(["slept", "preempted"])]
pd.DataFrame(
    {
        "counted, whole run": counted.set_index("side")["per_call"].reindex(["app", "service"]),
        "seen, during calls": seen.groupby("side")["per_call"].sum().rename({"application": "app"}),
    }
)

# %% [markdown]
# The counter also has what happened before the first call and after the last.
#
# ## Did counting disturb?
#
# The session measured at its start what the probes, counters among them, add to the median call of `memsc`, with
# the interval of that.

# %%
added = t.session.perturbation.probes
shown = ("off_ns", "added_ns", "low_ns", "high_ns")
pd.Series({name: getattr(added, name) for name in shown}, name="ns").to_frame()

# %% [markdown]
# ## With a PMU
#
# What one would look for, in the same tables on other hardware: *cache-misses* per call, since a hand-off of
# `memsc` is little else than cache lines that move between two CPUs; *instructions per cycle* of a polling side,
# which is low by design, as `pause` waits; and *branch-misses* of the service, since each system call it makes
# spoils the processor's predictions. Where the PMU has fewer counters than events, they take turns, and the
# column `counted` says in which share of the time each was counted.
