"""Open groups and arrays of an HDF5 file safely: inside of the file, and within the limits on size."""

import math

import h5py

from aamprep.read.source import Limits, RefusedError, check_size, format_bytes
from aamprep.rules import tables as rules

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF)
"""Filters that h5py itself provides. Other filters run plugins."""
_LARGEST_CHUNK = 1 << 30
"""In bytes. A chunk is unpacked as a whole, even if only one value is read."""


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
    return array


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
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedError(rules.BIOM_FOREIGN, where, "a virtual dataset")
    if properties.get_external_count():
        raise RefusedError(rules.BIOM_FOREIGN, where, "external storage")
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    if unknown := [code for code in filters if code not in _FILTERS]:
        raise RefusedError(rules.BIOM_FOREIGN, where, f"filter {unknown[0]}")
