"""The contenders by the name they have on the command line, in the order of the table's columns."""

from __future__ import annotations

from bench.contender import Contender
from bench.contenders.circus import Circus
from bench.contenders.floor import Floor
from bench.contenders.ours import Ours
from bench.contenders.pm2 import PM2
from bench.contenders.supervisor import Supervisor

CONTENDERS: dict[str, type[Contender]] = {
    "ours": Ours,
    "supervisor": Supervisor,
    "circus": Circus,
    "pm2": PM2,
    "floor": Floor,
}
