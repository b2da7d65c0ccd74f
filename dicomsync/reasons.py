"""Every reason the ledger can give for a state, in words a person can act on. A table of facts.

Codes are stable (scripts and docs may name them); the words are not. `{}` stands for nothing here:
details of one file or one answer are kept beside the code, never inside it.
"""

FILE_REASONS: dict[str, str] = {
    # held: looked finished, is not a whole, storable DICOM file
    "empty": "the file has no bytes",
    "zeros": "the file holds only zero bytes so far: space was reserved, nothing written",
    "truncated": "the file ends in the middle of an element: the copy or the export was cut short",
    "no-pixels": "an image without its pixel data: cut short between two elements, or exported without",
    "short-pixels": "the pixel data is shorter than rows, columns, samples, bits and frames say",
    "unterminated": "compressed pixel data without its closing delimiter: the copy was cut short",
    "trailing": "bytes follow the last element that belong to nothing",
    "malformed": "the elements cannot be walked to the end of the file",
    "no-preamble": "looks like DICOM, but the preamble and the letters DICM are missing (PS3.10)",
    "uid-missing": "a Study, Series, SOP Instance or SOP Class UID is missing or empty",
    "uid-malformed": "a UID has other characters than digits and dots, or is too long (PS3.5 9.1)",
    "uid-several": "a UID that must be single has several values",
    "uid-mismatch": "the file meta information and the dataset name different instances",
    "syntax-missing": "the file meta information does not name a transfer syntax (PS3.10 7.1)",
    "unreadable": "the operating system did not let it be read",
    "resource": "reading its header would take more memory or time than a sane file needs",
    "poison": "reading its header makes dicomsync fail: it is not read again by itself (please report it)",
    # ignored: on purpose
    "not-dicom": "not a DICOM file",
    "dicomdir": "a DICOMDIR: an index of other files, not an instance",
    "special": "not a regular file",
    "earlier": 'it was there before the daemon first saw the folder (start = "new"); a backfill takes it',
    # settling
    "fresh": "still changing, or too fresh to trust",
    "comparing": "its SOP Instance UID is known already: contents are being compared",
    # gone, missed
    "gone": "the file has left the folder",
    "left-early": "the file left the folder before it was known what it holds",
}

INSTANCE_REASONS: dict[str, str] = {
    "": "",
    # pending
    "waiting": "it waited for more of its study, or for a free transfer",
    "no-answer": "the archive gave no answer, and nothing of it had been sent",
    "no-access": "the archive does not accept the credential, or the account may not store",
    "setup": "the archive's address or its settings are wrong: a person must mend them",
    "busy": "the archive asked to be left alone for a while",
    "split": "the request was too large: sent again with fewer instances in it",
    "absent": "the archive was asked twice and does not have it: it is sent",
    "changed": "the file changed before it could be sent: looked at again",
    "reappeared": "its file had left and is back",
    "hangs": "its folder does not answer, or is not there: it waits until that is so",
    "healed": "the archive had lost it, and a person had it sent again (`verify --heal`)",
    "retried": "a person asked for it to be tried again",
    # sending, unconfirmed
    "sent": "the request is on its way, or the answer was not recorded",
    "silent": "the archive answered without naming it",
    "broken": "the connection broke while it was being sent",
    "timeout": "no answer came in time; the archive may still be storing it",
    "server-error": "the archive failed after it had got some of the request",
    "restart": "dicomsync was stopped while it was on its way",
    "duplicate": "the archive says it has this SOP Instance UID already",
    "already-there": "the archive had it already, and it is the same",
    "doubted": "the ledger was rebuilt, or is an older copy: the archive is asked before anything is sent",
    "refused": "the archive refused the whole request without saying which instance is to blame",
    "refused-alone": "the archive refused it, alone in its request",
    # stored
    "confirmed": "the answer was lost; the archive was asked, and has the same bytes",
    "agrees": "the archive rewrites what it stores: UIDs, SOP class, transfer syntax and pixels are the same",
    "resolved": "a person had it stored in the place of another content; compared, and the same",
    "presence-only": "the archive has it; its bytes could not be compared",
    "warning": "stored, with a warning from the archive",
    # conflict
    "differs": "the archive has other content under this SOP Instance UID",
    "incomparable": "the archive has this SOP Instance UID; the contents could not be compared",
    "other-file": "another file has other content under this SOP Instance UID, and goes first",
    "resolving": "a person has it stored in the place of another content; how far that came is not recorded:"
    " give the same command again",
    # superseded
    "kept-archive": "a person kept what the archive has: this content is not stored",
    "kept-folder": "a person had another content stored in its place",
    # rejected
    "too-large": "larger than the archive, or a proxy before it, accepts (nginx: client_max_body_size)",
    "elsewhere": "the archive says it has this SOP Instance UID and does not show it in this study:"
    " is it in another one, or half deleted?",
    # deleting, deleted
    "operator": "a person has it deleted (`archive delete`)",
    # missed
    "left": "every file of it left the folder before it could be stored",
    "replaced": "its file was overwritten with another instance before it could be stored",
}

STATUS_WORDS = "the archive answered status {}, which says nothing about the instance"


def words(code: str) -> str:
    """Say a reason code of these tables in words; `failures.in_words` knows Failure Reasons as well."""
    return FILE_REASONS.get(code) or INSTANCE_REASONS.get(code) or code
