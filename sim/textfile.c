/* textfile.c -- neighbour, flush, sync, rename; see textfile.h. */
#include "textfile.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Status textfile_path(char *path, const char *folder, const char *name, Error *err) {
    const int length = snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    if (length < 0 || length >= PATH_SIZE)
        return fail(err, ERR_INPUT, "%.80s...: the path is too long", folder);
    return OK;
}

/* A rename would put the file in the place of a device, a pipe or a folder's name. */
static Status refuse_irregular(const char *path, Error *err) {
    struct stat found;
    if (stat(path, &found) != 0 || S_ISREG(found.st_mode)) return OK;
    return fail(err, ERR_INPUT, "%s: not a regular file; it is not replaced", path);
}

Status textfile_check(const char *path, Error *err) {
    char folder[PATH_SIZE] = ".";
    struct stat found;
    TRY(refuse_irregular(path, err));
    const char *slash = strrchr(path, '/');
    if (slash && slash - path + 1 >= PATH_SIZE)
        return fail(err, ERR_INPUT, "%.80s...: the path is too long", path);
    if (slash) snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
    if (stat(folder, &found) == 0 && S_ISDIR(found.st_mode)) return OK;
    return fail(err, ERR_INPUT, "%s: there is no folder to write it into", path);
}

Status textfile_open(TextFile *file, const char *path, Error *err) {
    TRY(refuse_irregular(path, err));
    const int length = snprintf(file->partial, PATH_SIZE, "%s.partial", path);
    if (length < 0 || length >= PATH_SIZE)
        return fail(err, ERR_INPUT, "%.80s...: the path is too long", path);
    snprintf(file->path, PATH_SIZE, "%s", path);
    file->stream = fopen(file->partial, "wb");
    if (!file->stream)
        return fail(err, ERR_MACHINE, "cannot write %s: %s", file->partial, strerror(errno));
    return OK;
}

Status textfile_close(TextFile *file, Status status, Error *err) {
    errno = 0;
    const int lost = ferror(file->stream) || fflush(file->stream) || fsync(fileno(file->stream));
    const int unclosed = fclose(file->stream);
    if (status == OK && (lost || unclosed))
        status = fail(err, ERR_MACHINE, "cannot write %s: %s", file->path,
                      errno ? strerror(errno) : "the disk took only a part");
    if (status == OK && rename(file->partial, file->path) != 0)
        status = fail(err, ERR_MACHINE, "cannot write %s: %s", file->path, strerror(errno));
    if (status != OK) remove(file->partial);
    return status;
}

Status textfile_make_folder(const char *folder, Error *err) {
    char path[PATH_SIZE];
    if (snprintf(path, sizeof path, "%s", folder) >= PATH_SIZE)
        return fail(err, ERR_INPUT, "%.80s...: the path is too long", folder);
    if (!path[0]) return fail(err, ERR_INPUT, "the name of a folder is empty");
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char kept = *at;
        *at = '\0';
        struct stat found;
        if (mkdir(path, 0777) != 0 && (errno != EEXIST || stat(path, &found) != 0))
            return fail(err, errno == ENOTDIR ? ERR_INPUT : ERR_MACHINE,
                        "cannot make the folder %s: %s", path, strerror(errno));
        *at = kept;
        if (!kept) break;
    }
    struct stat found;
    if (stat(path, &found) != 0 || !S_ISDIR(found.st_mode))
        return fail(err, ERR_INPUT, "%s: not a folder", path);
    return OK;
}
