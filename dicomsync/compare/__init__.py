"""Two DICOM files under one SOP Instance UID: in what do they differ? Streams in, values out.

Bytes first; then the datasets element by element, whatever their encoding. Pixel data, and all that is
large, is compared by its SHA-256 and never held whole. This is a door for pydicom.
"""

from dicomsync.compare.judging import compare
from dicomsync.compare.likeness import WORDS, Comparison, Difference, Likeness, Pixels, Unreadable

__all__ = ["WORDS", "Comparison", "Difference", "Likeness", "Pixels", "Unreadable", "compare"]
