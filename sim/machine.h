/* machine.h -- what this run ran on: read from the system and from the build, stored with it. */
#ifndef KVLAB_MACHINE_H
#define KVLAB_MACHINE_H

#include <stddef.h>

typedef struct {
    char cpu[96];           /* model name */
    int cores;              /* that this process may use */
    size_t llc_bytes;       /* last-level cache; 32 MiB where it cannot be read */
    size_t memory_bytes;    /* installed, or the container's limit where lower */
    size_t available_bytes; /* that can be had now */
    char governor[32];      /* of cpu0, "unknown" where unreadable */
    char system[96];        /* kernel name, release, architecture */
    const char *version;    /* of kvlab */
    const char *commit;
    const char *compiler;
    const char *flags;
} Machine;

Machine machine_read(void);

/* The same with /proc and /sys looked up under another folder, for tests. */
Machine machine_read_under(const char *root);

#endif
