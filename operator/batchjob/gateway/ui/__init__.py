"""The admin UI: pages of HTML that work as plain links and forms; JavaScript adds keys and freshness.

Two layers. `views_*` turn what was read (custom resources, rows of the index, counters and dead letters of the store)
into small frozen values, and templates turn these into HTML; both are pure. `routes_*` read through the doors, ask who
may, and render. What people and models wrote into items is hostile: templates escape every value, no script and no
style stands within a page, and the Content-Security-Policy lets none run.
"""

from batchjob.gateway.ui import (
    assets,
    routes_audit,
    routes_bulk,
    routes_docs,
    routes_jobs,
    routes_lists,
    routes_live,
    routes_session,
)

ROUTERS = (
    assets.router,
    routes_audit.router,
    routes_session.router,
    routes_live.router,
    routes_lists.router,
    routes_bulk.router,
    routes_jobs.router,
    routes_docs.router,
)

__all__ = ["ROUTERS"]
