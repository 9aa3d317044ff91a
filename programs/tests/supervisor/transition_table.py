# ruff: noqa: E501  (tables)
"""What must happen: written by hand, and never computed from the code under test.

A scenario begins in a situation, then something is done (ACTIONS), then the process exits, a start fails or time
passes (OUTCOMES). Events are given without `program.`; `-` is none.
"""

from __future__ import annotations

from typing import NamedTuple

# In `stopping`, `restarting` and `failing` the process ignores SIGTERM, so that it is still there afterwards.
# `after` names the group of OUTCOMES that can follow; `rest` is a process that is down and stays down.
#
# situation   action          state     events                  after
ACTIONS = """
stopped       start           starting  started                 alive
stopped       stop            stopped   -                       rest
stopped       restart         starting  started                 alive
stopped       kill            stopped   -                       rest
stopped       over-memory     stopped   -                       rest
stopped       schedule        stopped   -                       rest
stopped       redefine        stopped   -                       rest
stopped       block           stopped   -                       rest
stopped       remove          gone      -                       gone
stopped       scale-away      gone      -                       gone
stopped       move            stopped   -                       moved
stopped       agent-killed    stopped   -                       rest
stopped       agent-stopped   stopped   -                       rest
stopped       reboot          stopped   -                       rest

blocked       start           stopped   -                       waiting
blocked       stop            stopped   -                       rest
blocked       restart         stopped   -                       waiting
blocked       kill            stopped   -                       rest
blocked       unblock         starting  started                 alive
blocked       redefine        stopped   -                       waiting
blocked       remove          gone      -                       gone
blocked       scale-away      gone      -                       gone
blocked       agent-killed    stopped   -                       waiting
blocked       agent-stopped   stopped   -                       waiting
blocked       reboot          stopped   -                       waiting

starting      start           starting  -                       alive
starting      stop            stopping  stopping                stopping
starting      restart         stopping  stopping                restarting
starting      kill            stopped   stopping,stopped        rest
starting      over-memory     stopping  stopping                restarting
starting      schedule        stopping  stopping                restarting
starting      redefine        starting  -                       alive
starting      new-probes      starting  -                       alive
starting      block           starting  -                       alive
starting      remove          stopping  stopping                removing
starting      scale-away      stopping  stopping                scaling
starting      move            stopping  stopping                moving
starting      agent-killed    starting  adopted                 alive
starting      agent-stopped   starting  adopted                 alive
starting      reboot          starting  exited,started          alive
starting      wait            running   running                 alive

running       start           running   -                       alive
running       stop            stopping  stopping                stopping
running       restart         stopping  stopping                restarting
running       kill            stopped   stopping,stopped        rest
running       over-memory     stopping  stopping                restarting
running       schedule        stopping  stopping                restarting
running       liveness        stopping  unhealthy,stopping      failing
running       redefine        running   -                       alive
running       new-probes      running   -                       alive
running       block           running   -                       alive
running       remove          stopping  stopping                removing
running       scale-away      stopping  stopping                scaling
running       move            stopping  stopping                moving
running       agent-killed    running   adopted                 alive
running       agent-stopped   running   adopted                 alive
running       reboot          starting  exited,started          alive

backoff       start           starting  started                 alive
backoff       stop            stopped   stopped                 rest
backoff       restart         starting  started                 alive
backoff       kill            stopped   stopped                 rest
backoff       over-memory     backoff   -                       backoff
backoff       schedule        backoff   -                       backoff
backoff       redefine        backoff   -                       backoff
backoff       new-probes      backoff   -                       backoff
backoff       block           backoff   -                       backoff-blocked
backoff       remove          gone      stopped                 gone
backoff       scale-away      gone      stopped                 gone
backoff       move            stopped   stopped                 moved
backoff       agent-killed    backoff   -                       backoff
backoff       agent-stopped   backoff   -                       backoff
backoff       reboot          starting  exited,started          alive

stopping      start           stopping  -                       restarting
stopping      stop            stopping  -                       stopping
stopping      restart         stopping  -                       restarting
stopping      kill            stopped   stopped                 rest
stopping      over-memory     stopping  -                       stopping
stopping      schedule        stopping  -                       stopping
stopping      redefine        stopping  -                       stopping
stopping      block           stopping  -                       stopping
stopping      remove          stopping  -                       removing
stopping      scale-away      stopping  -                       scaling
stopping      move            stopping  -                       moving
stopping      agent-killed    stopping  adopted,stopping        stopping
stopping      agent-stopped   stopping  adopted,stopping        stopping
stopping      reboot          stopped   exited                  rest

restarting    start           stopping  -                       restarting
restarting    stop            stopping  -                       stopping
restarting    restart         stopping  -                       restarting
restarting    kill            stopped   stopped                 rest
restarting    over-memory     stopping  -                       restarting
restarting    redefine        stopping  -                       restarting
restarting    block           stopping  -                       restarting-blocked
restarting    remove          stopping  -                       removing
restarting    scale-away      stopping  -                       scaling
restarting    agent-killed    stopping  adopted,stopping        restarting
restarting    agent-stopped   stopping  adopted,stopping        restarting
restarting    reboot          starting  exited,started          alive

failing       start           stopping  -                       restarting
failing       stop            stopping  -                       stopping
failing       restart         stopping  -                       restarting
failing       kill            stopped   stopped                 rest
failing       over-memory     stopping  -                       failing
failing       redefine        stopping  -                       failing
failing       remove          stopping  -                       removing
failing       scale-away      stopping  -                       scaling
failing       agent-killed    stopping  adopted,stopping        restarting
failing       reboot          starting  exited,started          alive

exited        start           starting  started                 alive
exited        stop            stopped   stopped                 rest
exited        restart         starting  started                 alive
exited        kill            stopped   stopped                 rest
exited        over-memory     exited    -                       down
exited        schedule        exited    -                       down
exited        redefine        exited    -                       down
exited        block           exited    -                       down
exited        remove          gone      stopped                 gone
exited        scale-away      gone      stopped                 gone
exited        move            stopped   stopped                 moved
exited        agent-killed    exited    -                       down
exited        agent-stopped   exited    -                       down
exited        reboot          starting  exited,started          alive

fatal         start           starting  started                 alive
fatal         stop            stopped   stopped                 rest
fatal         restart         starting  started                 alive
fatal         kill            stopped   stopped                 rest
fatal         over-memory     fatal     -                       down
fatal         schedule        fatal     -                       down
fatal         redefine        fatal     -                       down
fatal         block           fatal     -                       down
fatal         remove          gone      stopped                 gone
fatal         scale-away      gone      stopped                 gone
fatal         move            stopped   stopped                 moved
fatal         agent-killed    fatal     -                       down
fatal         agent-stopped   fatal     -                       down
fatal         reboot          starting  exited,started          alive
"""

# Under each policy the state and the events. `=` repeats the column to the left.
# A start that fails, or a process that exits at once, belongs to the restart that follows the exit.
#
# after             outcome              always                                        on-failure      never
OUTCOMES = """
alive               exit-0               starting:exited,restarted                     exited:exited   =
alive               exit-3-is-success    starting:exited,restarted                     exited:exited   =
alive               exit-1               starting:crashed,restarted                    =               exited:crashed
alive               signal               starting:crashed,restarted                    =               exited:crashed
alive               out-of-memory        starting:crashed,restarted                    =               exited:crashed
alive               unseen               starting:crashed,restarted                    =               exited:crashed
alive               stop-while-away      stopping:adopted,stopping                     =               =
alive               unseen-and-stop      stopped:crashed,stopped                       =               =
alive               second-crash         backoff:crashed,restarted,crashed,backoff     =               exited:crashed
alive               too-many             fatal:crashed,restarted,crashed,fatal         =               exited:crashed
alive               start-fails          backoff:crashed,crashed,backoff               =               exited:crashed
alive               cannot-be-watched    backoff:crashed,crashed,backoff               =               exited:crashed
alive               start-impossible     fatal:crashed,fatal                           =               exited:crashed
alive               exits-at-once        backoff:crashed,restarted,crashed,backoff     =               exited:crashed

stopping            exit-0               stopped:stopped                               =               =
stopping            exit-1               stopped:stopped                               =               =
stopping            signal               stopped:stopped                               =               =
stopping            out-of-memory        stopped:stopped                               =               =
stopping            unseen               stopped:stopped                               =               =
stopping            steps-are-over       stopped:stopped                               =               =
stopping            cannot-be-signalled  stopping:-                                    =               =

restarting          exit-0               starting:stopped,restarted                    =               =
restarting          exit-1               starting:stopped,restarted                    =               =
restarting          signal               starting:stopped,restarted                    =               =
restarting          unseen               starting:stopped,started                      =               =
restarting          steps-are-over       starting:stopped,restarted                    =               =
restarting          cannot-be-signalled  stopping:-                                    =               =
restarting          start-fails          backoff:stopped,crashed,backoff               =               fatal:stopped,fatal
restarting          cannot-be-watched    backoff:stopped,crashed,backoff               =               fatal:stopped,fatal
restarting          start-impossible     fatal:stopped,fatal                           =               =
restarting          exits-at-once        backoff:stopped,restarted,crashed,restarted,crashed,backoff  =               exited:stopped,restarted,crashed

restarting-blocked  exit-0               stopped:stopped                               =               =
restarting-blocked  steps-are-over       stopped:stopped                               =               =

failing             exit-0               starting:crashed,restarted                    =               exited:crashed
failing             exit-1               starting:crashed,restarted                    =               exited:crashed
failing             signal               starting:crashed,restarted                    =               exited:crashed
failing             unseen               starting:stopped,started                      =               =
failing             steps-are-over       starting:crashed,restarted                    =               exited:crashed
failing             cannot-be-signalled  stopping:-                                    =               =
failing             start-fails          backoff:crashed,crashed,backoff               =               exited:crashed
failing             start-impossible     fatal:crashed,fatal                           =               exited:crashed

removing            exit-0               gone:stopped                                  =               =
removing            steps-are-over       gone:stopped                                  =               =
removing            unseen               gone:stopped                                  =               =
scaling             exit-0               gone:stopped                                  =               =
scaling             steps-are-over       gone:stopped                                  =               =
scaling             unseen               gone:stopped                                  =               =
moving              exit-0               stopped:stopped                               =               =
moving              steps-are-over       stopped:stopped                               =               =

backoff             time                 starting:restarted                            =               =
backoff             start-fails          backoff:crashed,backoff                       =               fatal:fatal
backoff             cannot-be-watched    backoff:crashed,backoff                       =               fatal:fatal
backoff             start-impossible     fatal:fatal                                   =               =
backoff             exits-at-once        backoff:restarted,crashed,backoff             =               exited:restarted,crashed
backoff             clock-an-hour-back   starting:restarted                            =               =
backoff             clock-an-hour-on     starting:restarted                            =               =
backoff             agent-and-clock      starting:restarted                            =               =
backoff-blocked     time                 stopped:-                                     =               =

rest                time                 stopped:-                                     =               =
rest                agent-killed         stopped:-                                     =               =
waiting             time                 stopped:-                                     =               =
waiting             unblock              starting:started                              =               =
waiting             agent-killed         stopped:-                                     =               =
moved               time                 stopped:-                                     =               =
moved               agent-killed         stopped:-                                     =               =
gone                time                 gone:-                                        =               =
gone                agent-killed         gone:-                                        =               =
down                time                 same:-                                        =               =
down                agent-killed         same:-                                        =               =
"""

POLICIES = ("always", "on-failure", "never")


class ActionRow(NamedTuple):
    situation: str
    action: str
    state: str
    events: list[str]
    after: str


class OutcomeRow(NamedTuple):
    after: str
    outcome: str
    results: dict[str, tuple[str, list[str]]]  # policy → state, events


def _events(text: str) -> list[str]:
    return [] if text == "-" else text.split(",")


def action_rows() -> list[ActionRow]:
    return [
        ActionRow(situation, action, state, _events(events), after)
        for situation, action, state, events, after in (line.split() for line in ACTIONS.splitlines() if line)
    ]


def outcome_rows() -> list[OutcomeRow]:
    rows = []
    for after, outcome, *cells in (line.split() for line in OUTCOMES.splitlines() if line):
        results: dict[str, tuple[str, list[str]]] = {}
        text = ""
        for policy, cell in zip(POLICIES, cells, strict=True):
            text = text if cell == "=" else cell
            state, _, events = text.partition(":")
            results[policy] = (state, _events(events))
        rows.append(OutcomeRow(after, outcome, results))
    return rows
