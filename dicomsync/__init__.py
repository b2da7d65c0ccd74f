"""dicomsync: gets every DICOM file from a folder into a DICOMweb archive, and can prove it."""

__version__ = "0.1.0"
