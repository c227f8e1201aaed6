"""What `trainyard doctor` finds of the networks' weights, and what their licences ask."""

from collections.abc import Iterable
from shlex import quote

from cli.findings import Finding, version_of
from trainyard import clip_text
from trainyard.settings import Settings, load_settings


def model_findings(settings: Settings) -> Iterable[Finding]:
    from jobs.engines.download import CLIP, INSIGHTFACE, is_downloaded
    from jobs.engines.loading import choose_face_engine

    yield Finding("Models", f"in {settings.models_path}")
    if is_downloaded(CLIP, settings.models_path):
        yield Finding("  CLIP", f"{CLIP.title}, {CLIP.licence}")
        yield _words(settings)
    elif settings.untrained:
        yield Finding("  CLIP", "untrained weights, as TRAINYARD_UNTRAINED asks: search finds nothing sensible", "note")
    else:
        text = f"{CLIP.title} is not here; the first `run` fetches it ({CLIP.size_bytes / 1e6:.0f} MB, {CLIP.licence})"
        yield Finding("  CLIP", text, "note", _download_line(settings, "clip"))
    chosen = choose_face_engine(settings.face_engine, settings.models_path)
    yield _insightface(settings, chosen, is_downloaded(INSIGHTFACE, settings.models_path))
    yield _dlib(chosen)


def _words(settings: Settings) -> Finding:
    if clip_text.read_record(settings.models_path):
        return Finding("  Text", "photos can be searched by words")
    text = "CLIP's text tower is not here: photos cannot be searched by words"
    return Finding("  Text", text, "note", _download_line(settings, "clip"))


def _insightface(settings: Settings, chosen: str, downloaded: bool) -> Finding:
    from jobs.engines.download import INSIGHTFACE
    from jobs.engines.insightface import find_models
    from jobs.engines.weights import ModelMissing

    line = _download_line(settings, "insightface --accept-non-commercial")
    remark = f"NON-COMMERCIAL USE ONLY ({INSIGHTFACE.licence})"
    if downloaded:
        used = "finds the faces" if chosen == "insightface" else "not used, by TRAINYARD_FACE_ENGINE"
        return Finding("  InsightFace", f"{INSIGHTFACE.title}, {used}; {remark}", "note")
    if chosen != "insightface":
        size = f"{INSIGHTFACE.size_bytes / 1e6:.0f} MB"
        text = f"{INSIGHTFACE.title} is not here ({size}); it finds more faces than dlib. {remark}"
        return Finding("  InsightFace", text, "note", line)
    try:
        return Finding("  InsightFace", f"{find_models(settings.models_path).name}; mind its licence", "note")
    except ModelMissing as error:
        return Finding("  InsightFace", error.message, "missing", line)


def _dlib(chosen: str) -> Finding:
    from importlib.util import find_spec

    here = find_spec("dlib") and find_spec("face_recognition_models")
    if chosen != "dlib":
        return Finding("  dlib", f"{'installed' if here else 'not installed'}, not used")
    if here:
        return Finding("  dlib", f"{version_of('dlib-bin')}, finds the faces; free weights")
    return Finding("  dlib", "not installed", "missing", "pip install dlib-bin face_recognition_models")


def _download_line(settings: Settings, what: str) -> str:
    """With --data-dir where the models would otherwise land in another place."""
    elsewhere = load_settings().models_path != settings.models_path
    return f"trainyard models download {what}" + (f" --data-dir {quote(str(settings.data_dir))}" if elsewhere else "")
