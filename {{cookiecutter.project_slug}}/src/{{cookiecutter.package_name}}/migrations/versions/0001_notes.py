"""The notes."""

import sqlalchemy as sa
from alembic import op

revision = "0001_notes"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "notes",
        # <% if cookiecutter.database == "postgresql" %>
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        # <% else %>
        sa.Column("id", sa.Integer(), nullable=False),
        # <% endif %>
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime({{ 'timezone=True' if cookiecutter.database == 'postgresql' }}), nullable=False),
        sa.Column("updated_at", sa.DateTime({{ 'timezone=True' if cookiecutter.database == 'postgresql' }}), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("notes")
