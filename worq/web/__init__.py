"""A page: queues and their tasks, live, in a browser; it needs ``WorQ[web]``.

In a web application that knows its users::

    app.mount('/worq', worq.web.app(broker, allow=lambda request: ...))

Without one, ``worq web`` serves it on this machine.
"""
from worq.web.application import Request, app
from worq.web.server import Server, guarded_name

__all__ = ['Request', 'Server', 'app', 'guarded_name']
