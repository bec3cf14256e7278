"""Tasks in the transactions of Django and SQLAlchemy, as they come."""
from __future__ import annotations

import sqlite3
import unittest
from pathlib import Path

import worq
from test import support
from test.programs import python
from test.support import eq_
from worq.queue.sqlite import install

# Django is set up once in a process, so this is one of its own.
DJANGO = '''
import sys
import django
from django.conf import settings
from django.db import connection, models, transaction

settings.configure(INSTALLED_APPS=[], DATABASES={'default': {
    'ENGINE': 'django.db.backends.sqlite3', 'NAME': sys.argv[1], 'OPTIONS': {
        'init_command': 'PRAGMA journal_mode=WAL', 'transaction_mode': 'IMMEDIATE'}}})
django.setup()

class Order(models.Model):
    item = models.TextField()
    class Meta:
        app_label = 'shop'

import worq
from worq.queue.sqlite import install

with connection.schema_editor() as editor:      # as in a migration
    editor.create_model(Order)
    install(editor.connection)

q = worq.get_queue('sqlite:///' + sys.argv[1])
with transaction.atomic():
    order = Order.objects.create(item='tea')
    kept = q.using(connection).mail.receipt(order.pk)
    try:
        kept.result()
    except RuntimeError as error:
        assert 'still open' in str(error), error
    try:
        with transaction.atomic():              # a savepoint
            inner = q.using(connection).mail.receipt(2)
            1 / 0
    except ZeroDivisionError:
        pass
try:
    with transaction.atomic():
        Order.objects.create(item='coffee')
        gone = q.using(connection).mail.receipt(3)
        1 / 0
except ZeroDivisionError:
    pass
print(kept.status, inner.status, gone.status, len(q), Order.objects.count())
'''


class Others(unittest.TestCase):

    def setUp(self) -> None:
        self.path = Path(support.folder(self), 'app.db')

    @support.needs('django')
    def test_django(self) -> None:
        """The tables come by a migration, calls by atomic(), and savepoints take them back."""
        eq_(python('-c', DJANGO, str(self.path)).split(),
            ['enqueued', 'unknown', 'unknown', '1', '1'])

    @support.needs('sqlalchemy')
    def test_sqlalchemy(self) -> None:
        """A connection of an engine will do, and that of a session."""
        import sqlalchemy
        from sqlalchemy.orm import Session
        with sqlite3.connect(self.path) as db:
            db.execute('PRAGMA journal_mode=WAL')
            db.execute('CREATE TABLE orders(item)')
        db.close()
        engine = sqlalchemy.create_engine(f'sqlite:///{self.path}')
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            install(connection)
        queue = worq.get_queue(f'sqlite:///{self.path}?sync=off')
        insert = sqlalchemy.text("INSERT INTO orders VALUES ('tea')")
        with engine.begin() as connection:
            connection.execute(insert)
            one = queue.using(connection).receipt(1)
            eq_(one.status, None)
        with Session(engine) as session:
            session.execute(insert)
            two = queue.using(session.connection()).receipt(2)
            session.rollback()
        eq_((one.status, two.status, len(queue)), ('enqueued', 'unknown', 1))

    @support.needs('sqlalchemy')
    def test_sqlalchemy_alone(self) -> None:
        """A call that is all of the transaction is committed by what is around the connection, and
        taken back with it when that goes back to its pool. A session itself will do."""
        import sqlalchemy
        from sqlalchemy.orm import Session
        with sqlite3.connect(self.path) as db:
            db.execute('PRAGMA journal_mode=WAL')
            install(db)
        db.close()
        engine = sqlalchemy.create_engine(f'sqlite:///{self.path}')
        self.addCleanup(engine.dispose)
        queue = worq.get_queue(f'sqlite:///{self.path}?sync=off')
        with engine.connect() as connection:
            one = queue.using(connection).receipt(1)
            connection.commit()
            with connection.begin():
                two = queue.using(connection).receipt(2)
            queue.using(connection).receipt(3)
        eq_((one.status, two.status, len(queue)), ('enqueued', 'enqueued', 2))
        with Session(engine) as session:
            three = queue.using(session).receipt(3)
            session.commit()
            four = queue.using(session).receipt(4)
        eq_((three.status, four.status, len(queue)), ('enqueued', 'unknown', 3))
