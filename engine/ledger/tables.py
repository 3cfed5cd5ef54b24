"""The tables of the ledger. A change to one of them is a new `LAYOUT`."""

from __future__ import annotations

import sqlalchemy as sa

LAYOUT = 3  # of the tables below; a database written by another layout is refused, not guessed at

metadata = sa.MetaData()
layout = sa.Table("layout", metadata, sa.Column("version", sa.Integer, primary_key=True))
streams = sa.Table(
    "stream",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("held", sa.Text),
)
cycles = sa.Table(
    "cycle",
    metadata,
    sa.Column("id", sa.String(400), primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False),
    sa.Column("window_id", sa.String(200), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("window", sa.Text, nullable=False),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("closed", sa.Float),
    sa.Column("outcome", sa.String(20)),
    sa.Column("version", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("stream", "digest", "attempt"),
    # What is asked for every window must not take longer with every window: the newest, and those that are not settled.
    sa.Index("cycle_by_time", "stream", "opened"),
    sa.Index("cycle_by_outcome", "stream", "outcome"),
)
steps = sa.Table(
    "step",
    metadata,
    sa.Column("cycle", sa.String(400), sa.ForeignKey("cycle.id"), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("finished", sa.Float, nullable=False),
)
releases = sa.Table(
    "release",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("expects", sa.Integer),
    sa.Column("cause", sa.String(20), nullable=False),
    sa.Column("cycle", sa.String(400)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("done", sa.Float),
)
events = sa.Table(
    "event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("cycle", sa.String(400)),
)
