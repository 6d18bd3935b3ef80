<%!
import re


def statements(written):
    """Return Alembic's statements without its comments around them."""
    return re.sub(r"(?m)^ *# ### .* ###$\n?", "", written or "").strip() or "pass"
%>\
${repr(message if message.endswith((".", "!", "?")) else f"{message}.")}

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

${imports if imports else ""}
revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    ${statements(upgrades)}


def downgrade() -> None:
    ${statements(downgrades)}
