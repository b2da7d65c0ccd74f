PRAGMA application_id = 1145261395;
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'dicomsync','m001_files_and_instances','2026-11-23 02:39:23.883938+00:00');
CREATE TABLE batches (
        id INTEGER PRIMARY KEY,
        study_id INTEGER NOT NULL REFERENCES studies (id),
        sent_at REAL NOT NULL,
        answered_at REAL,
        instances INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        status INTEGER, -- of HTTP; NULL without an answer
        outcome TEXT NOT NULL DEFAULT ''
    ) STRICT;
INSERT INTO "batches" VALUES(1,1,1.7954015638949904442e+09,NULL,2,2000000,NULL,'');
INSERT INTO "batches" VALUES(2,1,1.79540156292947316162e+09,1.7954015639295089245e+09,0,0,200,'');
INSERT INTO "batches" VALUES(3,1,1.79540150392996311189e+09,1.79540156392998480794e+09,0,0,NULL,'');
CREATE TABLE counts (
        what TEXT NOT NULL, -- file or instance
        state TEXT NOT NULL,
        n INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (what, state)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "counts" VALUES('file','gone',4);
INSERT INTO "counts" VALUES('file','held',2);
INSERT INTO "counts" VALUES('file','ignored',3);
INSERT INTO "counts" VALUES('file','missed',5);
INSERT INTO "counts" VALUES('file','ready',57);
INSERT INTO "counts" VALUES('file','settling',1);
INSERT INTO "counts" VALUES('instance','conflict',4);
INSERT INTO "counts" VALUES('instance','deleted',10);
INSERT INTO "counts" VALUES('instance','deleting',9);
INSERT INTO "counts" VALUES('instance','leaving',8);
INSERT INTO "counts" VALUES('instance','missed',7);
INSERT INTO "counts" VALUES('instance','pending',1);
INSERT INTO "counts" VALUES('instance','rejected',6);
INSERT INTO "counts" VALUES('instance','sending',2);
INSERT INTO "counts" VALUES('instance','stored',3);
INSERT INTO "counts" VALUES('instance','superseded',5);
INSERT INTO "counts" VALUES('instance','unconfirmed',2);
CREATE TABLE directories (
        id INTEGER PRIMARY KEY,
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        path BLOB NOT NULL UNIQUE,
        shown TEXT, -- the path in escapes, where it is not UTF-8
        scan INTEGER NOT NULL DEFAULT 0, -- the latest scan that read it
        mtime_ns INTEGER NOT NULL DEFAULT 0, -- its time when it was last read whole; 0: to be read again
        nested INTEGER NOT NULL DEFAULT 0, -- 1: it was once on another file system than its folder
        agreed BLOB -- digest of the listing that agreed with its files; NULL once one of them changes
    ) STRICT;
INSERT INTO "directories" VALUES(1,1,X'2F646174612F446F655E4A616E65',NULL,1,0,0,NULL);
CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "facts" VALUES('archive','http://archive.test/v2');
INSERT INTO "facts" VALUES('ledger','0cebbb4b-a398-44d9-8854-84d12b4ab021');
INSERT INTO "facts" VALUES('sequence','24');
INSERT INTO "facts" VALUES('status_file','/var/lib/dicomsync/main/status.json');
CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- history names it: never that of another
        directory_id INTEGER NOT NULL REFERENCES directories (id),
        name BLOB NOT NULL,
        shown TEXT, -- the name in escapes, where it is not UTF-8
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state = 'settling' OR state = 'held' OR state = 'ignored' OR state = 'ready' OR state = 'gone' OR state = 'missed'),
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        instance_id INTEGER REFERENCES instances (id),
        seen_at REAL NOT NULL,
        place INTEGER NOT NULL DEFAULT 0, -- of `places`: its folder when it was last seen; 0: unknown
        UNIQUE (directory_id, name)
    ) STRICT;
INSERT INTO "files" VALUES(1,1,X'312E64636D',NULL,1000000,1,1,1,'ready','','',1,1.79540156389166855816e+09,0);
INSERT INTO "files" VALUES(2,1,X'322E64636D',NULL,1000000,1,1,2,'ready','','',2,1.79540156389260888106e+09,0);
INSERT INTO "files" VALUES(3,1,X'332E64636D',NULL,1000000,1,1,3,'ready','','',3,1.79540156389723038667e+09,0);
INSERT INTO "files" VALUES(4,1,X'342E64636D',NULL,1000000,1,1,4,'ready','','',4,1.79540156389783382411e+09,0);
INSERT INTO "files" VALUES(5,1,X'352E64636D',NULL,1000000,1,1,5,'ready','','',5,1.79540156389801526071e+09,0);
INSERT INTO "files" VALUES(6,1,X'362E64636D',NULL,1000000,1,1,6,'ready','','',6,1.79540156389852118487e+09,0);
INSERT INTO "files" VALUES(7,1,X'372E64636D',NULL,1000000,1,1,7,'ready','','',7,1.79540156389870262146e+09,0);
INSERT INTO "files" VALUES(8,1,X'382E64636D',NULL,1000000,1,1,8,'ready','','',8,1.79540156389888238899e+09,0);
INSERT INTO "files" VALUES(9,1,X'392E64636D',NULL,1000000,1,1,9,'ready','','',9,1.79540156390316796297e+09,0);
INSERT INTO "files" VALUES(10,1,X'31302E64636D',NULL,1000000,1,1,10,'ready','','',10,1.79540156390336441997e+09,0);
INSERT INTO "files" VALUES(11,1,X'31312E64636D',NULL,1000000,1,1,11,'ready','','',11,1.79540156390351653093e+09,0);
INSERT INTO "files" VALUES(12,1,X'31322E64636D',NULL,1000000,1,1,12,'ready','','',12,1.79540156390367317204e+09,0);
INSERT INTO "files" VALUES(13,1,X'31332E64636D',NULL,1000000,1,1,13,'ready','','',13,1.79540156390424036981e+09,0);
INSERT INTO "files" VALUES(14,1,X'31342E64636D',NULL,1000000,1,1,14,'ready','','',14,1.79540156390440106392e+09,0);
INSERT INTO "files" VALUES(15,1,X'31352E64636D',NULL,1000000,1,1,15,'ready','','',15,1.79540156390453672407e+09,0);
INSERT INTO "files" VALUES(16,1,X'31362E64636D',NULL,1000000,1,1,16,'ready','','',16,1.79540156390466976166e+09,0);
INSERT INTO "files" VALUES(17,1,X'31372E64636D',NULL,1000000,1,1,17,'ready','','',17,1.79540156390480232237e+09,0);
INSERT INTO "files" VALUES(18,1,X'31382E64636D',NULL,1000000,1,1,18,'ready','','',18,1.79540156390530490876e+09,0);
INSERT INTO "files" VALUES(19,1,X'31392E64636D',NULL,1000000,1,1,19,'ready','','',19,1.79540156390547204013e+09,0);
INSERT INTO "files" VALUES(20,1,X'32302E64636D',NULL,1000000,1,1,20,'ready','','',20,1.79540156390561389922e+09,0);
INSERT INTO "files" VALUES(21,1,X'32312E64636D',NULL,1000000,1,1,21,'ready','','',21,1.7954015639057497978e+09,0);
INSERT INTO "files" VALUES(22,1,X'32322E64636D',NULL,1000000,1,1,22,'ready','','',22,1.79540156390587973597e+09,0);
INSERT INTO "files" VALUES(23,1,X'32332E64636D',NULL,1000000,1,1,23,'ready','','',23,1.79540156390600943569e+09,0);
INSERT INTO "files" VALUES(24,1,X'32342E64636D',NULL,1000000,1,1,24,'ready','','',24,1.79540156390846467014e+09,0);
INSERT INTO "files" VALUES(25,1,X'32352E64636D',NULL,1000000,1,1,25,'ready','','',25,1795401563.90866,0);
INSERT INTO "files" VALUES(26,1,X'32362E64636D',NULL,1000000,1,1,26,'ready','','',26,1.79540156390881299971e+09,0);
INSERT INTO "files" VALUES(27,1,X'32372E64636D',NULL,1000000,1,1,27,'ready','','',27,1.79540156390895342831e+09,0);
INSERT INTO "files" VALUES(28,1,X'32382E64636D',NULL,1000000,1,1,28,'ready','','',28,1.79540156390911698341e+09,0);
INSERT INTO "files" VALUES(29,1,X'32392E64636D',NULL,1000000,1,1,29,'ready','','',29,1.79540156390925884251e+09,0);
INSERT INTO "files" VALUES(30,1,X'33302E64636D',NULL,1000000,1,1,30,'ready','','',30,1.79540156390941381455e+09,0);
INSERT INTO "files" VALUES(31,1,X'33312E64636D',NULL,1000000,1,1,31,'ready','','',31,1.7954015639099276066e+09,0);
INSERT INTO "files" VALUES(32,1,X'33322E64636D',NULL,1000000,1,1,32,'ready','','',32,1.79540156391010475157e+09,0);
INSERT INTO "files" VALUES(33,1,X'33332E64636D',NULL,1000000,1,1,33,'ready','','',33,1.79540156391023945805e+09,0);
INSERT INTO "files" VALUES(34,1,X'33342E64636D',NULL,1000000,1,1,34,'ready','','',34,1.7954015639103648662e+09,0);
INSERT INTO "files" VALUES(35,1,X'33352E64636D',NULL,1000000,1,1,35,'ready','','',35,1.79540156391048407553e+09,0);
INSERT INTO "files" VALUES(36,1,X'33362E64636D',NULL,1000000,1,1,36,'ready','','',36,1.79540156391060137753e+09,0);
INSERT INTO "files" VALUES(37,1,X'33372E64636D',NULL,1000000,1,1,37,'ready','','',37,1.79540156391071844101e+09,0);
INSERT INTO "files" VALUES(38,1,X'33382E64636D',NULL,1000000,1,1,38,'ready','','',38,1.79540156391083526605e+09,0);
INSERT INTO "files" VALUES(39,1,X'33392E64636D',NULL,1000000,1,1,39,'ready','','',39,1.79540156391531419751e+09,0);
INSERT INTO "files" VALUES(40,1,X'34302E64636D',NULL,1000000,1,1,40,'ready','','',40,1.79540156391552138325e+09,0);
INSERT INTO "files" VALUES(41,1,X'34312E64636D',NULL,1000000,1,1,41,'ready','','',41,1.7954015639158329964e+09,0);
INSERT INTO "files" VALUES(42,1,X'34322E64636D',NULL,1000000,1,1,42,'ready','','',42,1.79540156391609621051e+09,0);
INSERT INTO "files" VALUES(43,1,X'34332E64636D',NULL,1000000,1,1,43,'ready','','',43,1.79540156391627264025e+09,0);
INSERT INTO "files" VALUES(44,1,X'34342E64636D',NULL,1000000,1,1,44,'ready','','',44,1.79540156391640591624e+09,0);
INSERT INTO "files" VALUES(45,1,X'34352E64636D',NULL,1000000,1,1,45,'ready','','',45,1.79540156391653347011e+09,0);
INSERT INTO "files" VALUES(46,1,X'34362E64636D',NULL,1000000,1,1,46,'ready','','',46,1.79540156391665816303e+09,0);
INSERT INTO "files" VALUES(47,1,X'34372E64636D',NULL,1000000,1,1,47,'ready','','',47,1.79540156391689133645e+09,0);
INSERT INTO "files" VALUES(48,1,X'34382E64636D',NULL,1000000,1,1,48,'ready','','',48,1.79540156391951227191e+09,0);
INSERT INTO "files" VALUES(49,1,X'34392E64636D',NULL,1000000,1,1,49,'ready','','',49,1.79540156391970014571e+09,0);
INSERT INTO "files" VALUES(50,1,X'35302E64636D',NULL,1000000,1,1,50,'ready','','',50,1.79540156391984605786e+09,0);
INSERT INTO "files" VALUES(51,1,X'35312E64636D',NULL,1000000,1,1,51,'ready','','',51,1.79540156391998457913e+09,0);
INSERT INTO "files" VALUES(52,1,X'35322E64636D',NULL,1000000,1,1,52,'ready','','',52,1.7954015639201426506e+09,0);
INSERT INTO "files" VALUES(53,1,X'35332E64636D',NULL,1000000,1,1,53,'ready','','',53,1.79540156392029833787e+09,0);
INSERT INTO "files" VALUES(54,1,X'35342E64636D',NULL,1000000,1,1,54,'ready','','',54,1.79540156392043256756e+09,0);
INSERT INTO "files" VALUES(55,1,X'35352E64636D',NULL,1000000,1,1,55,'ready','','',55,1.79540156392056274412e+09,0);
INSERT INTO "files" VALUES(56,1,X'35362E64636D',NULL,1000000,1,1,56,'ready','','',56,1.79540156392069125178e+09,0);
INSERT INTO "files" VALUES(57,1,X'35372E64636D',NULL,1000000,1,1,57,'ready','','',57,1.79540156392082142825e+09,0);
INSERT INTO "files" VALUES(58,1,X'35382E64636D',NULL,1,1,1,58,'settling','fresh','',NULL,1795401563.92315,0);
INSERT INTO "files" VALUES(59,1,X'35392E64636D',NULL,1,1,1,59,'held','truncated','',NULL,1.79540156392350077631e+09,0);
INSERT INTO "files" VALUES(60,1,X'36302E64636D',NULL,1,1,1,60,'held','truncated','',NULL,1.79540156392356729502e+09,0);
INSERT INTO "files" VALUES(61,1,X'36312E64636D',NULL,1,1,1,61,'ignored','not-dicom','',NULL,1.79540156392382693295e+09,0);
INSERT INTO "files" VALUES(62,1,X'36322E64636D',NULL,1,1,1,62,'ignored','not-dicom','',NULL,1.79540156392388367649e+09,0);
INSERT INTO "files" VALUES(63,1,X'36332E64636D',NULL,1,1,1,63,'ignored','not-dicom','',NULL,1.7954015639239189625e+09,0);
INSERT INTO "files" VALUES(64,1,X'36342E64636D',NULL,1,1,1,64,'gone','','',NULL,1.79540156392722439768e+09,0);
INSERT INTO "files" VALUES(65,1,X'36352E64636D',NULL,1,1,1,65,'gone','','',NULL,1.79540156392731785773e+09,0);
INSERT INTO "files" VALUES(66,1,X'36362E64636D',NULL,1,1,1,66,'gone','','',NULL,1.79540156392735266678e+09,0);
INSERT INTO "files" VALUES(67,1,X'36372E64636D',NULL,1,1,1,67,'gone','','',NULL,1.79540156392738199228e+09,0);
INSERT INTO "files" VALUES(68,1,X'36382E64636D',NULL,1,1,1,68,'missed','left-early','',NULL,1.79540156392767429353e+09,0);
INSERT INTO "files" VALUES(69,1,X'36392E64636D',NULL,1,1,1,69,'missed','left-early','',NULL,1.79540156392773580552e+09,0);
INSERT INTO "files" VALUES(70,1,X'37302E64636D',NULL,1,1,1,70,'missed','left-early','',NULL,1.79540156392776918412e+09,0);
INSERT INTO "files" VALUES(71,1,X'37312E64636D',NULL,1,1,1,71,'missed','left-early','',NULL,1.79540156392779612542e+09,0);
INSERT INTO "files" VALUES(72,1,X'37322E64636D',NULL,1,1,1,72,'missed','left-early','',NULL,1.79540156392782163617e+09,0);
CREATE TABLE folders (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        scan INTEGER NOT NULL DEFAULT 0, -- number of the latest scan begun
        mount BLOB NOT NULL DEFAULT x'', -- the mount point it was last found on
        patterns TEXT NOT NULL DEFAULT '', -- of the names that are looked for in it
        seen_at REAL NOT NULL, -- when it was first looked into
        scanned_at REAL, -- end of the latest scan that came to its end
        filed_at REAL, -- when a file in it was last proved to be whole DICOM
        report TEXT -- what that scan counted, as JSON
    ) STRICT;
INSERT INTO "folders" VALUES(1,X'2F646174612F446F655E4A616E65',1,X'','',1.79540156388762927059e+09,1.79540156388784408574e+09,1.79540156392082142825e+09,'{"files":7,"seconds":2.5}');
CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        what TEXT NOT NULL, -- file, instance, study, batch or archive
        row INTEGER NOT NULL, -- its id
        event TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT ''
    ) STRICT;
CREATE TABLE instances (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- likewise; and what is younger has a greater one
        study_id INTEGER NOT NULL REFERENCES studies (id),
        series_instance_uid TEXT NOT NULL,
        sop_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        transfer_syntax_uid TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        preamble BLOB NOT NULL DEFAULT x'', -- first 128 bytes where not all zero
        sha256 BLOB, -- of the whole file, once its bytes were read
        state TEXT NOT NULL CHECK (state = 'pending' OR state = 'sending' OR state = 'unconfirmed' OR state = 'stored' OR state = 'conflict' OR state = 'rejected' OR state = 'superseded' OR state = 'missed' OR state = 'leaving' OR state = 'deleting' OR state = 'deleted'),
        claims INTEGER, -- kept by triggers; 1: of those under its UID this is the one that the archive has or
            -- gets; NULL: it is not
        waits INTEGER NOT NULL DEFAULT 0, -- likewise; 1: something is to be done without a person
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        likeness TEXT NOT NULL DEFAULT '', -- of a conflict, once compared: how like the other content it is
        seen_at REAL NOT NULL,
        live INTEGER NOT NULL DEFAULT 0, -- 1: it came after its folder had been read whole; 0: the backlog
        due_at REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        unclear INTEGER NOT NULL DEFAULT 0, -- attempts that failed without a clear reason
        looks INTEGER NOT NULL DEFAULT 0, -- how often the archive was asked and did not have it
        together INTEGER, -- the most instances its next request may hold
        batch_id INTEGER REFERENCES batches (id), -- the latest
        stored_at REAL,
        verified_at REAL, -- when the archive's copy was compared and found equal
        found TEXT NOT NULL DEFAULT '', -- of a stored one, when last asked: present, equal, absent (once),
            -- missing (twice), differs
        found_at REAL, -- when that was
        check_at REAL -- when the archive is to be asked about it in the background; NULL: not by itself
    ) STRICT;
INSERT INTO "instances" VALUES(1,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.1','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'sending',1,1,'sent','','',1.79540154389110183713e+09,1,1.79540156389110183718e+09,0,0,0,NULL,1,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(2,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.2','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'sending',1,1,'sent','','',1.79540154389110183713e+09,1,1.79540156389110183718e+09,0,0,0,NULL,1,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(3,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.3','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'pending',1,1,'waiting','','',1.79540154389704322817e+09,1,1.79540156389704322814e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(4,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.4','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'unconfirmed',1,1,'timeout','','',1.795401543897715807e+09,1,1.79540156389771580697e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(5,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.5','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'unconfirmed',1,1,'timeout','','',1.795401543897715807e+09,1,1.79540156389771580697e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(6,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.6','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'stored',1,0,'','','',1.79540154389841961858e+09,1,1.79540156389841961855e+09,0,0,0,NULL,NULL,1.79540156389841961855e+09,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(7,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.7','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'stored',1,0,'','','',1.79540154389841961858e+09,1,1.79540156389841961855e+09,0,0,0,NULL,NULL,1.79540156389841961855e+09,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(8,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.8','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'stored',1,0,'','','',1.79540154389841961858e+09,1,1.79540156389841961855e+09,0,0,0,NULL,NULL,1.79540156389841961855e+09,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(9,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.9','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'conflict',NULL,0,'differs','','',1.79540154390301418298e+09,1,1.79540156390301418299e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(10,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.10','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'conflict',NULL,0,'differs','','',1.79540154390301418298e+09,1,1.79540156390301418299e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(11,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.11','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'conflict',NULL,0,'differs','','',1.79540154390301418298e+09,1,1.79540156390301418299e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(12,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.12','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'conflict',NULL,0,'differs','','',1.79540154390301418298e+09,1,1.79540156390301418299e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(13,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.13','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'superseded',NULL,0,'kept-archive','','',1.79540154390413951874e+09,1,1.79540156390413951871e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(14,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.14','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'superseded',NULL,0,'kept-archive','','',1.79540154390413951874e+09,1,1.79540156390413951871e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(15,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.15','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'superseded',NULL,0,'kept-archive','','',1.79540154390413951874e+09,1,1.79540156390413951871e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(16,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.16','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'superseded',NULL,0,'kept-archive','','',1.79540154390413951874e+09,1,1.79540156390413951871e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(17,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.17','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'superseded',NULL,0,'kept-archive','','',1.79540154390413951874e+09,1,1.79540156390413951871e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(18,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.18','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(19,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.19','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(20,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.20','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(21,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.21','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(22,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.22','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(23,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.23','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'rejected',NULL,0,'too-large','','',1.7954015439052009583e+09,1,1.79540156390520095827e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(24,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.24','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(25,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.25','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(26,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.26','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(27,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.27','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(28,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.28','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(29,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.29','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(30,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.30','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'missed',NULL,0,'left','','',1.79540154390833067892e+09,1,1.79540156390833067893e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(31,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.31','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(32,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.32','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(33,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.33','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(34,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.34','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(35,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.35','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(36,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.36','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(37,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.37','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(38,3,'1.2.826.0.1.3680043.3.1','1.2.826.0.1.3680043.3.1.38','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'leaving',1,0,'removed','','',1.7954015439098248482e+09,1,1.79540156390982484817e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(39,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.39','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(40,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.40','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(41,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.41','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(42,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.42','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(43,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.43','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(44,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.44','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(45,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.45','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(46,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.46','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(47,1,'1.2.826.0.1.3680043.1.1','1.2.826.0.1.3680043.1.1.47','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleting',1,0,'operator','','',1.79540154391512632369e+09,1,1.79540156391512632371e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(48,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.48','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(49,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.49','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(50,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.50','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(51,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.51','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(52,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.52','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(53,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.53','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(54,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.54','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(55,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.55','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(56,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.56','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "instances" VALUES(57,2,'1.2.826.0.1.3680043.2.1','1.2.826.0.1.3680043.2.1.57','1.2.840','1.2.840.10008.1.2',1000000,X'',NULL,'deleted',NULL,0,'mirrored','','',1.7954015439193716049e+09,1,1.79540156391937160492e+09,0,0,0,NULL,NULL,NULL,NULL,'',NULL,NULL);
CREATE TABLE places ( -- directories that were ever read as a folder
        id INTEGER PRIMARY KEY,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        UNIQUE (device, inode)
    ) STRICT;
CREATE TABLE readings (
        id INTEGER PRIMARY KEY, -- a header job that is out, or that its process did not survive
        files TEXT NOT NULL -- path, size, times and inode of each file it was handed, as JSON
    ) STRICT;
CREATE TABLE removals ( -- instances whose last file has left a folder that mirrors
        id INTEGER PRIMARY KEY,
        root_id INTEGER NOT NULL REFERENCES roots (id),
        instance_id INTEGER NOT NULL,
        stage TEXT NOT NULL CHECK (stage = 'left' OR stage = 'absent' OR stage = 'confirmed' OR stage = 'grace' OR stage = 'deleting' OR stage = 'deleted' OR stage = 'undone' OR stage = 'over'),
        reason TEXT NOT NULL DEFAULT '', -- why it is over, or what it was last kept back by
        was TEXT NOT NULL DEFAULT '', -- the instance's reason while it was stored
        left_at REAL NOT NULL, -- wall seconds; what follows is in the folder's own seconds
        first_scan INTEGER, -- the pass that first proved it absent
        first_seconds REAL, -- when that was over
        graced_seconds REAL, -- when the second one was over
        directory_gone INTEGER NOT NULL DEFAULT 0, -- its top-level directory has gone as well
        approved INTEGER NOT NULL DEFAULT 0,
        ended_seconds REAL,
        kept BLOB, -- the path of its copy in the trash
        kept_key TEXT, -- its size, times and inode, as JSON
        kept_seconds REAL
    ) STRICT;
CREATE TABLE request_tally ( -- batches that were answered, or given up
        answer TEXT NOT NULL, -- the status of HTTP; none; found: all of it was there, and nothing was sent
        seconds_bucket INTEGER NOT NULL, -- by tallies.REQUEST_SECONDS
        size_bucket INTEGER NOT NULL, -- by tallies.REQUEST_BYTES
        n INTEGER NOT NULL,
        seconds REAL NOT NULL,
        size_bytes INTEGER NOT NULL,
        PRIMARY KEY (answer, seconds_bucket, size_bucket)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "request_tally" VALUES('200',3,0,1,1.00003576278686523437e+00,0);
INSERT INTO "request_tally" VALUES('none',6,0,1,60.0000216960907,0);
CREATE TABLE retry_tally ( -- instances that were on their way, and are to be asked about or sent again
        cause TEXT PRIMARY KEY,
        n INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "retry_tally" VALUES('timeout',2);
INSERT INTO "retry_tally" VALUES('waiting',3);
CREATE TABLE roots ( -- folders whose deletions are mirrored, or were
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        mode TEXT NOT NULL CHECK (mode = 'off' OR mode = 'report' OR mode = 'on'),
        conditions TEXT NOT NULL, -- of the config; where they change, evidence begins again
        identity TEXT, -- what tells it from another folder in its place, as JSON; NULL: not enrolled
        enrolled_at REAL,
        seconds REAL NOT NULL DEFAULT 0, -- how long it was seen to be healthy: its own clock
        unhealthy TEXT NOT NULL DEFAULT '', -- why it is not, when last looked at
        frozen TEXT NOT NULL DEFAULT '', -- the guard that was tripped
        frozen_at REAL
    ) STRICT;
INSERT INTO "roots" VALUES(1,X'2F646174612F446F655E4A616E65','on','',NULL,NULL,0.0,'','many',1.79540156393057513239e+09);
CREATE TABLE stored_tally ( -- what became stored
        slot INTEGER NOT NULL, -- the beginning of five minutes, wall seconds; 0: all that is older
        folder_id INTEGER NOT NULL, -- that it came from; 0: none
        live INTEGER NOT NULL, -- 1: it came after its folder had been read whole; 0: the backlog
        bucket INTEGER NOT NULL, -- how long after it was proved whole, by tallies.ARCHIVE_SECONDS
        n INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        seconds REAL NOT NULL, -- the sum
        PRIMARY KEY (slot, folder_id, live, bucket)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "stored_tally" VALUES(1795401300,1,1,1,3,3000000,60.0);
CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        study_instance_uid TEXT NOT NULL UNIQUE,
        seen_at REAL NOT NULL,
        pending INTEGER NOT NULL DEFAULT 0,
        pending_bytes INTEGER NOT NULL DEFAULT 0,
        live INTEGER NOT NULL DEFAULT 0, -- how many of the pending ones came while the daemon was there
        first_at REAL, -- when its earliest pending instance may go
        quiet_at REAL NOT NULL DEFAULT 0, -- when it counts as quiet if nothing more arrives
        due_at REAL, -- when its next batch goes; NULL: nothing is pending
        ahead INTEGER NOT NULL DEFAULT 0 -- 1: some of what is pending came live, and goes before the backlog
    ) STRICT;
INSERT INTO "studies" VALUES(1,'1.2.826.0.1.3680043.1',1.79540154389110183713e+09,0,0,0,0.0,0.0,0.0,1);
INSERT INTO "studies" VALUES(2,'1.2.826.0.1.3680043.2',1.79540154389704322817e+09,1,1000000,1,0.0,0.0,0.0,1);
INSERT INTO "studies" VALUES(3,'1.2.826.0.1.3680043.3',1.795401543897715807e+09,0,0,0,NULL,0.0,NULL,0);
CREATE TABLE suspects (
        path BLOB PRIMARY KEY, -- of a file that was being read as a process ended
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        times INTEGER NOT NULL DEFAULT 1
    ) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE UNIQUE INDEX instances_claim ON instances (sop_instance_uid, claims);
CREATE INDEX instances_of_study ON instances (study_id);
CREATE INDEX instances_pending ON instances (study_id, due_at) WHERE state = 'pending';
CREATE INDEX instances_asked ON instances (due_at) WHERE state = 'unconfirmed';
CREATE INDEX instances_waiting ON instances (live, seen_at) WHERE waits = 1;
CREATE INDEX files_of_instance ON files (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX files_odd ON files (state, reason, seen_at) WHERE state IN ('held', 'missed');
CREATE INDEX instances_odd ON instances (state, reason, seen_at) WHERE state = 'conflict' OR state = 'rejected' OR state = 'missed';
CREATE INDEX instances_to_check ON instances (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX instances_lost ON instances (found) WHERE state = 'stored' AND found IN ('missing', 'differs');
CREATE INDEX files_unsettled ON files (directory_id) WHERE state = 'settling';
CREATE INDEX studies_due ON studies (ahead, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX batches_open ON batches (study_id) WHERE answered_at IS NULL;
CREATE INDEX history_of ON history (what, row);
CREATE UNIQUE INDEX removals_open ON removals (instance_id) WHERE stage IN ('left', 'absent', 'confirmed', 'grace', 'deleting');
CREATE INDEX removals_of ON removals (instance_id);
CREATE INDEX files_earlier ON files (size_bytes) WHERE reason = 'earlier';
CREATE INDEX directories_nested ON directories (path) WHERE nested = 1;
CREATE INDEX removals_kept ON removals (kept_seconds) WHERE kept IS NOT NULL;
CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
        UPDATE counts SET n = n + 1 WHERE what = 'file' AND state = NEW.state; UPDATE directories SET agreed = NULL WHERE id = NEW.directory_id AND agreed IS NOT NULL; END;
CREATE TRIGGER files_moved AFTER UPDATE OF state ON files WHEN OLD.state <> NEW.state BEGIN
        UPDATE counts SET n = n - 1 WHERE what = 'file' AND state = OLD.state; UPDATE counts SET n = n + 1 WHERE what = 'file' AND state = NEW.state; END;
CREATE TRIGGER files_changed AFTER UPDATE ON files BEGIN UPDATE directories SET agreed = NULL WHERE id = NEW.directory_id AND agreed IS NOT NULL; END;
CREATE TRIGGER files_dropped AFTER DELETE ON files BEGIN
        UPDATE counts SET n = n - 1 WHERE what = 'file' AND state = OLD.state; UPDATE directories SET agreed = NULL WHERE id = OLD.directory_id AND agreed IS NOT NULL; END;
CREATE TRIGGER instances_added AFTER INSERT ON instances BEGIN
        UPDATE counts SET n = n + 1 WHERE what = 'instance' AND state = NEW.state; UPDATE studies SET pending = pending + 1,
            pending_bytes = pending_bytes + NEW.size_bytes, live = live + NEW.live
        WHERE id = NEW.study_id AND NEW.state = 'pending'; UPDATE instances SET claims = CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 WHEN 'stored' THEN 1 WHEN 'leaving' THEN 1 WHEN 'deleting' THEN 1 END
            WHERE id = NEW.id AND NEW.claims IS NOT CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 WHEN 'stored' THEN 1 WHEN 'leaving' THEN 1 WHEN 'deleting' THEN 1 END;
        UPDATE instances SET waits = CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 ELSE 0 END
            WHERE id = NEW.id AND NEW.waits <> CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 ELSE 0 END; END;
CREATE TRIGGER instances_moved AFTER UPDATE OF state, size_bytes, study_id ON instances
        WHEN OLD.state <> NEW.state OR OLD.size_bytes <> NEW.size_bytes OR OLD.study_id <> NEW.study_id BEGIN
        UPDATE counts SET n = n - 1 WHERE what = 'instance' AND state = OLD.state; UPDATE counts SET n = n + 1 WHERE what = 'instance' AND state = NEW.state;
        UPDATE studies SET pending = pending - 1,
            pending_bytes = pending_bytes - OLD.size_bytes, live = live - OLD.live
        WHERE id = OLD.study_id AND OLD.state = 'pending'; UPDATE studies SET pending = pending + 1,
            pending_bytes = pending_bytes + NEW.size_bytes, live = live + NEW.live
        WHERE id = NEW.study_id AND NEW.state = 'pending'; UPDATE instances SET claims = CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 WHEN 'stored' THEN 1 WHEN 'leaving' THEN 1 WHEN 'deleting' THEN 1 END
            WHERE id = NEW.id AND NEW.claims IS NOT CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 WHEN 'stored' THEN 1 WHEN 'leaving' THEN 1 WHEN 'deleting' THEN 1 END;
        UPDATE instances SET waits = CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 ELSE 0 END
            WHERE id = NEW.id AND NEW.waits <> CASE NEW.state WHEN 'pending' THEN 1 WHEN 'sending' THEN 1 WHEN 'unconfirmed' THEN 1 ELSE 0 END; INSERT INTO retry_tally SELECT NEW.reason, 1
        WHERE OLD.state = 'sending' AND NEW.state IN ('pending', 'unconfirmed')
            OR OLD.state = 'unconfirmed' AND NEW.state = 'pending'
        ON CONFLICT DO UPDATE SET n = n + 1; END;
CREATE TRIGGER instances_dropped AFTER DELETE ON instances BEGIN
        UPDATE counts SET n = n - 1 WHERE what = 'instance' AND state = OLD.state; UPDATE studies SET pending = pending - 1,
            pending_bytes = pending_bytes - OLD.size_bytes, live = live - OLD.live
        WHERE id = OLD.study_id AND OLD.state = 'pending'; END;
CREATE TRIGGER instances_stored AFTER UPDATE OF stored_at ON instances
        WHEN OLD.stored_at IS NULL AND NEW.stored_at IS NOT NULL BEGIN
        INSERT INTO stored_tally VALUES (
            CAST(NEW.stored_at / 300 AS INTEGER) * 300,
            coalesce((SELECT min(d.folder_id) FROM files f JOIN directories d ON d.id = f.directory_id
                WHERE f.instance_id = NEW.id), 0),
            NEW.live, CASE WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 10 THEN 0 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 30 THEN 1 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 60 THEN 2 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 120 THEN 3 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 300 THEN 4 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 900 THEN 5 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 3600 THEN 6 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 14400 THEN 7 WHEN max(0.0, NEW.stored_at - NEW.seen_at) <= 86400 THEN 8 ELSE 9 END, 1, NEW.size_bytes, max(0.0, NEW.stored_at - NEW.seen_at))
        ON CONFLICT DO UPDATE SET n = n + 1, size_bytes = size_bytes + excluded.size_bytes,
            seconds = seconds + excluded.seconds; END;
CREATE TRIGGER batches_answered AFTER UPDATE OF answered_at ON batches
        WHEN OLD.answered_at IS NULL AND NEW.answered_at IS NOT NULL AND NEW.outcome <> 'restart' BEGIN
        INSERT INTO request_tally VALUES (
            CASE WHEN NEW.status IS NOT NULL THEN CAST(NEW.status AS TEXT)
                WHEN instr(NEW.outcome, 'already-there') THEN 'found' ELSE 'none' END,
            CASE WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 0.1 THEN 0 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 0.3 THEN 1 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 1 THEN 2 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 3 THEN 3 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 10 THEN 4 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 30 THEN 5 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 100 THEN 6 WHEN max(0.0, NEW.answered_at - NEW.sent_at) <= 300 THEN 7 ELSE 8 END, CASE WHEN NEW.size_bytes <= 100000 THEN 0 WHEN NEW.size_bytes <= 1000000 THEN 1 WHEN NEW.size_bytes <= 4000000 THEN 2 WHEN NEW.size_bytes <= 16000000 THEN 3 WHEN NEW.size_bytes <= 40000000 THEN 4 WHEN NEW.size_bytes <= 200000000 THEN 5 WHEN NEW.size_bytes <= 1000000000 THEN 6 ELSE 7 END,
            1, max(0.0, NEW.answered_at - NEW.sent_at), NEW.size_bytes)
        ON CONFLICT DO UPDATE SET n = n + 1, seconds = seconds + excluded.seconds,
            size_bytes = size_bytes + excluded.size_bytes; END;
CREATE VIEW file_list AS
        SELECT f.id AS file, coalesce(d.shown, CAST(d.path AS TEXT)) || '/'
                || coalesce(f.shown, CAST(f.name AS TEXT)) AS path, f.size_bytes,
            f.state AS file_state, f.reason AS file_reason, i.state AS instance_state,
            i.reason AS instance_reason, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
            strftime('%Y-%m-%d %H:%M:%S', f.seen_at, 'unixepoch') AS seen_utc, strftime('%Y-%m-%d %H:%M:%S', i.stored_at, 'unixepoch') AS stored_utc,
            strftime('%Y-%m-%d %H:%M:%S', i.verified_at, 'unixepoch') AS verified_utc
        FROM files f JOIN directories d ON d.id = f.directory_id
        LEFT JOIN instances i ON i.id = f.instance_id LEFT JOIN studies s ON s.id = i.study_id;
CREATE VIEW instance_list AS
        SELECT i.id AS instance, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
            i.size_bytes, lower(hex(i.sha256)) AS sha256, i.state, i.reason, i.detail, i.attempts,
            i.found, strftime('%Y-%m-%d %H:%M:%S', i.found_at, 'unixepoch') AS found_utc,
            strftime('%Y-%m-%d %H:%M:%S', i.seen_at, 'unixepoch') AS seen_utc, strftime('%Y-%m-%d %H:%M:%S', i.stored_at, 'unixepoch') AS stored_utc,
            strftime('%Y-%m-%d %H:%M:%S', i.verified_at, 'unixepoch') AS verified_utc
        FROM instances i JOIN studies s ON s.id = i.study_id;
CREATE VIEW study_list AS
        SELECT s.id AS study, s.study_instance_uid, count(*) AS instances, sum(i.size_bytes) AS size_bytes,
            sum(i.state = 'stored') AS stored, s.pending, sum(i.state = 'conflict') AS conflict,
            sum(i.state = 'rejected') AS rejected, sum(i.state = 'missed') AS missed
        FROM studies s JOIN instances i ON i.study_id = s.id GROUP BY s.id;
CREATE VIEW problem_list AS
        SELECT path, file_state, coalesce(nullif(file_reason, ''), instance_reason) AS reason, instance_state,
            study_instance_uid, sop_instance_uid
        FROM file_list WHERE file_state IN ('held', 'missed')
            OR instance_state IN ('conflict', 'rejected', 'missed');
CREATE VIEW lost_list AS
        SELECT i.id AS instance, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.found,
            strftime('%Y-%m-%d %H:%M:%S', i.found_at, 'unixepoch') AS found_utc, strftime('%Y-%m-%d %H:%M:%S', i.stored_at, 'unixepoch') AS stored_utc
        FROM instances i JOIN studies s ON s.id = i.study_id WHERE state = 'stored' AND found IN ('missing', 'differs');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('instances',57);
INSERT INTO "sqlite_sequence" VALUES('files',72);
COMMIT;
