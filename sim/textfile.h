/* textfile.h -- a text file written whole or not at all: to a neighbour first, then renamed. */
#ifndef KVLAB_TEXTFILE_H
#define KVLAB_TEXTFILE_H

#include <stdio.h>

#include "error.h"

enum { PATH_SIZE = 4096 }; /* bytes of a path with its NUL; longer ones are refused */

typedef struct {
    FILE *stream; /* write here */
    char path[PATH_SIZE];
    char partial[PATH_SIZE];
} TextFile;

/* folder/name into path [PATH_SIZE]. Errors: ERR_INPUT when too long. */
Status textfile_path(char *path, const char *folder, const char *name, Error *err);

/* Can a file be written at this path: one that is there is a regular file (a device or a folder is
 * never replaced), and one that is not has a folder to go into? Errors: ERR_INPUT. */
Status textfile_check(const char *path, Error *err);

/* Opens the neighbour `path`.partial. On success textfile_close must follow. */
Status textfile_open(TextFile *file, const char *path, Error *err);

/* Ends the file. When `status` (of what was written so far) is OK and every byte reached the disk
 * the file replaces the one at its path and OK is returned. Otherwise the neighbour is removed, the
 * old file stays, and the failure is returned (err is filled here only when status was OK). */
Status textfile_close(TextFile *file, Status status, Error *err);

/* Makes a folder and its parents; one that is there already is fine. */
Status textfile_make_folder(const char *folder, Error *err);

#endif
