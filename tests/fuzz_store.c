/* fuzz_store.c -- any bytes as results.sqlite: a run, or one line of reason; and a run that goes on
 * with it ends the same way. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[96];

static void require(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void remove_files(void) {
    static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
    char name[128];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void remove_folder(void) {
    char name[128];
    remove_files();
    snprintf(name, sizeof name, "%s/results.lock", folder);
    unlink(name);
    rmdir(folder);
}

static void make_folder(void) {
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/kvlab-fuzz-XXXXXX", place);
    require(mkdtemp(folder) != NULL, "no folder");
    snprintf(path, sizeof path, "%s/results.sqlite", folder);
    atexit(remove_folder);
}

static void write_file(const uint8_t *data, size_t size) {
    remove_files();
    FILE *file = fopen(path, "wb");
    require(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "cannot write");
}

static void check_point(const StoredPoint *p) {
    require(point_status_name(p->point.status)[0], "no status");
    require(strlen(p->point.key) < sizeof p->point.key, "a text without an end");
    for (size_t m = 0; m < p->metric_count; m++)
        require(metric_kind_name(p->metrics[m].kind)[0], "no kind");
}

static void check(Status status, const Error *err) {
    if (status == OK) return;
    require(err->text[0] && !strchr(err->text, '\n'), "not one line");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    StoredRun run = { 0 };
    Store *store = NULL;
    Error err = { 0 };
    if (!folder[0]) make_folder();
    write_file(data, size);
    Status status = store_read(&run, folder, &err);
    check(status, &err);
    for (size_t i = 0; i < run.point_count; i++) check_point(&run.points[i]);
    store_run_free(&run);
    write_file(data, size);
    status = store_open(&store, folder, "model: x\n", true, &err);
    check(status, &err);
    if (status == OK) check(store_set(store, "cpu", "some", &err), &err);
    store_close(store);
    return 0;
}
