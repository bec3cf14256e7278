"""Flask: a request puts a task and answers at once; others ask how far it has come.

    pip install flask
    export WORQ_URL=sqlite:////tmp/reports.db     # or redis://localhost:6379/0
    python examples/flask_app.py &                # the pool, a process of its own
    flask --app examples/flask_app run            # the server

    curl -i -X POST 'localhost:5000/reports?rows=50'    # 202, with the report's address
    curl localhost:5000/reports/ID                      # 202 while it is being made, then 200
"""
from functools import wraps
import os
import time

from flask import Flask, abort, current_app, request, url_for

from worq import TaskFailure, TaskSpace, current_task, get_broker
from worq.pool.process import WorkerPool

# -- the tasks --

reports = TaskSpace('reports')


def in_app(task):
    """Each call has an application context of its own, as a request has: what the application
    does at the end of one, as to close a session, is done at the end of the task."""
    @wraps(task)
    def run(*args, **kw):
        with current_app.app_context():
            return task(*args, **kw)
    return run


@reports.task
@in_app
def make(rows):
    """Make a report."""
    for row in range(rows):
        current_task().progress(row, rows)
        time.sleep(0.1)   # for a database, say
    return {'title': current_app.config['TITLE'], 'rows': rows}


# -- the application --

def create_app():
    """The factory of the application: the server calls it, and each child of the pool."""
    app = Flask(__name__)
    app.config.from_mapping(TITLE='A report', QUEUE=os.environ['WORQ_URL'])
    broker = get_broker(app.config['QUEUE'])
    q = broker.queue('reports')

    @app.post('/reports')
    def order():
        """Order a report; the answer does not wait for it."""
        deferred = q.make(request.args.get('rows', 10, int))
        return {'id': deferred.id}, 202, {'Location': url_for('report', id=deferred.id)}

    @app.get('/reports/<id>')
    def report(id):
        """The report, if it is there; else how it stands with it."""
        deferred = broker.deferred(id)
        status = deferred.status
        if status == 'unknown':
            abort(404)
        if not deferred.has_value():
            progress = deferred.progress
            return {'status': status, 'progress': progress and progress._asdict()}, 202
        try:
            return {'status': status, 'report': deferred.value}
        except TaskFailure as failure:
            return {'status': status, 'error': failure.error}, 500

    return app


# -- the pool --

def init(url):
    """Make the broker of a child process, which has an application of its own."""
    create_app().app_context().push()   # for as long as the child lives
    broker = get_broker(url)
    broker.expose(reports)
    return broker


if __name__ == '__main__':
    WorkerPool(get_broker(os.environ['WORQ_URL']), init, workers=2).start()
