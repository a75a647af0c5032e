"""What came of a batch, on one page and in one table."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from .jobs import Job
from .journal import Journal

log = logging.getLogger(__name__)

COLUMNS = ("job", "state", "attempts", "scene", "video", "armature", "action", "frames", "seconds", "expected_error", "error")
_THUMBNAIL = (480, 270)
_STYLE = (
    "body{font:14px sans-serif;margin:2em;background:#202124;color:#e1e1e1}table{border-collapse:collapse}a{color:#8ab4f8}"
    "td,th{padding:.4em .8em;text-align:left;border-bottom:1px solid #444;vertical-align:top}.failed{color:#f28b82}.done{color:#81c995}"
)


def write_summary(folder: Path, jobs: Sequence[Job]) -> tuple[Path, Path]:
    """Write summary.html and summary.csv into the batch's folder from its journal and reports; returns their paths."""
    rows = [_row(folder, job) for job in jobs]
    folder.mkdir(parents=True, exist_ok=True)
    page, table = folder / "summary.html", folder / "summary.csv"
    # several machines may write it at once
    partial = table.with_suffix(f".csv.{os.getpid()}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(table)
    partial = page.with_suffix(f".html.{os.getpid()}.partial")
    partial.write_text("<!DOCTYPE html>\n" + ElementTree.tostring(_page(folder, jobs, rows), "unicode", method="html"), "utf-8")
    partial.replace(page)
    return page, table


def _row(folder: Path, job: Job) -> dict[str, Any]:
    standing = Journal(folder).standing(job)
    report: dict[str, Any] = {}
    if standing.state == "done":
        with suppress(OSError, ValueError):
            report = json.loads(job.places(folder)["report"].read_text("utf-8"))
    row = {
        "job": job.name, "state": standing.state, "attempts": standing.attempts, "scene": str(job.scene), "video": str(job.video),
        "armature": report.get("armature", ""), "action": report.get("action", ""), "frames": report.get("frames", {}).get("captured", ""),
        "seconds": standing.record.get("seconds", ""), "expected_error": report.get("capture", {}).get("expected_error", ""),
        "error": standing.record.get("error", "") if standing.state == "failed" else "",
    }  # fmt: skip
    return row


def _page(folder: Path, jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> ElementTree.Element:
    page = ElementTree.Element("html")
    head = ElementTree.SubElement(page, "head")
    ElementTree.SubElement(head, "meta", charset="utf-8")
    done = sum(row["state"] == "done" for row in rows)
    ElementTree.SubElement(head, "title").text = f"{done} of {len(rows)} captures done"
    ElementTree.SubElement(head, "style").text = _STYLE
    body = ElementTree.SubElement(page, "body")
    ElementTree.SubElement(body, "h1").text = f"{done} of {len(rows)} captures done"
    table = ElementTree.SubElement(body, "table")
    header = ElementTree.SubElement(table, "tr")
    for title in ("", "Job", "Result", "Clip and scene", "Frames", "Seconds", "Expected error"):
        ElementTree.SubElement(header, "th").text = title
    for job, row in zip(jobs, rows, strict=True):
        _table_row(table, folder, job, row)
    return page


def _table_row(table: ElementTree.Element, folder: Path, job: Job, row: dict[str, Any]) -> None:
    line = ElementTree.SubElement(table, "tr")
    cells = [ElementTree.SubElement(line, "td") for _ in range(7)]
    places = job.places(folder)
    thumbnail = _thumbnail(places["contact_sheet"]) if row["state"] == "done" else None
    if thumbnail is not None:
        link = ElementTree.SubElement(cells[0], "a", href=_href(folder, places["contact_sheet"]))
        ElementTree.SubElement(link, "img", src=_href(folder, thumbnail), alt=job.name, loading="lazy")
    cells[1].text = job.name
    ElementTree.SubElement(cells[2], "div", {"class": row["state"]}).text = row["state"]
    if row["error"]:
        ElementTree.SubElement(cells[2], "div").text = row["error"]
    for option, place in places.items() if row["state"] == "done" else ():
        if place.is_file():
            ElementTree.SubElement(ElementTree.SubElement(cells[2], "div"), "a", href=_href(folder, place)).text = option.replace("_", " ")
    for text in (job.video.name, job.scene.name, row["armature"]):
        ElementTree.SubElement(cells[3], "div").text = text
    for cell, key in zip(cells[4:], ("frames", "seconds", "expected_error"), strict=True):
        cell.text = str(row[key])


def _thumbnail(sheet: Path) -> Path | None:
    """A small picture of a contact sheet's upper part, beside it."""
    place = sheet.with_name("thumbnail.jpg")
    try:
        with Image.open(sheet) as picture:
            width = min(picture.width, round(picture.height * _THUMBNAIL[0] / _THUMBNAIL[1]))
            upper = picture.crop((0, 0, width, round(width * _THUMBNAIL[1] / _THUMBNAIL[0]))).convert("RGB")
            upper.resize(_THUMBNAIL, Image.Resampling.LANCZOS).save(place, quality=85)
    except OSError as error:
        log.warning("No thumbnail of %s: %s", sheet.name, error)
        return None
    return place


def _href(folder: Path, place: Path) -> str:
    return place.relative_to(folder).as_posix()
