/* machine.c -- reads the machine from Linux's /proc and /sys; see machine.h.
 *
 * Every path is looked up under a root folder, so that tests can show the reader other machines.
 * What is not there (another system, a locked-down container) keeps its stated fallback. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "machine.h"

#include <ctype.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { PATH_ROOM = 1024, LINE_ROOM = 1024, FALLBACK_LLC_BYTES = 32 * 1024 * 1024 };

/* The first line of root/path that starts with `prefix`, without prefix, in line; false if none. */
static bool find_line(const char *root, const char *path, const char *prefix, char *line,
                      size_t size) {
    char name[PATH_ROOM];
    const int length = snprintf(name, sizeof name, "%s/%s", root, path);
    if (length < 0 || length >= (int)sizeof name) return false;
    FILE *file = fopen(name, "r");
    if (!file) return false;
    char text[LINE_ROOM];
    bool found = false;
    while (!found && fgets(text, sizeof text, file)) {
        if (strncmp(text, prefix, strlen(prefix)) != 0) continue;
        found = true;
        text[strcspn(text, "\n")] = 0;
        snprintf(line, size, "%s", text + strlen(prefix));
    }
    fclose(file);
    return found;
}

/* A number at the start of such a line, times the unit that follows it (none, K or kB, M). */
static bool find_bytes(const char *root, const char *path, const char *prefix, size_t *out) {
    char line[LINE_ROOM];
    if (!find_line(root, path, prefix, line, sizeof line)) return false;
    const char *text = line + strspn(line, " \t:");
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    while (*end == ' ') end++;
    if (*end == 'k' || *end == 'K')
        value *= 1024;
    else if (*end == 'M')
        value *= 1024 * 1024;
    *out = value > SIZE_MAX ? SIZE_MAX : (size_t)value;
    return true;
}

static void read_cpu(const char *root, char *cpu, size_t size) {
    char line[LINE_ROOM];
    snprintf(cpu, size, "unknown");
    if (!find_line(root, "proc/cpuinfo", "model name", line, sizeof line) &&
        !find_line(root, "proc/cpuinfo", "Hardware", line, sizeof line))
        return;
    snprintf(cpu, size, "%.*s", (int)size - 1, line + strspn(line, " \t:"));
}

/* The largest cache of cpu0: levels grow outwards. */
static size_t read_llc(const char *root) {
    size_t largest = 0;
    for (int index = 0; index < 10; index++) {
        char path[96];
        size_t bytes = 0;
        snprintf(path, sizeof path, "sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        if (find_bytes(root, path, "", &bytes) && bytes > largest) largest = bytes;
    }
    return largest ? largest : FALLBACK_LLC_BYTES;
}

/* A control group hierarchy and the names of its files: limit, use, and the part of the use that
 * the system gives back when asked (cached files). */
typedef struct {
    const char *membership; /* how this process's line in /proc/self/cgroup starts, after the id */
    const char *mount;
    const char *limit, *usage, *reclaimable;
} GroupFiles;

static const GroupFiles group_files[] = {
    { "0::", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file" },
    { "memory:", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
      "total_inactive_file" },
};

/* The group's path of this process; "" when it has none (or sees only its own, as in containers).
 */
static void read_group(const char *root, const GroupFiles *files, char *group, size_t size) {
    char line[LINE_ROOM];
    group[0] = 0;
    if (find_line(root, "proc/self/cgroup", files->membership, line, sizeof line)) {
        snprintf(group, size, "%s", line);
        return;
    }
    for (int id = 1; id < 32; id++) { /* older hierarchies: "9:memory:/path" */
        char prefix[32];
        snprintf(prefix, sizeof prefix, "%d:%s", id, files->membership);
        if (find_line(root, "proc/self/cgroup", prefix, line, sizeof line)) {
            snprintf(group, size, "%s", line);
            return;
        }
    }
}

/* Lowers memory and available to what the group and each group around it allow. */
static void apply_group_limits(const char *root, const GroupFiles *files, Machine *machine) {
    char group[LINE_ROOM];
    read_group(root, files, group, sizeof group);
    for (;;) {
        char path[PATH_ROOM];
        size_t limit = SIZE_MAX, usage = 0, reclaimable = 0;
        snprintf(path, sizeof path, "%s%.700s/%s", files->mount, group, files->limit);
        if (find_bytes(root, path, "", &limit)) {
            snprintf(path, sizeof path, "%s%.700s/%s", files->mount, group, files->usage);
            find_bytes(root, path, "", &usage);
            snprintf(path, sizeof path, "%s%.700s/memory.stat", files->mount, group);
            find_bytes(root, path, files->reclaimable, &reclaimable);
            usage -= reclaimable < usage ? reclaimable : usage;
            const size_t left = limit > usage ? limit - usage : 0;
            if (limit < machine->memory_bytes) machine->memory_bytes = limit;
            if (left < machine->available_bytes) machine->available_bytes = left;
        }
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = 0;
    }
}

static void read_memory(const char *root, Machine *machine) {
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    machine->memory_bytes =
        pages > 0 && page_bytes > 0 ? (size_t)pages * (size_t)page_bytes : (size_t)1 << 30;
    find_bytes(root, "proc/meminfo", "MemTotal:", &machine->memory_bytes);
    machine->available_bytes = machine->memory_bytes;
    find_bytes(root, "proc/meminfo", "MemAvailable:", &machine->available_bytes);
    for (size_t i = 0; i < sizeof group_files / sizeof *group_files; i++)
        apply_group_limits(root, &group_files[i], machine);
}

static int read_cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static void read_system(char *text, size_t size) {
    struct utsname name;
    snprintf(text, size, "unknown");
    if (uname(&name) != 0) return;
    name.release[strspn(name.release, "0123456789.")] =
        '\0'; // what follows is the builder's own name
    snprintf(text, size, "%.20s %.48s %.20s", name.sysname, name.release, name.machine);
}

Machine machine_read_under(const char *root) {
    Machine machine = { .version = KVLAB_VERSION,
                        .commit = KVLAB_COMMIT,
                        .compiler = KVLAB_COMPILER,
                        .flags = KVLAB_FLAGS };
    read_cpu(root, machine.cpu, sizeof machine.cpu);
    machine.cores = read_cores();
    machine.llc_bytes = read_llc(root);
    read_memory(root, &machine);
    if (!find_line(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "",
                   machine.governor, sizeof machine.governor))
        snprintf(machine.governor, sizeof machine.governor, "unknown");
    read_system(machine.system, sizeof machine.system);
    return machine;
}

Machine machine_read(void) {
    return machine_read_under("");
}
