"""Alembic's scripts. `voice agent migrate` runs them; :mod:`..migrate` says how."""
