/* preload.c -- loaded before a program's own libraries: makes the n-th allocation or the n-th write
 * fail, whoever asks for it. Nothing of the program knows.
 *
 *   FAULT_ALLOCATION=n   the n-th allocation after main began is refused
 *   FAULT_WRITE=n        the n-th write fails: the disk is full from then on (FAULT_ONCE: once)
 *   FAULT_REPORT=file    gets a byte when a fault was injected, and nothing else
 *
 * Writes are those of SQLite (pwrite, fsync, ...) and the flushes of stdio. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_long allocations, writes; /* until the fault; 0: none will come */
static bool armed, once;

static void report(void) {
    const char *path = getenv("FAULT_REPORT");
    if (!path) return;
    const int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0) return;
    syscall(SYS_write, file, "x", 1);
    syscall(SYS_close, file);
}

static bool refuse_memory(void) {
    if (!armed || allocations == 0 || atomic_fetch_sub(&allocations, 1) != 1) return false;
    report();
    errno = ENOMEM;
    return true;
}

/* Does this write fail? The disk stays full unless FAULT_ONCE is set. */
static bool refuse_write(void) {
    if (!armed || writes == 0) return false;
    if (writes > 1) {
        writes--;
        return false;
    }
    report();
    if (once) writes = 0;
    errno = ENOSPC;
    return true;
}

void *malloc(size_t size) {
    return refuse_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return refuse_memory() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return refuse_memory() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return refuse_memory() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *memory = refuse_memory() ? NULL : __libc_memalign(alignment, size);
    if (!memory) return ENOMEM;
    *out = memory;
    return 0;
}

/* The next function of that name: the library's own. */
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t size) {
    NEXT(write);
    return file > 2 && refuse_write() ? -1 : next(file, bytes, size);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    NEXT(pwrite64);
    return refuse_write() ? -1 : next(file, bytes, size, at);
}

int fsync(int file) {
    NEXT(fsync);
    return refuse_write() ? -1 : next(file);
}

int fdatasync(int file) {
    NEXT(fdatasync);
    return refuse_write() ? -1 : next(file);
}

int fflush(FILE *stream) {
    NEXT(fflush);
    return stream && stream != stderr && refuse_write() ? EOF : next(stream);
}

static int (*program)(int, char **, char **);

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

/* Faults are for the program, not for what loads it. */
static int armed_main(int argc, char **argv, char **environment) {
    allocations = number("FAULT_ALLOCATION");
    writes = number("FAULT_WRITE");
    once = number("FAULT_ONCE") != 0;
    armed = true;
    return program(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
    NEXT(__libc_start_main);
    program = main;
    return next(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}
