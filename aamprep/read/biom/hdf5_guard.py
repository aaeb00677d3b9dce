"""Open groups and arrays of an HDF5 file safely: inside of the file, and within the limits on size."""

import math

import h5py

from aamprep.read.maxima import MOST_LINKS
from aamprep.read.source import Limits, RefusedError, check_size, format_bytes
from aamprep.rules import tables as rules

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF)
"""Filters that h5py itself provides. Other filters run plugins."""
_LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
_LARGEST_CHUNK = 1 << 30
"""In bytes. A chunk is unpacked as a whole, even if only one value is read."""


def refuse_foreign_parts(file: h5py.File, where: str) -> None:
    """Check that a file is self-contained, without following a link.

    All links and arrays of the file are checked, also those that are never read: libraries follow a link when
    they ask for the kind of its target.

    Raises
    ------
    RefusedError
        If any link is soft or external, or any array is virtual or stored outside of the file.
    """
    seen, number = {_address(file.id)}, 0
    waiting = [(file.id, where)]
    while waiting:
        group, location = waiting.pop()
        for name in group:
            number += 1
            if number > MOST_LINKS:
                raise RefusedError(rules.FILE_TOO_MANY, where, f"more than {MOST_LINKS:,} groups and arrays")
            part = f"{location}, {name.decode('utf-8', 'replace')}"
            kind = group.links.get_info(name).type
            if kind != h5py.h5l.TYPE_HARD:
                raise RefusedError(rules.BIOM_FOREIGN, part, _LINKS.get(kind, "an external link"))
            child = h5py.h5o.open(group, name)
            if isinstance(child, h5py.h5d.DatasetID):
                _check_layout(child.get_create_plist(), part)
            # Hard links can form a cycle.
            elif isinstance(child, h5py.h5g.GroupID) and _address(child) not in seen:
                seen.add(_address(child))
                waiting.append((child, part))


def _address(group: h5py.h5g.GroupID) -> int:
    return int(h5py.h5o.get_info(group).addr)


def open_group(parent: h5py.Group, name: str, where: str) -> h5py.Group:
    """Open a group.

    Raises
    ------
    RefusedError
        If the group is missing, or is a soft or external link.
    """
    return _open_child(parent, name, where, h5py.Group)


def open_dataset(parent: h5py.Group, name: str, where: str, limits: Limits) -> h5py.Dataset:
    """Open an array without reading it.

    A chunk that was never written is read as zeros, so a tiny file can declare an array of any size.

    Raises
    ------
    RefusedError
        If the array is missing, is stored outside of the file, needs an unknown filter, or declares more than
        the limits allow.
    """
    array = _open_child(parent, name, where, h5py.Dataset)
    location = f"{where}/{name}"
    properties = array.id.get_create_plist()
    _check_storage(properties, location)
    if array.shape is None:
        raise RefusedError(rules.BIOM_TYPE, location, "no shape")
    # math.prod uses Python integers, which do not overflow.
    declared = math.prod(array.shape) * array.dtype.itemsize
    check_size(declared, array.id.get_storage_size(), location, limits)
    chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
    if chunk > _LARGEST_CHUNK:
        raise RefusedError(rules.FILE_TOO_LARGE, location, f"chunks of {format_bytes(chunk)}")
    _check_stored(array, location)
    return array


def _check_stored(array: h5py.Dataset, where: str) -> None:
    """Refuse an array with values that were never written."""
    if not array.size:
        return
    if array.chunks is None:
        stored, needed = int(array.id.get_storage_size() > 0), 1
    else:
        stored = array.id.get_num_chunks()
        needed = math.prod(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
    if stored < needed:
        raise RefusedError(rules.BIOM_UNWRITTEN, where, f"{stored:,} of {needed:,} chunks are stored")


def _open_child(parent: h5py.Group, name: str, where: str, expected: type) -> h5py.Group | h5py.Dataset:
    link = parent.get(name, getlink=True)
    if link is None:
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {name}", "missing")
    if not isinstance(link, h5py.HardLink):
        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise RefusedError(rules.BIOM_FOREIGN, f"{where}, {name}", kind)
    child = parent[name]
    if not isinstance(child, expected):
        value = f"is a {type(child).__name__.lower()}"
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {name}", value)
    return child


def _check_storage(properties: h5py.h5p.PropDCID, where: str) -> None:
    _check_layout(properties, where)
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    if unknown := [code for code in filters if code not in _FILTERS]:
        raise RefusedError(rules.BIOM_FOREIGN, where, f"filter {unknown[0]}")


def _check_layout(properties: h5py.h5p.PropDCID, where: str) -> None:
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedError(rules.BIOM_FOREIGN, where, "a virtual dataset")
    if properties.get_external_count():
        raise RefusedError(rules.BIOM_FOREIGN, where, "external storage")
