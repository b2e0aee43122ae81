/* test_machine.c -- the reader of the machine, shown other machines under a folder. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "machine.h"

static char root[] = "/tmp/kvlab_machine_XXXXXX";

static void make_root(void) {
    cr_assert(mkdtemp(root));
}

static void remove_root(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    cr_assert_eq(system(command), 0);
}

/* Writes root/path with the folders above it. */
static void put(const char *path, const char *text) {
    char name[512];
    snprintf(name, sizeof name, "%s/%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    cr_assert(file, "%s", name);
    fputs(text, file);
    fclose(file);
}

TestSuite(machine, .init = make_root, .fini = remove_root);

Test(machine, this_machine_has_memory_cores_and_names) {
    const Machine machine = machine_read();
    cr_assert_gt(machine.cores, 0);
    cr_assert_gt(machine.memory_bytes, (size_t)1 << 20);
    cr_assert_gt(machine.available_bytes, 0);
    cr_assert_leq(machine.available_bytes, machine.memory_bytes);
    cr_assert_gt(machine.llc_bytes, 0);
    cr_assert(machine.cpu[0] && machine.governor[0] && machine.system[0]);
    cr_assert(machine.version[0] && machine.commit[0] && machine.compiler[0]);
}

Test(machine, nothing_readable_is_said_to_be_unknown) {
    const Machine machine = machine_read_under(root);
    cr_assert_str_eq(machine.cpu, "unknown");
    cr_assert_str_eq(machine.governor, "unknown");
    cr_assert_eq(machine.llc_bytes, 32u << 20);
    cr_assert_gt(machine.memory_bytes, 0);
    cr_assert_eq(machine.available_bytes, machine.memory_bytes);
}

Test(machine, names_and_sizes_are_read_from_their_files) {
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: A Fine CPU @ 3 GHz\n");
    put("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n");
    put("sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n");
    put("sys/devices/system/cpu/cpu0/cache/index3/size", "24M\n");
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    const Machine machine = machine_read_under(root);
    cr_assert_str_eq(machine.cpu, "A Fine CPU @ 3 GHz");
    cr_assert_eq(machine.memory_bytes, 1024000);
    cr_assert_eq(machine.available_bytes, 409600);
    cr_assert_eq(machine.llc_bytes, 24u << 20);
    cr_assert_str_eq(machine.governor, "performance");
}

Test(machine, the_tightest_group_around_the_process_limits_it) {
    put("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n");
    put("proc/self/cgroup", "0::/outer/inner\n");
    put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
    put("sys/fs/cgroup/outer/memory.max", "1000000\n");
    put("sys/fs/cgroup/outer/memory.current", "600000\n");
    put("sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 100000\n");
    const Machine machine = machine_read_under(root);
    cr_assert_eq(machine.memory_bytes, 1000000);
    cr_assert_eq(machine.available_bytes, 500000);
}

Test(machine, an_older_group_hierarchy_limits_it_too) {
    put("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n");
    put("proc/self/cgroup", "12:cpu:/x\n9:memory:/job\n");
    put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000000\n");
    put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "2500000\n");
    const Machine machine = machine_read_under(root);
    cr_assert_eq(machine.memory_bytes, 2000000);
    cr_assert_eq(machine.available_bytes, 0, "more used than allowed leaves nothing");
}

Test(machine, a_group_without_its_folder_falls_back_to_the_mount) {
    put("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n");
    put("proc/self/cgroup", "0::/not/mounted/here\n");
    put("sys/fs/cgroup/memory.max", "3000000\n");
    put("sys/fs/cgroup/memory.current", "1000000\n");
    const Machine machine = machine_read_under(root);
    cr_assert_eq(machine.memory_bytes, 3000000);
    cr_assert_eq(machine.available_bytes, 2000000);
}
