"""Local services on loopback: started or found again by a record, and stopped only when nobody who is alive needs them.

Each service has one record, `<var>/run/<name>.json`: process id, the instant that process was created, address, command, and who uses it. A record
counts only while that very process lives, so a number that the system has given to a stranger is never signalled. Services live in a session of their
own: an interrupt at the terminal reaches the console, not them, and after a kill of the console the next one finds them by their records.

Nothing here imports Prefect: its settings are read when it is imported, and `service_environment` must be in place before that.
"""

from __future__ import annotations

from tasks.services.environment import service_environment as service_environment
from tasks.services.exchange import Greeting as Greeting
from tasks.services.exchange import ensure_exchange as ensure_exchange
from tasks.services.exchange import listening_exchange as listening_exchange
from tasks.services.exchange import recorded_exchange as recorded_exchange
from tasks.services.exchange import serve_exchange as serve_exchange
from tasks.services.installation import down as down
from tasks.services.installation import status as status
from tasks.services.installation import stop_started as stop_started
from tasks.services.installation import up as up
from tasks.services.servers import ensure_mlflow as ensure_mlflow
from tasks.services.servers import ensure_prefect as ensure_prefect
from tasks.services.servers import ensure_worker as ensure_worker
