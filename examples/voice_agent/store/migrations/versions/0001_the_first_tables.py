"""The first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_DATE = sa.DateTime(timezone=True)
_COST = sa.Numeric(18, 9).with_variant(sa.Integer(), "sqlite")

_KEPT = {"agent_versions": ("UPDATE", "DELETE"), "events": ("UPDATE",)}
"""What may not be done to these tables, whoever asks."""


def upgrade() -> None:
    op.create_table(
        "agent_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agent", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", _DATE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_versions"),
        sa.UniqueConstraint("agent", "version", name="uq_agent_versions_agent_version"),
    )
    op.create_table(
        "inbound_routes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pattern", sa.String(length=80), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("agent", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("schedule", _JSON, nullable=False),
        sa.Column("fallback", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("updated_at", _DATE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inbound_routes"),
        sa.UniqueConstraint("pattern", "priority", name="uq_inbound_routes_pattern_priority"),
    )
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("called", sa.Text(), nullable=False),
        sa.Column("variables", _JSON, nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("agent_version_id", sa.Integer(), nullable=True),
        sa.Column("route_id", sa.Integer(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("started_at", _DATE, nullable=False),
        sa.Column("answered_at", _DATE, nullable=True),
        sa.Column("ended_at", _DATE, nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("ended_by_caller", sa.Boolean(), nullable=True),
        sa.Column("consent", sa.String(length=16), nullable=True),
        sa.Column("recording", sa.Text(), nullable=True),
        sa.Column("currency", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(
            ["agent_version_id"], ["agent_versions.id"], name="fk_conversations_agent_version_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_agent", "conversations", ["agent", "started_at"])
    op.create_index("ix_conversations_started", "conversations", ["started_at", "id"])

    op.create_table(
        "events",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_events_conversation_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "seq", name="pk_events"),
    )
    op.create_table(
        "tool_calls",
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("arguments", _JSON, nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("action", _JSON, nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_tool_calls_conversation_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "seq", name="pk_tool_calls"),
    )
    op.create_table(
        "turns",
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text_generated", sa.Text(), nullable=False),
        sa.Column("text_spoken", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("interrupted_at_ms", sa.Integer(), nullable=True),
        sa.Column("speculation", sa.String(length=8), nullable=True),
        sa.Column("speech_end_ms", sa.Integer(), nullable=True),
        sa.Column("turn_pending_ms", sa.Integer(), nullable=True),
        sa.Column("asr_final_ms", sa.Integer(), nullable=True),
        sa.Column("llm_start_ms", sa.Integer(), nullable=True),
        sa.Column("llm_first_ms", sa.Integer(), nullable=True),
        sa.Column("tts_first_ms", sa.Integer(), nullable=True),
        sa.Column("wire_first_ms", sa.Integer(), nullable=True),
        sa.Column("played_ms", sa.Integer(), nullable=True),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_turns_conversation_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "seq", name="pk_turns"),
    )
    op.create_table(
        "usage",
        sa.Column("what", sa.String(length=8), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("cached_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("audio_ms", sa.Integer(), nullable=True),
        sa.Column("characters", sa.Integer(), nullable=True),
        sa.Column("cost", _COST, nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_usage_conversation_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "seq", "what", name="pk_usage"),
    )
    for table, deeds in _KEPT.items():
        for deed in deeds:
            _forbid(table, deed)


def _forbid(table: str, deed: str) -> None:
    name = f"{table}_no_{deed.lower()}"
    if op.get_bind().dialect.name == "sqlite":
        told = f"{table} are never changed"
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {deed} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{told}'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% are never changed', TG_TABLE_NAME "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {deed} ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
