"""The lens of a report: that of its first model on the first text that may be shown."""

from __future__ import annotations

import shutil

from autocontrastive_gen.foundation.files import atomic_path, write_text
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.samples import showable

ABSENT = "<!doctype html><meta charset=utf-8><title>Lens</title><p>No lens is shown: {reason}.</p>\n"


def write_example_lens(results: Results) -> bool:
    """Write ``lens.html`` beside the page, from what ``score`` has made.

    Returns:
        Whether there is something to see; else the file says why there is not.
    """
    path, model = results.paths.reports / "lens.html", next(iter(results.models))
    domains = showable(results)
    made = next((file for domain in domains if (file := results.paths.lens(model, domain)).is_file()), None)
    if made is None:
        reason = f"score has made none for model {model}" if domains else "the licence of no text allows to show it"
        write_text(path, ABSENT.format(reason=reason.replace("&", "&amp;").replace("<", "&lt;")))
        return False
    with atomic_path(path) as fresh:
        shutil.copyfile(made, fresh)
    return True
