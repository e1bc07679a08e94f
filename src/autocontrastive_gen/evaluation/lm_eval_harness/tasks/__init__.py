"""Tasks that lm-eval lacks, in its own format: published protocols whose numbers differ from those of its tasks.

Bundles find them by name (``autocontrastive_gen.data.bundles``).
"""

from pathlib import Path

FOLDER = Path(__file__).parent
