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
    # leaving, deleting, deleted: mirrored deletions
    "removed": "its file was removed from its folder: deleted after its grace (`dicomsync deletions list`)",
    "mirrored": "its file was removed from its folder, and this followed (`mirror_deletions`)",
    "undone": "a person took its deletion back (`deletions undo`): it is stored again from its copy",
    # missed
    "left": "every file of it left the folder before it could be stored",
    "replaced": "its file was overwritten with another instance before it could be stored",
}

DELETION_REASONS: dict[str, str] = {
    # nothing comes of it: the instance stays in the archive
    "reappeared": "a file with it is there again",
    "elsewhere": "another file holds it, or may: it was renamed, moved or copied",
    "cancelled": "a person cancelled it (`deletions cancel`)",
    "off": "its folder does not mirror any more",
    "not-stored": "it is not stored: refused, in conflict, superseded, missed or deleted by a person",
    "not-ours": "it was not stored from here: the archive had it already",
    "rewritten": "the archive rewrites what it stores, so that it cannot be proved to be ours",
    "uncompared": "its bytes could not be compared with the archive's",
    "lost-there": "the archive does not have it any more",
    "differs-there": "the archive has other bytes than were stored: somebody else replaced it",
    "doubted-ledger": "it was stored before the ledger was restored or made anew, or that is not settled yet",
    "other-folder": "a file in another folder has held it as well",
    "other-disk": "it lay on another disk than the enrolled folder: in its place, or mounted below it",
    "backlog": "it did not come live: it was there before the daemon was, or a person had it stored",
    "clock": "the clock was set back since it was stored, so that nobody knows how long ago that was",
    "late": "its file left later than `delete_within` after it was stored: that is housekeeping",
    # what it waits for
    "frozen": "a person: the deletions of its folder are frozen",
    "first-scan": "a full pass over its folder, without an error, that does not find it",
    "second-scan": "a second such pass, `confirm_after` after the first",
    "comparing": "the archive's copy to be compared with what was stored",
    "grace": "the end of its grace, which goes on while the daemon is up and the folder healthy",
    "report": 'nothing: mirror_deletions = "report", so that it is only told',
    "study-open": "something of its study is being sent, asked about, deleted or in conflict",
    "folders-unread": "every other folder to be read whole, without an error",
    "files-unknown": "files somewhere that are still settling, or cannot be read: they might hold it",
    "archive-away": "the archive to answer",
    "no-room": "room for its copy in the trash (`undo_max_bytes`, or the disk of the ledger)",
    "asking": "the archive to say that it has it no more",
    "interrupted": "dicomsync was stopped between the intent and the answer; the archive still has it",
    "unseen": "something was in the way when its file, or its folder, was looked at",
    # a folder that is not proved to be the one it was: nothing of it is deleted
    "not-enrolled": "its folder has no marker yet: `dicomsync deletions enrol FOLDER` places one",
    "root-unreadable": "the folder cannot be read: is it mounted?",
    "root-other": "the folder is not the one that was enrolled: another disk, or another directory",
    "marker-missing": "the folder's marker is gone: another disk is mounted, or none",
    "marker-unreadable": "the folder's marker cannot be read, or is none",
    "marker-other": "the folder has another marker than was recorded: another disk is mounted",
    # a folder that is frozen until a person has looked
    "many": "more left in 24 hours than `max_deletions`",
    "share": "more left in 24 hours than `max_deletion_share` of what is still there",
    "directory-gone": "a directory right below the folder has gone with what was in it",
    "emptied": "nothing is left in the folder: is it the right disk?",
    "refused": "the archive refused to delete: may the credential do that?",
    "cannot-delete": "this archive does not delete single instances: mirroring is off",
    "not-gone": "the archive said that it deleted, and still has it",
    "no-answer": "the archive gave no answer to the deletion, and still has it",
    # what has the evidence begin again
    "config": "the config changed, or dicomsync's version",
    "enrolled": "the folder was enrolled anew",
    "ledger": "the ledger was restored or made anew",
    "healthy": "the folder is the one that was enrolled",
    "nothing-left": "nothing that would be deleted is left",
}
"""Why nothing comes of a mirrored deletion, what it waits for, and what stops all of a folder's."""

STATUS_WORDS = "the archive answered status {}, which says nothing about the instance"


def words(code: str) -> str:
    """Say a reason code of these tables in words; `failures.in_words` knows Failure Reasons as well."""
    return FILE_REASONS.get(code) or INSTANCE_REASONS.get(code) or DELETION_REASONS.get(code) or code
