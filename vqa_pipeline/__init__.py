"""Visual question answering as a pipeline: curate image questions, fine-tune ViLT on them, score it honestly.

`import vqa_pipeline` is free of Dagster and torch. `VqaPipeline`, the Dagster component, and `load`, which gives a
model to ask, are loaded when somebody wants them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqa_pipeline.loading import load
    from vqa_pipeline.orchestration.component import VqaPipeline

__version__ = "0.1.0"
__all__ = ["VqaPipeline", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Load what is heavy when it is asked for (PEP 562); `dg` finds the component through `dir()` and `getattr()`."""
    if name == "VqaPipeline":
        from vqa_pipeline.orchestration.component import VqaPipeline

        return VqaPipeline
    if name == "load":
        from vqa_pipeline.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
