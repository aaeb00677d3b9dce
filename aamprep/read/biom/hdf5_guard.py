"""What is checked of an HDF5 file before its arrays are read: where they lie, and how much they declare."""

import math

import h5py

from aamprep.read.source import Limits, RefusedError, check_size, size_in_words
from aamprep.rules import tables as rules

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF)
_LARGEST_CHUNK = 1 << 30


def group_in(parent: h5py.Group, name: str, where: str) -> h5py.Group:
    """Open a group.

    Raises
    ------
    RefusedError
        If it is missing, or a link to elsewhere.
    """
    return _child(parent, name, where, h5py.Group)


def dataset_in(parent: h5py.Group, name: str, where: str, limits: Limits) -> h5py.Dataset:
    """Open an array, without reading it.

    Raises
    ------
    RefusedError
        If it is missing, lies outside of the file, needs an unknown filter, or declares more than the limits
        allow. A chunk that was never written reads as zeros, so a tiny file can declare any size.
    """
    array = _child(parent, name, where, h5py.Dataset)
    place = f"{where}/{name}"
    properties = array.id.get_create_plist()
    _check_storage(properties, place)
    if array.shape is None:
        raise RefusedError(rules.BIOM_TYPE, place, "no shape")
    # By Python's own integers, which do not overflow.
    declared = math.prod(array.shape) * array.dtype.itemsize
    check_size(declared, array.id.get_storage_size(), place, limits)
    chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
    if chunk > _LARGEST_CHUNK:
        raise RefusedError(rules.FILE_TOO_LARGE, place, f"chunks of {size_in_words(chunk)}")
    return array


def _child(parent: h5py.Group, name: str, where: str, kind: type) -> h5py.Group | h5py.Dataset:
    link = parent.get(name, getlink=True)
    if link is None:
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {name}", "missing")
    if not isinstance(link, h5py.HardLink):
        words = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise RefusedError(rules.BIOM_FOREIGN, f"{where}, {name}", words)
    child = parent[name]
    if not isinstance(child, kind):
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
